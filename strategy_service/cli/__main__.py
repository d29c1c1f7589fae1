"""`python -m strategy_service.cli` is `otopilot`."""

import sys

from strategy_service.cli.app import main

sys.exit(main())

"""What holds for every test: whoever runs them has no settings in them, and their files are in memory."""

import os

from tests import scratch

TESTNET = "OTOPILOT_TESTNET_"  # asked for by name: the key of the tests that trade on the testnet

for name in [name for name in os.environ if name.startswith("OTOPILOT_") and not name.startswith(TESTNET)]:
    del os.environ[name]

# Thousands of journals sync each commit: on a disk a run of all tests takes twice as long (tmp_path's root).
if (memory := scratch.in_memory()) is not None:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(memory))

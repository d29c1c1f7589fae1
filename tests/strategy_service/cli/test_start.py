"""`otopilot status` starts in less than 400 ms: by what it does not import (the time is for `make bench`)."""

import subprocess
import sys

import pytest

# Each costs tens of milliseconds, and none is needed to ask a service and print JSON.
HEAVY = ("rich", "aiohttp", "sqlalchemy", "alembic", "cryptography", "structlog", "stamina", "google.rpc")
CODE = """
import sys
from strategy_service.cli.app import main
assert main(sys.argv[1:]) == 6  # nobody listens on port 1
print(*sys.modules, file=sys.stderr)
"""


@pytest.mark.parametrize("argv", [("status", "-o", "json"), ("why",), ("pause", "x"), ("users", "list")])
def test_asking_a_service_imports_nothing_heavy(argv: tuple[str, ...]) -> None:
    environment = {f"OTOPILOT_{name}__PORT": "1" for name in ("MARKET", "ORDER", "STRATEGY")}
    done = subprocess.run(
        [sys.executable, "-c", CODE, *argv], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    loaded = set(done.stderr.splitlines()[-1].split())
    assert "strategy_service.cli.app" in loaded
    assert [name for name in HEAVY if name in loaded] == []

"""What holds for every test: the settings of whoever runs them are none of the tests' own."""

import os

TESTNET = "OTOPILOT_TESTNET_"  # asked for by name: the key of the tests that trade on the testnet

for name in [name for name in os.environ if name.startswith("OTOPILOT_") and not name.startswith(TESTNET)]:
    del os.environ[name]

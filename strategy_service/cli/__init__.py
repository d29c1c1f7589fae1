"""The `otopilot` command: one file per noun, a gRPC client of the three services.

main() is the console script. Nouns are imported when they are named, so that `otopilot status`
starts fast. Data goes to stdout, everything else to stderr; exit codes are those of errors.Exit.
"""

from strategy_service.cli.app import main

__all__ = ["main"]

"""How a command ends: the exit codes of product section 4, and the error that carries one."""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes; scripts rely on them."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFIG = 4  # configuration or argument
    TIMEOUT = 5
    UNREACHABLE = 6
    WRONG_STATE = 7
    RATE_LIMITED = 8
    DENIED = 9
    INTERRUPTED = 130


class CliError(Exception):
    """Ends the command with this code; the hint says what to do about it."""

    def __init__(self, code: Exit, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


class Interrupted(CliError):
    """The person pressed Ctrl+C, or the system asked to end."""

    def __init__(self, message: str = "interrupted") -> None:
        super().__init__(Exit.INTERRUPTED, message)

"""Named places where a test makes this process die, fail or stand still.

`OTOPILOT_FAILPOINTS="place.after_send=kill@3,journal.before_commit=raise"` arms them as the process
starts: `kill` is kill -9 from within, `raise` an error nobody expects, `pause:30` a process that
stands still with everything in it, as a suspended machine does. `@3` waits for the third time the
place is reached; `raise` and `pause` strike once. Unset, a place costs one look at an empty table.
"""

import os
import signal
import time
from typing import NamedTuple

VARIABLE = "OTOPILOT_FAILPOINTS"


class FailpointReached(Exception):
    """A test asked for this failure."""


class _Armed(NamedTuple):
    action: str
    seconds: float
    left: int


def parse(text: str) -> dict[str, _Armed]:
    """What the variable arms. Raises ValueError for what it cannot mean."""
    armed = {}
    for part in filter(None, text.split(",")):
        name, _, rest = part.partition("=")
        action, _, count = rest.partition("@")
        action, _, seconds = action.partition(":")
        if action not in ("kill", "raise", "pause") or (action == "pause") != bool(seconds):
            raise ValueError(f"{VARIABLE}: {part!r} is not name=kill, =raise or =pause:seconds, then @count")
        armed[name.strip()] = _Armed(action, float(seconds or 0), int(count or 1))
    return armed


_armed = parse(os.environ.get(VARIABLE, ""))


def hit(name: str) -> None:
    """This place is reached."""
    if _armed:
        _strike(name)


def _strike(name: str) -> None:
    armed = _armed.get(name)
    if armed is None:
        return
    if armed.left > 1:
        _armed[name] = armed._replace(left=armed.left - 1)
        return
    del _armed[name]
    if armed.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif armed.action == "pause":
        time.sleep(armed.seconds)
    else:
        raise FailpointReached(name)

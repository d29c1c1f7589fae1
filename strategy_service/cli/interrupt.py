"""Ctrl+C and SIGTERM during `run`: the first drains, the second exits at once."""

import os
import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any

from strategy_service.cli.errors import Exit


class Interrupt:
    """Ctrl+C and SIGTERM: the first is a wish to drain, the second ends the process at once."""

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            # Safe at any moment: the journal is ahead of every order, children see EOF and exit.
            if sys.stderr.isatty():
                os.write(2, b"\x1b[?25h\n")
            os._exit(Exit.INTERRUPTED)
        self.requested = True

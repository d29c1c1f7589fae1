"""What happened in a run, line by line: the newest lines, and a digest over all of them.

Every line bears the step and the virtual time, so two runs with the same digest took the same
course.
"""

import hashlib
from collections import deque
from collections.abc import Callable

KEPT = 400


class Violation(Exception):
    """An invariant of reliability section 2 does not hold."""

    def __init__(self, invariant: str, story: str) -> None:
        super().__init__(invariant, story)  # both, so that it can be pickled
        self.invariant = invariant
        self.story = story

    def __str__(self) -> str:
        return f"{self.invariant}: {self.story}"


class Trace:
    """Owns the lines of one run."""

    def __init__(self, where: Callable[[], tuple[int, float]], echo: Callable[[str], None] | None) -> None:
        self._where = where
        self._echo = echo
        self._digest = hashlib.blake2b(digest_size=16)
        self.lines: deque[str] = deque(maxlen=KEPT)
        self.count = 0

    def add(self, who: str, what: str) -> None:
        """One thing that happened."""
        step, now = self._where()
        line = f"{step:>7} {now:9.3f} {who:<10} {what}"
        self._digest.update(line.encode())
        self.lines.append(line)
        self.count += 1
        if self._echo is not None:
            self._echo(line)

    def digest(self) -> str:
        """The same for the same course of things."""
        return self._digest.hexdigest()

"""Where a value stands in the file, and what is wrong with it.

An Origin is a place in the YAML text; a Problem is a place and a complaint. Problems collects
them, so that one look at a bad file shows every mistake in it (product section 2).
"""

import difflib
from collections.abc import Collection
from dataclasses import dataclass

MAX_PROBLEMS = 200
MAX_SUGGESTION_POOL = 500
MAX_LISTED = 10


@dataclass(frozen=True, slots=True)
class Origin:
    """A place in a file: line and column count from 1; path is such as strategies[0].enabled."""

    file: str
    line: int
    column: int
    path: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


BUILT_IN = Origin("built-in", 0, 0)
DERIVED = Origin("built-in (a strategy with target_chain trades on alpha)", 0, 0)


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake. Line 0 means the file as a whole."""

    file: str
    line: int
    column: int
    path: str
    message: str

    @classmethod
    def at(cls, origin: Origin, message: str) -> "Problem":
        """The complaint about what stands there."""
        return cls(origin.file, origin.line, origin.column, origin.path, message)

    def __str__(self) -> str:
        place = str(Origin(self.file, self.line, self.column))
        return f"{place}  {self.path}: {self.message}" if self.path else f"{place}  {self.message}"


class ConfigError(Exception):
    """The configuration cannot be used; problems holds every reason, in the order of the file."""

    def __init__(self, problems: Collection[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class UnknownName(KeyError):
    """No strategy, user or key of that name; the text says which there are."""

    def __init__(self, what: str, name: str, known: Collection[str], of: str = "") -> None:
        self.name = name
        near = did_you_mean(name, known)
        listed = "" if near or not 0 < len(known) <= MAX_LISTED else f": there is {', '.join(known)}"
        self.message = f"unknown {what} {shown(name)}{of}{near or listed}"
        super().__init__(self.message)

    def __str__(self) -> str:  # KeyError would put quotes around the whole sentence
        return self.message


class Problems:
    """Collects mistakes while reading goes on; bounded, since each one costs the reader a line."""

    def __init__(self) -> None:
        self._found: list[Problem] = []
        self._left_out = 0

    def add(self, origin: Origin, message: str) -> None:
        """Note one mistake."""
        if len(self._found) < MAX_PROBLEMS:
            self._found.append(Problem.at(origin, message))
        else:
            self._left_out += 1

    def fatal(self, origin: Origin, message: str) -> ConfigError:
        """The error to raise when reading cannot go on: what was found before, and this."""
        self._found.append(Problem.at(origin, message))
        return self._error()

    def raise_if_any(self) -> None:
        """Raise ConfigError when at least one mistake was noted."""
        if self._found:
            raise self._error()

    def _error(self) -> ConfigError:
        found = sorted(self._found, key=lambda problem: (problem.line, problem.column))
        if self._left_out:
            last = found[-1]
            found.append(Problem(last.file, 0, 0, "", f"and {self._left_out} more mistakes"))
        return ConfigError(found)


def did_you_mean(word: str, options: Collection[str]) -> str:
    """A hint such as " (did you mean enabled?)", empty when nothing is near."""
    if len(options) > MAX_SUGGESTION_POOL or len(word) > 100:
        return ""
    near = difflib.get_close_matches(word, list(options), n=1, cutoff=0.6)
    return f" (did you mean {near[0]}?)" if near else ""


def shown(text: str) -> str:
    """The text as a message may quote it: one line, quoted, not endless."""
    return repr(text if len(text) <= 60 else text[:57] + "...")

"""How a defect is put into the services, and taken out again."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from tests.simulation.checkers.base import Checker

Patch = Callable[["Patches"], None]


class Patches:
    """Replaced functions, put back when the block ends."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def put(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        """Replace a function by one made from it."""
        before = getattr(owner, name)
        setattr(owner, name, make(before))
        self._stack.callback(setattr, owner, name, before)


@dataclass(frozen=True)
class Planted:
    """A defect, the checkers that must find it, each alone, and a seed in which they are known to."""

    name: str
    plant: Patch
    found_by: tuple[type[Checker], ...]
    known: tuple[int, str] = (1, "harsh")

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The services have this defect inside the block."""
        with ExitStack() as stack:
            self.plant(Patches(stack))
            yield

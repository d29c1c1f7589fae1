"""A call that takes more than one request: each further one waits for a permit of its own.

Who paces the calls (gate.py) knows one weight a call; how many pages it takes only the adapter sees.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Permit = Callable[[], Awaitable[None]]

_permit: ContextVar[Permit | None] = ContextVar("permit of a further request", default=None)


@contextmanager
def permitted(permit: Permit) -> Iterator[None]:
    """The calls inside ask this for every request but their first."""
    token = _permit.set(permit)
    try:
        yield
    finally:
        _permit.reset(token)


async def another_request() -> None:
    """Return when one more request may be made. Raises what the permit does: RateLimited during a ban."""
    permit = _permit.get()
    if permit is not None:
        await permit()

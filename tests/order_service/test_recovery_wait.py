"""How long a restarted order service waits before it asks about what was in flight."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from order_service.__main__ import recover
from otopilot.order import Doubted, OrderId
from tests.otopilot.orders import START, oto

RECV_WINDOW = 2.0


class Clock:
    """Stands still so many seconds after the order's T, and keeps what was slept."""

    def __init__(self, since_t: float) -> None:
        self._since_t = since_t
        self.slept: list[float] = []

    def now(self) -> Any:
        return START + timedelta(seconds=self._since_t)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


async def waited(since_t: float, *, in_flight: bool = True) -> tuple[list[float], list[object]]:
    """What recover() slept and learned, that long after the T of the one order there is."""
    learned: list[object] = []

    async def learn(order_id: OrderId, news: object) -> None:
        learned.append(news)

    clock: Any = Clock(since_t)
    journal: Any = SimpleNamespace(books=SimpleNamespace(live={"a": oto()} if in_flight else {}))
    manager: Any = SimpleNamespace(learn=learn)
    await recover(journal, manager, clock, RECV_WINDOW)
    return clock.slept, learned


@pytest.mark.parametrize(
    ("since_t", "rest"), [(0.0, 2.0), (1.5, 0.5), (2.0, 0.0), (3600.0, 0.0), (-5.0, 2.0)], ids=str
)
async def test_only_the_rest_of_the_window_of_the_newest_request_is_waited_for(
    since_t: float, rest: float
) -> None:
    slept, learned = await waited(since_t)
    assert slept == [pytest.approx(rest)]
    assert [type(news) for news in learned] == [Doubted]


async def test_nothing_is_waited_for_when_nothing_was_in_flight() -> None:
    assert await waited(0.0, in_flight=False) == ([], [])

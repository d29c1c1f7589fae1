"""The ring of order news: nothing dropped in silence, nothing kept without a bound."""

import asyncio

import pytest

from order_service import feed as module
from order_service.feed import Feed, FeedItem, FellBehind
from otopilot.order import UserId
from tests.virtual_loop import virtual


def item(number: int) -> FeedItem:
    return FeedItem(ask_again=(UserId(str(number)),))


def test_a_reader_gets_everything_after_its_sequence_in_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RING", 10)
    feed = Feed(3)
    first = feed.newest
    assert first == 3 << 32
    assert feed.after(first) == []
    feed.publish([item(number) for number in range(8)])
    page = feed.after(first, most=5)
    assert [one.ask_again for _, one in page] == [(str(number),) for number in range(5)]
    rest = feed.after(page[-1][0])
    assert [sequence for sequence, _ in rest] == [first + 6, first + 7, first + 8]


def test_what_left_the_ring_or_belongs_to_another_start_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RING", 10)
    feed = Feed(3)
    first = feed.newest
    feed.publish([item(number) for number in range(25)])
    for sequence in (first, first + 14, feed.newest + 1, (2 << 32) + 5, 0):
        with pytest.raises(FellBehind):
            feed.after(sequence)
    assert len(feed.after(first + 15)) == 10


@virtual
async def test_waiting_ends_with_news_or_with_its_time_and_leaves_nothing_behind() -> None:
    feed = Feed(1)
    loop = asyncio.get_running_loop()
    await feed.wait(feed.newest, 2.0)
    assert loop.time() == pytest.approx(2.0)
    loop.call_later(1.0, feed.publish, [item(1)])
    await feed.wait(feed.newest, 60.0)
    assert loop.time() == pytest.approx(3.0)
    waiting = asyncio.ensure_future(feed.wait(feed.newest, 60.0))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait((waiting,))
    assert feed._wakers == []

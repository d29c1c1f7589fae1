"""What one reader gets: the newest of each symbol, however slow it is."""

from datetime import timedelta
from decimal import Decimal

from market_service.watch import Batch, Watch
from otopilot.instrument import Venue
from otopilot.quote import Quote
from tests.market_service.fakes import START, FakeClock


def quote(price: int, symbol: str = "A", confirmed: float = 0.0) -> Quote:
    at = START + timedelta(seconds=confirmed)
    return Quote(
        venue=Venue.ALPHA, symbol=symbol, price=Decimal(price), traded_at=at, confirmed_at=at, sequence=price
    )


def told(batch: Batch) -> dict[str, Decimal]:
    return {each.symbol: each.price for each in batch.quotes}


async def test_a_slow_reader_gets_the_newest_of_each_symbol_and_nothing_else() -> None:
    watch = Watch(3000, FakeClock())
    batches = watch.batches()
    assert (await anext(batches)).snapshot
    for price in range(1, 10_001):
        watch.put(quote(price, "A" if price % 2 else "B"))
    assert told(await anext(batches)) == {"A": 9999, "B": 10_000}


async def test_a_price_comes_again_once_when_it_turns_stale_and_when_it_is_fresh_again() -> None:
    clock = FakeClock()
    watch = Watch(3000, clock, [quote(1)])
    batches = watch.batches()
    await anext(batches)
    clock.elapsed = 3.0
    watch.put(quote(7, "B", confirmed=3.0))
    assert told(await anext(batches)) == {"B": 7}
    clock.elapsed = 3.001
    stale = await anext(batches)
    assert told(stale) == {"A": 1}
    assert stale.quotes[0].age(stale.made_at) > timedelta(seconds=3)
    clock.elapsed = 4.0
    assert (await anext(batches)).quotes == ()
    watch.put(quote(1, confirmed=4.0))
    assert told(await anext(batches)) == {"A": 1}
    clock.elapsed = 6.001
    assert told(await anext(batches)) == {"B": 7}
    clock.elapsed = 7.001
    assert told(await anext(batches)) == {"A": 1}


async def test_a_price_that_is_stale_from_the_start_is_not_told_twice() -> None:
    clock = FakeClock()
    clock.elapsed = 100.0
    watch = Watch(3000, clock, [quote(1)])
    batches = watch.batches()
    assert told(await anext(batches)) == {"A": 1}
    clock.elapsed = 101.0
    assert (await anext(batches)).quotes == ()


async def test_a_closed_watch_ends() -> None:
    watch = Watch(3000, FakeClock())
    watch.close()
    assert [batch.snapshot async for batch in watch.batches()] == [True]

"""A user stream that goes silent while its connection lives: how soon it is seen, what it costs others."""

import asyncio
from pathlib import Path

import pytest

from otopilot.instrument import Venue
from otopilot.order import LegRole, OrderState
from tests.faults.floor import Floor
from tests.virtual_loop import virtual

BOTH = pytest.mark.parametrize("venue", list(Venue))
ENDED = (OrderState.COMPLETED, OrderState.CANCELED, OrderState.EXPIRED, OrderState.REJECTED)


async def seconds_until(floor: Floor, order: object, *states: OrderState) -> float:
    """How long it takes until the order is known to be in one of these states."""
    began = floor.clock.monotonic()
    await floor.reaches(order, *states, seconds=120)  # type: ignore[arg-type]
    return floor.clock.monotonic() - began


@BOTH
@pytest.mark.parametrize("age", [1, 3, 6, 10, 16, 24, 33, 47, 54])
def test_the_first_event_that_a_young_order_misses_is_noticed_within_five_seconds(
    tmp_path: Path, venue: Venue, age: int
) -> None:
    @virtual
    async def story() -> None:
        async with Floor(tmp_path, venue) as floor:
            await floor.add("1")
            floor.fault("order_stall", user_id="1")
            order = await floor.place(buy="0.995", sell="1.02")
            await floor.sleep(age)
            floor.move_price(floor.price * 99 / 100)
            assert await seconds_until(floor, order, OrderState.TRIGGERED) <= 5

    story()


@BOTH
def test_a_resting_sells_fill_is_noticed_within_one_rotation(tmp_path: Path, venue: Venue) -> None:
    @virtual
    async def story() -> None:
        async with Floor(tmp_path, venue) as floor:
            await floor.add("1")
            order = await floor.place(buy="1.002", sell="1.005")
            await floor.reaches(order, OrderState.TRIGGERED)
            floor.fault("order_stall", user_id="1")
            await floor.sleep(70)
            floor.move_price(floor.price * 101 / 100)
            beat = floor.desk.keeper._beat.total_seconds()
            rotation = max(beat, floor.desk.keeper.rota.rotation_seconds(venue))
            assert await seconds_until(floor, order, OrderState.COMPLETED) <= rotation + 1

    story()


@BOTH
def test_a_silent_stream_of_one_user_costs_the_others_less_than_a_twentieth(
    tmp_path: Path, venue: Venue
) -> None:
    @virtual
    async def traded(*, silent: bool) -> int:
        """Rounds of users 2 to 5 in two minutes."""
        rounds = 0
        folder = tmp_path / str(silent)
        folder.mkdir()
        async with Floor(folder, venue) as floor:
            await floor.add(*"12345")
            if silent:
                floor.fault("order_stall", user_id="1")
            ends = floor.clock.monotonic() + 120

            async def trade(user: str) -> None:
                nonlocal rounds
                while floor.clock.monotonic() < ends:
                    # Apart, so that no two users' orders could meet.
                    order = await floor.place(user, buy="1.001", sell="1.0012")
                    bought = await floor.reaches(order, OrderState.TRIGGERED, *ENDED, seconds=60)
                    rounds += 1
                    # An account may have twenty lists open (binance-spot 2.3).
                    if bought.state is OrderState.TRIGGERED:
                        await floor.cancel(order, LegRole.PENDING)
                    await floor.sleep(3)

            await asyncio.gather(*(trade(user) for user in "2345"), quiet(floor, ends))
        return rounds

    async def quiet(floor: Floor, ends: float) -> None:
        """User 1's orders rest, and are asked about."""
        while floor.clock.monotonic() < ends:
            await floor.place("1", buy="0.97", sell="1.03")
            await floor.sleep(130)

    before, beside_it = traded(silent=False), traded(silent=True)
    assert before > 40
    assert beside_it > before * 0.95

"""Rows 10 to 13, 25 to 27: pushes lost, doubled, turned round, ended, on both venues."""

from pathlib import Path
from typing import Any

import pytest

from order_service.venues.ws_pool import CONNECTIONS
from otopilot.instrument import Venue
from otopilot.order import OrderState
from otopilot.position import UserState
from tests.faults.floor import Floor
from tests.virtual_loop import virtual

BOTH = pytest.mark.parametrize("venue", list(Venue))


async def a_whole_life(floor: Floor) -> None:
    """An OTO whose BUY fills at once and whose SELL fills after a while, known as it happened."""
    order = await floor.place(buy="1.002", sell="1.005")
    await floor.reaches(order, OrderState.TRIGGERED, seconds=40)
    floor.move_price(floor.price * 101 / 100)
    order = await floor.reaches(order, OrderState.COMPLETED, seconds=40)
    await floor.sleep(5)
    order = floor.order(order)
    assert [leg.filled_quantity for leg in order.legs] == [leg.quantity for leg in order.legs]


@BOTH
@pytest.mark.parametrize(
    "rules",
    [
        [{"kind": "order_frame_drop", "probability": "0.5"}],
        [{"kind": "order_frame_drop"}],
        [{"kind": "order_stall", "lasts_seconds": "60"}],
        [{"kind": "order_frame_duplicate"}],
        [{"kind": "order_frame_reorder", "seconds": "3"}],
        [{"kind": "hang_up", "endpoint": "order_stream", "probability": "0.5"}],
        [{"kind": "order_terminate", "probability": "0.2"}],
        [{"kind": "garbage", "endpoint": "order_stream", "probability": "0.5"}],
    ],
    ids=["row_10_half", "row_10_all", "row_10_stall", "row_12", "row_13", "row_11", "row_25", "row_57"],
)
def test_rows_10_to_13_25_whatever_befalls_pushes_the_books_agree(
    tmp_path: Path, venue: Venue, rules: list[dict[str, Any]]
) -> None:
    @virtual
    async def story() -> None:
        async with Floor(tmp_path, venue) as floor:
            await floor.add("1")
            for rule in rules:
                floor.fault(**rule)
            await a_whole_life(floor)
            verdict = await floor.agree()
            assert verdict.figures["filled"] == 1
            assert floor.desk.sessions.all()[0].state is not UserState.STOPPED

    story()


@BOTH
def test_row_11_fills_in_the_gap_of_a_stream_are_found_by_the_sweep_after_it(
    tmp_path: Path, venue: Venue
) -> None:
    @virtual
    async def story() -> None:
        async with Floor(tmp_path, venue) as floor:
            await floor.add("1")
            order = await floor.place(buy="0.995", sell="1.005")
            await floor.sleep(61)  # an age at which only sweeps ask
            floor.fault("hang_up", endpoint="order_stream")
            floor.fault("connect_refused", lasts_seconds="6")
            floor.move_price(floor.price * 99 / 100)
            await floor.sleep(1)
            floor.move_price(floor.price * 101 / 100)
            await floor.sleep(1)
            floor.heal()
            order = await floor.reaches(order, OrderState.COMPLETED, seconds=25)
            await floor.agree()

    story()


def test_row_25_a_terminated_subscription_is_a_gap_and_is_made_anew(tmp_path: Path) -> None:
    @virtual
    async def story() -> None:
        async with Floor(tmp_path, Venue.SPOT) as floor:
            await floor.add("1", "2")
            floor.fault("order_terminate", user_id="1", count=1)
            opened = floor.control("GET", "report")["connections"]["opened"]["spot"]
            await floor.sleep(10)
            (rule,) = floor.heal()
            assert int(rule["struck"]) == 1
            assert floor.control("GET", "report")["connections"]["opened"]["spot"] == opened
            await a_whole_life(floor)
            await floor.agree()

    story()


def test_row_26_a_server_that_goes_and_the_end_of_the_day_cost_no_news(tmp_path: Path) -> None:
    @virtual
    async def story() -> None:
        async with Floor(tmp_path, Venue.SPOT, connection_seconds="30") as floor:
            await floor.add("1")
            floor.fault("shutdown", seconds="3", count=1)
            await floor.sleep(2)
            await a_whole_life(floor)
            await floor.sleep(70)
            floor.move_price(floor.price)
            await floor.sleep(1)
            await a_whole_life(floor)
            assert (await floor.agree()).figures["filled"] == 2

    story()


def test_row_27_a_storm_of_reconnects_stays_below_the_venues_limit(tmp_path: Path) -> None:
    """Spot's limit; Alpha publishes none, there the growing pauses alone hold the storm down."""

    @virtual
    async def story() -> None:
        async with Floor(tmp_path, Venue.SPOT) as floor:
            users = [str(number) for number in range(1, 11)]
            await floor.add(*users)
            floor.fault("connect_refused")
            floor.fault("hang_up", endpoint="order_stream")
            for user in users:
                await floor.place(user, buy="0.99")  # its push ends the connection
            await floor.sleep(300)
            counts = floor.control("GET", "report")["connections"]
            assert counts["refused"]["spot"] > 30
            assert counts["refused"]["spot"] + counts["opened"]["spot"] <= 200
            floor.heal()
            await floor.sleep(310)
            counts = floor.control("GET", "report")["connections"]
            assert counts["opened"]["spot"] == CONNECTIONS + 2, "ten users share one beside the orders'"
            await floor.agree()

    story()

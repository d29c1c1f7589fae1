"""Rows 16, 37, 40, 58, 59: what befalls our own process, at every named place, on both venues."""

import asyncio
import re
from pathlib import Path

import pytest

from order_service.denied import Denied, JournalFailed
from otopilot import failpoints
from otopilot.instrument import Venue
from otopilot.order import Order, OrderState
from tests.faults.floor import Floor
from tests.virtual_loop import virtual

BOTH = pytest.mark.parametrize("venue", list(Venue))
PLACES = (
    "place.before_commit",
    "journal.before_commit",
    "journal.after_commit",
    "place.before_send",
    "place.after_send",
    "place.after_learn",
    "cancel.before_send",
    "cancel.after_send",
    "learn.before_trades",
    "sweep.before_commit",
    "sweep.after_commit",
    "doubt.after_look",
)


async def a_day(floor: Floor) -> None:
    """One list that fills, one that is cancelled, one whose answer is lost."""
    for buy, cancels, loses in (("1.002", False, False), ("0.99", True, False), ("0.99", True, True)):
        if loses:
            floor.fault("drop_response", endpoint="place_o*", count=1)
        for _ in range(20):
            try:
                order = await floor.place(buy=buy, sell="1.005")
            except (Denied, JournalFailed, failpoints.FailpointReached):
                await floor.sleep(1)  # it made no order; the next one has an id of its own
                continue
            if cancels:
                await _cancelled(floor, order)
            await floor.sleep(8)
            break
    floor.move_price(floor.price * 101 / 100)
    await floor.sleep(30)


async def _cancelled(floor: Floor, order: Order) -> None:
    for _ in range(20):
        try:
            await floor.cancel(order)
        except JournalFailed:
            await floor.sleep(1)
            continue
        except Denied:
            pass  # it is over already
        return


@BOTH
@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("place", PLACES)
def test_rows_16_37_40_an_error_nobody_expects_at_any_place_costs_no_order_and_no_trade(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, venue: Venue, place: str, count: int
) -> None:
    @virtual
    async def story() -> None:
        async with Floor(tmp_path, venue) as floor:
            await floor.add("1")
            monkeypatch.setattr(failpoints, "_armed", failpoints.parse(f"{place}=raise@{count}"))
            await a_day(floor)
            monkeypatch.setattr(failpoints, "_armed", {})
            await floor.sleep(30)
            verdict = await floor.agree()
            assert verdict.figures["doubled"] == verdict.figures["orphaned"] == 0

    story()


@BOTH
def test_row_59_a_caller_cancelled_at_any_await_leaves_no_order_half_sent(
    tmp_path: Path, venue: Venue
) -> None:
    @virtual
    async def story() -> None:
        async with Floor(tmp_path, venue) as floor:
            await floor.add("1")
            for awaits in range(0, 60, 3):
                calling = asyncio.create_task(floor.place(buy="0.99"))
                for _ in range(awaits):
                    await asyncio.sleep(0)
                calling.cancel()
                await asyncio.gather(calling, return_exceptions=True)
                await floor.sleep(2)
                for order in list(floor.desk.journal.books.live.values()):
                    assert order.state is OrderState.WORKING
                    await floor.cancel(order)
                await floor.sleep(2)
            verdict = await floor.agree()
            assert verdict.figures["in the journal"] == verdict.figures["accepted by the exchange"] > 0

    story()


def test_row_58_ids_are_hex_and_fixed_letters(tmp_path: Path) -> None:
    @virtual
    async def story() -> None:
        async with Floor(tmp_path, Venue.SPOT) as floor:
            await floor.add("1")
            order = await floor.place(buy="0.99")
            for leg in order.legs:
                assert re.fullmatch("o[0-9a-f]{16}[wp]", leg.client_id)
            for row in floor.control("GET", "orders")["orders"]:
                assert re.fullmatch("o[0-9a-f]{16}[lwpc]", row["client_id"])

    story()

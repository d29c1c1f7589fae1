"""The service over a real adapter and a real paper exchange: what becomes of orders in odd worlds."""

import asyncio
from pathlib import Path

import pytest

from order_service.venues.port import Response, VenueSilent
from otopilot.instrument import Venue
from otopilot.order import LegStatus, OrderState
from otopilot.position import UserState
from paper_exchange.http import Request
from tests.order_service.paper_desk import PaperDesk, PaperLine, is_placement, line_of
from tests.virtual_loop import virtual

A_DAY = 25 * 3600.0


def lose_placements(line: PaperLine) -> None:
    """Their answers never come; everything else is heard."""

    def spoil(request: Request, answer: Response) -> Response:
        if is_placement(request):
            raise VenueSilent("connection", "sent, no whole answer")
        return answer

    line.spoil = spoil


@virtual
@pytest.mark.parametrize("told", [True, False])
async def test_an_order_that_the_venue_has_archived_ends_unfilled_and_holds_nobody_up_3_3(
    tmp_path: Path, told: bool
) -> None:
    line = line_of(Venue.SPOT, archive_days=1)
    async with PaperDesk(tmp_path / "j.db", Venue.SPOT, line) as desk:
        await desk.open_user()
        if not told:
            lose_placements(line)
        order = await desk.place()
        assert (order.state is OrderState.IN_DOUBT) == (not told)
    line.spoil = lambda _, answer: answer
    line.world.exchange.cancel_all(line.state.accounts.owner("spot/1"))
    await asyncio.sleep(A_DAY)
    async with PaperDesk(tmp_path / "j.db", Venue.SPOT, line) as desk:
        ended = await desk.becomes(order, OrderState.CANCELED)
        assert [one.status for one in ended.legs] == [LegStatus.CANCELED] * 2
        await desk.settle()
        assert desk.session().state is UserState.READY
        assert (await desk.place()).state is OrderState.WORKING


@virtual
async def test_a_sell_that_the_venue_has_archived_leaves_what_was_bought_unsold_3_3(tmp_path: Path) -> None:
    line = line_of(Venue.SPOT, archive_days=1)
    async with PaperDesk(tmp_path / "j.db", Venue.SPOT, line) as desk:
        await desk.open_user()
        order = await desk.place(**desk.crossing)
        await desk.becomes(order, OrderState.TRIGGERED)
    line.world.exchange.cancel_all(line.state.accounts.owner("spot/1"))
    await asyncio.sleep(A_DAY)
    async with PaperDesk(tmp_path / "j.db", Venue.SPOT, line) as desk:
        ended = await desk.becomes(order, OrderState.CANCELED)
        assert ended.settled
        assert ended.working.filled_quantity == ended.working.quantity
        assert desk.journal.books.uncovered(desk.key()) > 0

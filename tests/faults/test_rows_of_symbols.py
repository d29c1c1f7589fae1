"""Rows of the catalogue about what trades: halted, changed, unknown, withdrawn or gone."""

from pathlib import Path

import pytest

from order_service.denied import Denied
from otopilot.instrument import Venue
from otopilot.order import OrderState, RejectionKind
from otopilot.position import UserState
from tests.faults.floor import Floor
from tests.virtual_loop import virtual

BOTH = pytest.mark.parametrize("venue", list(Venue))


@BOTH
@pytest.mark.parametrize("status", ["HALT", "BREAK", "CANCEL_ONLY"])
def test_row_28_a_halted_symbol_takes_cancels_and_no_orders_and_opens_again(
    tmp_path: Path, venue: Venue, status: str
) -> None:
    @virtual
    async def story() -> None:
        async with Floor(tmp_path, venue) as floor:
            await floor.add("1")
            order = await floor.place(buy="0.99")
            await floor.sleep(1)
            floor.fault("trading_status", code=status)
            await floor.cancel(order)
            await floor.reaches(order, OrderState.CANCELED)
            refused = await floor.place(buy="0.99")
            # Alpha has published no code for it, so there it is a doubt that is proven absent.
            refused = await floor.reaches(refused, OrderState.REJECTED)
            if venue is Venue.ALPHA:
                await floor.sleep(315)  # the first sweep after five minutes reads the listing again
            sent = floor.placements_sent()
            for _ in range(5):
                with pytest.raises(Denied) as denied:
                    await floor.place(buy="0.99")
                assert denied.value.metadata["filter"] == "STATUS"
            assert floor.placements_sent() == sent
            assert floor.accepted() == 1
            floor.heal()
            await floor.sleep(315)
            again = await floor.place(buy="0.98")
            await floor.reaches(again, OrderState.WORKING)
            await floor.agree()

    story()


@BOTH
def test_row_29_filters_that_change_are_a_definite_no_and_then_obeyed(tmp_path: Path, venue: Venue) -> None:
    @virtual
    async def story() -> None:
        async with Floor(tmp_path, venue) as floor:
            await floor.add("1")
            floor.fault("filters", symbol=floor.symbol, set={"min_notional": "1000"})
            refused = await floor.place(buy="0.99")
            assert refused.rejection is not None
            assert refused.rejection.kind is RejectionKind.VENUE
            if venue is Venue.ALPHA:
                await floor.sleep(315)  # the first sweep after five minutes reads the rules again
            with pytest.raises(Denied) as denied:
                await floor.place(buy="0.99")
            assert denied.value.reason == "DENIED_FILTER"
            assert floor.accepted() == 0

    story()


@BOTH
def test_row_30_unknown_fields_pass_and_unknown_filters_and_words_halt_the_symbol(
    tmp_path: Path, venue: Venue
) -> None:
    @virtual
    async def story() -> None:
        async with Floor(tmp_path, venue) as floor:
            symbols = "data.symbols.*" if venue is Venue.ALPHA else "symbols.*"
            floor.fault("mutate", endpoint="exchange_info", field=f"{symbols}.moon", value='"full"')
            await floor.add("1")
            order = await floor.reaches(await floor.place(buy="0.99"), OrderState.WORKING)
            for field, value in (
                (f"{symbols}.filters.+", '{"filterType": "FULL_MOON", "phase": "1"}'),
                (f"{symbols}.status", '"ECLIPSED"'),
            ):
                floor.fault("mutate", endpoint="exchange_info", field=field, value=value)
                await floor.sleep(315)  # the first sweep after five minutes reads the rules again
                sent = floor.placements_sent()
                with pytest.raises(Denied) as denied:
                    await floor.place(buy="0.98")
                assert denied.value.metadata["filter"] == "STATUS"
                assert floor.placements_sent() == sent
                floor.heal()
                await floor.sleep(315)
                assert floor.desk.sessions.all()[0].state is UserState.READY
            await floor.cancel(order)
            await floor.reaches(order, OrderState.CANCELED)
            await floor.reaches(await floor.place(buy="0.98"), OrderState.WORKING)
            await floor.agree()

    story()


@BOTH
@pytest.mark.parametrize("kind", ["vanish", "delist"])
def test_row_55_a_symbol_that_is_withdrawn_or_gone_places_nothing(
    tmp_path: Path, venue: Venue, kind: str
) -> None:
    @virtual
    async def story() -> None:
        async with Floor(tmp_path, venue) as floor:
            await floor.add("1")
            await floor.place(buy="0.99")
            floor.fault(kind, symbol=floor.symbol)
            await floor.sleep(320)  # the listing is read again every five minutes
            accepted = floor.accepted()
            with pytest.raises(Denied):
                await floor.place("1", buy="0.98")
            assert floor.accepted() == accepted
            assert floor.desk.sessions.all()[0].state is not UserState.STOPPED
            await floor.agree()

    story()

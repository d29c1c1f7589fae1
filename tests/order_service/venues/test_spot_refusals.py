"""What Spot's refusals are followed by: rules read anew, placements held back, another connection (10.2)."""

import asyncio

import pytest

from order_service.denied import Denied
from order_service.gate import GatedAccount, GatedTransport
from order_service.rate_budget import RateBudget
from order_service.venues import limits
from order_service.venues.port import Response, VenueBusy, VenueRefused, VenueSilent
from otopilot.instrument import Venue
from otopilot.order import LegRole, UserId
from tests.order_service.venues.fakes import NOW, reply
from tests.order_service.venues.test_spot_pool import Desk, account, now, opened
from tests.order_service.venues.test_spot_writes import SINGLE, answering, error, single_answer
from tests.virtual_loop import virtual


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ("Account has insufficient balance for requested action.", "insufficient_balance"),
        ("Market is closed.", "refused"),
        ("This symbol is restricted for this account.", "refused"),
        ("Order would immediately match and take.", "refused"),
        ("Filter failure: MAX_NUM_ORDERS", "refused"),
        ("Unsupported order combination", "refused"),
        ("OCO orders are not supported for this symbol", "refused"),
        ("OPO orders are not supported for this symbol.", "refused"),
        ("Price * QTY is zero or less.", "refused"),
    ],
)
async def test_the_engines_wrapped_word_is_a_no_where_it_is_one_letter_for_letter_10_2(
    said: str, word: str
) -> None:
    _, account = answering(error(-1010, said))
    with pytest.raises(VenueRefused) as caught:
        await account.place(SINGLE)
    assert caught.value.code == word
    for other in (said.lower(), f"{said} ", f"{said}!"):
        _, account = answering(error(-1010, other))
        with pytest.raises(VenueSilent):
            await account.place(SINGLE)


@pytest.mark.parametrize(
    "refusal",
    [
        error(-1121, "Invalid symbol."),
        error(-1111, "Parameter 'quantity' has too much precision."),
        error(-1013, "Filter failure: LOT_SIZE"),
        error(-2010, "Market is closed."),
    ],
)
async def test_a_refusal_that_the_rules_did_not_foretell_makes_them_be_read_anew_10_2(
    refusal: Response,
) -> None:
    transport, account = answering([refusal, reply(single_answer())])
    with pytest.raises(VenueRefused):
        await account.place(SINGLE)
    read = transport.paths().count("exchangeInfo")
    await account.place(SINGLE)
    assert transport.paths().count("exchangeInfo") == read + 1


async def test_a_refusal_for_lack_of_money_says_nothing_about_the_rules() -> None:
    lack = error(-2010, "Account has insufficient balance for requested action.")
    transport, account = answering([lack, reply(single_answer())])
    with pytest.raises(VenueRefused):
        await account.place(SINGLE)
    read = transport.paths().count("exchangeInfo")
    await account.place(SINGLE)
    assert transport.paths().count("exchangeInfo") == read


async def test_an_overloaded_venue_is_silent_and_names_a_time_before_which_nobody_places_10_2() -> None:
    transport, account = answering(error(-1008, "Server is overloaded.", status=503))
    with pytest.raises(VenueBusy) as caught:
        await account.place(SINGLE)
    assert 60 <= (caught.value.until - NOW).total_seconds() <= 120
    with pytest.raises(VenueBusy):
        await account.look_up(SINGLE, LegRole.WORKING)
    assert transport.paths().count("order") == 2  # a question is not repeated either


@virtual
async def test_an_overloaded_venue_gets_no_placements_for_a_while_and_everything_else_10_2() -> None:
    api = Desk()
    api.instead["order.place"] = {"status": 503, "error": {"code": -1008, "msg": "overloaded"}}
    budget = RateBudget(Venue.SPOT, api.clock, limits.spot())
    async with opened(api, transport=GatedTransport(api, budget, api.clock)) as venue:
        gated = GatedAccount(account(venue), budget, UserId("1"))
        with pytest.raises(VenueBusy):
            await gated.place(now(SINGLE, api))
        for user in ("1", "2"):
            with pytest.raises(Denied) as denied:
                await budget.permit_placement(UserId(user), 1, 3.0)
            assert denied.value.reason == "RATE_LIMIT"
        assert budget.closed_until() is None
        await gated.cancel(SINGLE, LegRole.WORKING)
        assert await gated.look_up(SINGLE, LegRole.WORKING) is not None
        await asyncio.sleep(91)
        await budget.permit_placement(UserId("2"), 1, 3.0)


@virtual
async def test_a_question_that_is_told_of_the_overload_holds_placements_too_10_2() -> None:
    api = Desk()
    api.instead["order.status"] = {"status": 503, "error": {"code": -1008, "msg": "overloaded"}}
    budget = RateBudget(Venue.SPOT, api.clock, limits.spot())
    async with opened(api, transport=GatedTransport(api, budget, api.clock)) as venue:
        gated = GatedAccount(account(venue), budget, UserId("1"))
        with pytest.raises(VenueBusy):
            await gated.look_up(SINGLE, LegRole.WORKING)
        assert api.rest == []
        with pytest.raises(Denied, match="no placement can be sent"):
            await budget.permit_placement(UserId("1"), 1, 3.0)


@virtual
async def test_a_server_that_answers_that_it_is_going_is_left_for_another_connection_10_2() -> None:
    api = Desk()
    api.instead["order.place"] = {"status": 500, "error": {"code": -1016, "msg": "shutting down"}}
    async with opened(api, connections=1) as venue:
        with pytest.raises(VenueSilent):
            await account(venue).place(now(SINGLE, api))
        await asyncio.sleep(1)
        assert len(api.connects) == 2
        api.instead.clear()
        await account(venue).place(now(SINGLE, api))
        assert api.wires[1].asked[-1]["method"] == "order.place"
        await asyncio.sleep(10)
        assert not api.wires[0].open


@virtual
async def test_a_venue_of_which_every_server_is_going_is_connected_to_ever_more_slowly() -> None:
    api = Desk()
    api.instead["order.place"] = {"status": 500, "error": {"code": -1016, "msg": "shutting down"}}
    async with opened(api, connections=1) as venue:
        for _ in range(600):
            with pytest.raises(VenueSilent):
                await account(venue).place(now(SINGLE, api))
            await asyncio.sleep(0.1)
        assert 5 < len(api.connects) < 30
        api.instead.clear()
        await asyncio.sleep(11)
        await account(venue).place(now(SINGLE, api))
        assert len(api.open) == 1

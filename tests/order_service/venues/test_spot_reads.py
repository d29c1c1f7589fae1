"""Spot reads and the user data stream: the venue's payloads become the port's words."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from order_service.gate import GatedAccount
from order_service.rate_budget import RateBudget
from order_service.venues import limits
from order_service.venues.port import (
    SELF_MATCH,
    AssetBalance,
    CredentialRefused,
    FeeRates,
    RateLimited,
    Response,
    VenueRefused,
    VenueSilent,
)
from otopilot.clock import to_ms
from otopilot.instrument import Side, Venue
from otopilot.order import Fee, LegRole, LegStatus, UserId, VenueOrderId
from tests.order_service.venues.fakes import (
    NOW,
    FakeCredential,
    FakeTransport,
    Reply,
    Sent,
    fixture,
    reply,
)
from tests.order_service.venues.test_spot_writes import AHEAD_MS, BTC, error, params_of, venue_of, with_ids
from tests.virtual_loop import VirtualClock, virtual


def account_of(replies: dict[str, Reply | list[Reply]]) -> tuple[FakeTransport, Any]:
    transport = FakeTransport(replies)
    return transport, venue_of(transport).account("1", FakeCredential("hmac"))


async def test_an_order_is_asked_for_by_the_venues_id_once_known_else_by_ours() -> None:
    transport, account = account_of({"/order": reply(fixture("spot/rest_order_query"))})
    found = await account.look_up(with_ids(), LegRole.WORKING)
    assert (found.status, found.quantity, found.client_id) == (LegStatus.OPEN, 1, "myOrder1")
    assert params_of(transport.sent[-1])["orderId"] == "40"
    await account.look_up(with_ids(), LegRole.PENDING)
    assert params_of(transport.sent[-1])["origClientOrderId"] == "o00000000000000aap"


async def test_no_such_order_is_none_and_no_other_failure_is() -> None:
    _, account = account_of({"/order": error(-2013, "Order does not exist.")})
    assert await account.look_up(with_ids(), LegRole.WORKING) is None
    for answer, failure in ((error(-1000), VenueSilent), (error(-2039), VenueRefused)):
        _, account = account_of({"/order": answer})
        with pytest.raises(failure):
            await account.look_up(with_ids(), LegRole.WORKING)


async def test_an_archived_order_has_ended_unfilled_unless_we_know_of_a_fill() -> None:
    """binance-spot 3.3, 10.2."""
    _, account = account_of({"/order": error(-2026, "Order was canceled or expired ...")})
    order = with_ids()
    for role, place in ((LegRole.WORKING, order.working.venue_order_id), (LegRole.PENDING, "")):
        found = await account.look_up(order, role)
        assert (found.status, found.executed_quantity) == (LegStatus.CANCELED, 0)
        assert found.venue_order_id == place
    filled = msgspec.structs.replace(order.working, reported_quantity=Decimal("0.0001"))
    partly = msgspec.structs.replace(order, legs=(filled, *order.legs[1:]))
    with pytest.raises(VenueRefused, match="archived"):
        await account.look_up(partly, LegRole.WORKING)


async def test_a_prevented_self_match_is_an_expiry_that_names_itself() -> None:
    _, account = account_of({"/order": reply(fixture("spot/rest_order_query_expired_in_match"))})
    found = await account.look_up(with_ids(), LegRole.WORKING)
    assert (found.status, found.expiry_reason) == (LegStatus.EXPIRED, SELF_MATCH)


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("PENDING_CANCEL", LegStatus.OPEN),
        ("PENDING_NEW", LegStatus.PENDING),
        ("REJECTED", LegStatus.REJECTED),
        ("SOMETHING_NEW", None),
    ],
)
async def test_every_word_for_a_status(word: str, status: LegStatus | None) -> None:
    row = fixture("spot/rest_order_query") | {"status": word, "expiryReason": "NONE"}
    _, account = account_of({"/order": reply(row)})
    found = await account.look_up(with_ids(), LegRole.WORKING)
    assert (found.status, found.raw_status, found.expiry_reason) == (status, word, "")


async def test_an_expired_leg_keeps_the_venues_reason() -> None:
    row = fixture("spot/rest_order_query") | {"status": "EXPIRED", "expiryReason": "OTO_PHASE_ONE_EXPIRED"}
    _, account = account_of({"openOrders": reply([row])})
    (found,) = await account.open_orders(BTC)
    assert found.expiry_reason == "OTO_PHASE_ONE_EXPIRED"


def book(rows: list[dict[str, Any]], id_name: str) -> Callable[[Sent], Response]:
    """A venue's list: at most 24 hours a window, at most 1000 rows a page, oldest first."""

    def answer(request: Sent) -> Response:
        query = {key: values[0] for key, values in parse_qs(urlsplit(request.url).query).items()}
        start, end = int(query.get("startTime", 0)), int(query.get("endTime", 10**15))
        assert "startTime" not in query or end - start <= 24 * 3600 * 1000
        after = int(query.get(id_name, 0))
        key = "orderId" if id_name == "orderId" else "id"
        found = [row for row in rows if start <= row["time"] <= end and row[key] >= after]
        return reply(found[: int(query["limit"])])

    return answer


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 2500])
async def test_a_sweep_finds_every_order_over_days_and_pages(count: int) -> None:
    since = NOW - timedelta(days=3)
    base = fixture("spot/rest_order_query")
    rows = [base | {"orderId": n + 1, "time": to_ms(since) + n * 86_000} for n in range(count)]
    early = [base | {"orderId": 0, "time": to_ms(since) - 1}]
    _, account = account_of({"allOrders": book(early + rows, "orderId")})
    found = await account.order_history(BTC, since)
    assert [int(order.venue_order_id) for order in found] == list(range(1, count + 1))


async def test_a_sweep_of_trades_skips_empty_days_and_pages_by_id() -> None:
    base = fixture("spot/rest_my_trades")[0]
    rows = [base | {"id": n, "time": to_ms(NOW) - 5000} for n in range(1, 1801)]
    transport, account = account_of({"myTrades": book(rows, "fromId")})
    trades = await account.trades_since(BTC, NOW - timedelta(days=2))
    assert [trade.key for trade in trades] == [str(n) for n in range(1, 1801)]
    assert transport.paths().count("myTrades") == 3  # an empty day, a full page, the rest


async def test_a_trade_is_read_with_its_fee_and_key() -> None:
    _, account = account_of({"myTrades": reply(fixture("spot/rest_my_trades"))})
    (trade,) = await account.trades_of("BNBBTC", VenueOrderId("100234"))
    assert (trade.key, trade.side, trade.quote) == ("28457", Side.BUY, Decimal("48.000012"))
    assert trade.fee == Fee("BNB", Decimal("10.1"))


async def test_balances_and_fees() -> None:
    _, account = account_of(
        {
            "/account": reply(fixture("spot/rest_account")),
            "/commission": reply(fixture("spot/rest_account_commission")),
        }
    )
    assert (await account.balances())[0] == AssetBalance("BTC", Decimal("4723846.89208129"), Decimal(0))
    # taker + buyer, and taker + seller, of the standard, special and tax parts
    assert await account.fee_rates(BTC) == FeeRates(Decimal("0.05000282"), Decimal("0.06000290"))


async def test_rules_of_a_symbol() -> None:
    transport = FakeTransport()
    rules = await venue_of(transport).instrument(BTC)
    assert (rules.tick_size, rules.step_size) == (Decimal("0.000001"), Decimal("0.001"))
    assert (rules.min_notional, rules.bid_multiplier_down) == (10, Decimal("0.2"))
    assert (rules.opo_allowed, rules.max_num_orders, rules.max_num_order_lists) == (True, 25, 20)
    transport.replies["exchangeInfo"] = error(-1121)
    with pytest.raises(VenueRefused, match="unknown_symbol"):
        await venue_of(transport).instrument("NOPE")


async def test_a_placement_takes_rules_of_any_age_but_not_those_the_venue_refused() -> None:
    transport = FakeTransport()
    venue = venue_of(transport)
    await venue.instrument(BTC)
    await venue.clock.sleep(3600.0)
    await venue.known_instrument(BTC)
    assert transport.paths().count("exchangeInfo") == 1
    venue.distrust_rules(BTC)
    await venue.known_instrument(BTC)
    await venue.known_instrument(BTC)
    assert transport.paths().count("exchangeInfo") == 2


async def test_rules_an_order_was_denied_by_are_read_again_once_they_are_half_a_minute_old() -> None:
    transport = FakeTransport()
    venue = venue_of(transport)
    await venue.instrument(BTC)
    venue.doubt_rules(BTC)
    await venue.clock.sleep(29.0)
    await venue.instrument(BTC)
    assert transport.paths().count("exchangeInfo") == 1
    await venue.clock.sleep(2.0)
    await venue.known_instrument(BTC)  # a placement does not wait for it
    assert transport.paths().count("exchangeInfo") == 1
    await venue.instrument(BTC)
    await venue.clock.sleep(60.0)
    await venue.instrument(BTC)
    assert transport.paths().count("exchangeInfo") == 2


async def test_the_venues_time_and_its_limits_are_told_as_it_told_them() -> None:
    venue = venue_of(FakeTransport())
    assert await venue.time() == NOW + timedelta(milliseconds=AHEAD_MS)
    assert venue.told_limits() is None
    await venue.instrument(BTC)
    assert venue.told_limits() == limits.spot()


async def test_a_signed_read_has_a_fresh_timestamp_on_every_try() -> None:
    transport, account = account_of({"openOrders": [error(-1021), VenueSilent("timeout", "x"), reply([])]})
    assert await account.open_orders(BTC) == ()
    sent = [request for request in transport.sent if "openOrders" in request.url]
    assert [int(params_of(one)["timestamp"]) - to_ms(NOW) for one in sent] == [AHEAD_MS] * 3
    assert transport.paths().count("time") == 10  # measured anew after the refused timestamp


async def test_an_account_that_is_not_permitted_says_so_on_reads() -> None:
    _, account = account_of({"/account": error(-2015, status=401)})
    with pytest.raises(CredentialRefused):
        await account.balances()


@virtual
async def test_every_page_of_a_read_has_a_permit_of_its_own() -> None:
    """A read that took more requests than it had weight for made the address overrun its minute."""
    base = fixture("spot/rest_my_trades")[0]
    rows = [base | {"id": n, "time": to_ms(NOW) - 5000} for n in range(1, 1801)]
    transport, account = account_of({"myTrades": book(rows, "fromId")})
    budget = RateBudget(Venue.SPOT, VirtualClock(), replace(limits.spot(), weight=(50, 60.0)))
    gated = GatedAccount(account, budget, UserId("1"))
    reading = asyncio.create_task(gated.trades_since(BTC, NOW - timedelta(days=2)))
    await asyncio.sleep(1)
    assert (transport.paths().count("myTrades"), budget.used()[0]) == (2, 40)
    await asyncio.sleep(61)
    assert len(await reading) == 1800
    assert transport.paths().count("myTrades") == 3
    budget.close_until(RateLimited("429", "slow down", budget.now() + timedelta(seconds=9)))
    with pytest.raises(RateLimited):
        await gated.trades_since(BTC, NOW - timedelta(days=2))

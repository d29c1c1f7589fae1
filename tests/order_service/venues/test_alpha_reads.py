"""Alpha reads: the venue's payloads become the port's words, pages and all."""

from datetime import timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from order_service.venues.port import (
    AssetBalance,
    CredentialRefused,
    FeeRates,
    RateLimited,
    Response,
    VenueNotReached,
    VenueRefused,
    VenueSilent,
)
from otopilot.clock import from_ms, to_ms
from otopilot.instrument import Side
from otopilot.order import Fee, LegRole, LegStatus, VenueOrderId
from tests.order_service.venues.fakes import (
    NOW,
    FakeCredential,
    FakeTransport,
    Reply,
    Sent,
    alpha_reply,
    an_order,
    fixture,
    leg,
    reply,
)
from tests.order_service.venues.test_alpha_writes import KOGE, venue_of

SYMBOL = "ALPHA_971USDT"
SINCE = from_ms(1779913600000)
HISTORY = reply(fixture("alpha/private_order_history")["response"])
OPEN = reply(fixture("alpha/private_open_orders")["one_order_assumed_shape"])
NONE_OPEN = alpha_reply([])


def account_of(replies: dict[str, Reply | list[Reply]]) -> tuple[FakeTransport, Any]:
    transport = FakeTransport(replies)
    return transport, venue_of(transport).account("1", FakeCredential("session"))


def query_of(request: Sent) -> dict[str, str]:
    return {key: values[0] for key, values in parse_qs(urlsplit(request.url).query).items()}


def row(number: int, **changes: Any) -> dict[str, Any]:
    base = dict(fixture("alpha/private_order_history")["response"]["data"][0])
    return base | {"orderId": str(number), "time": to_ms(NOW), "updateTime": to_ms(NOW)} | changes


async def test_history_rows_are_read_with_roles_and_lists() -> None:
    _, account = account_of({"get-open-order": NONE_OPEN, "get-order-history-merge": HISTORY})
    orders = {order.venue_order_id: order for order in await account.order_history(SYMBOL, SINCE)}
    working, pending, single = orders["50000001"], orders["50000002"], orders["50000090"]
    assert (working.role, pending.role, single.role) == (LegRole.WORKING, LegRole.PENDING, None)
    assert (working.list_id, single.list_id) == ("90000001", None)
    assert (working.status, single.status) == (LegStatus.FILLED, LegStatus.CANCELED)
    assert (working.side, working.price) == (Side.BUY, Decimal("0.000005929"))
    assert (working.executed_quantity, working.executed_quote) == (1686625, Decimal("9.99999962"))
    assert single.updated_at - single.created_at == timedelta(seconds=60)


async def test_history_is_asked_for_every_status_and_the_tokens_own_rows() -> None:
    transport, account = account_of({"get-open-order": NONE_OPEN, "get-order-history-merge": HISTORY})
    await account.order_history(SYMBOL, SINCE)
    asked = query_of(transport.sent[-1])
    assert asked["orderStatus"] == "FILLED,PARTIALLY_FILLED,EXPIRED,CANCELED,REJECTED"
    assert (asked["startTime"], asked["baseAsset"], asked["kind"]) == ("1779913600000", "ALPHA_971", "LIMIT")


async def test_history_pages_on_until_a_page_is_not_full_whatever_the_total_says() -> None:
    pages: list[Reply] = [
        alpha_reply([row(n, kind="SWAP" if n == 5 else "LIMIT") for n in range(1, 101)]),
        alpha_reply([row(n) for n in range(100, 200)]),
        alpha_reply([row(200)]),
    ]
    transport, account = account_of({"get-open-order": NONE_OPEN, "get-order-history-merge": pages})
    orders = await account.order_history(SYMBOL, SINCE)
    assert {int(order.venue_order_id) for order in orders} == set(range(1, 201)) - {5}
    asked = [query_of(request) for request in transport.sent if "history" in request.url]
    assert [query["page"] for query in asked] == ["1", "2", "3"]
    assert len({query["endTime"] for query in asked}) == 1


async def test_endless_history_is_an_error_and_not_a_loop() -> None:
    full = alpha_reply([row(n) for n in range(1, 101)])
    _, account = account_of({"get-open-order": NONE_OPEN, "get-order-history-merge": full})
    with pytest.raises(VenueSilent, match="too_many_rows"):
        await account.order_history(SYMBOL, SINCE)


async def test_open_orders_are_those_of_the_symbol() -> None:
    _, account = account_of({"get-open-order": OPEN})
    (order,) = await account.open_orders(SYMBOL)
    assert (order.venue_order_id, order.status, order.quantity) == (
        "50000110",
        LegStatus.OPEN,
        Decimal("1818181.8"),
    )
    assert await account.open_orders(KOGE) == ()


async def test_an_untriggered_sell_is_pending_with_no_quantity() -> None:
    pending = row(7, status="PENDING", origQty="0", executedQty="0", contingencyOrderPosition="OTO_PENDING")
    _, account = account_of({"get-open-order": alpha_reply([pending])})
    (order,) = await account.open_orders(SYMBOL)
    assert (order.status, order.quantity, order.role) == (LegStatus.PENDING, 0, LegRole.PENDING)


async def test_a_status_of_another_word_is_kept_as_it_is() -> None:
    _, account = account_of({"get-open-order": alpha_reply([row(7, status="HALTED")])})
    (order,) = await account.open_orders(SYMBOL)
    assert (order.status, order.raw_status) == (None, "HALTED")


async def test_history_contains_open_orders_but_none_created_earlier() -> None:
    _, account = account_of({"get-open-order": OPEN, "get-order-history-merge": HISTORY})
    ids = [order.venue_order_id for order in await account.order_history(SYMBOL, from_ms(1779999926000))]
    assert ids == ["50000001", "50000002", "50000101", "50000110"]


async def test_a_trades_key_is_order_and_page_because_trade_ids_repeat() -> None:
    _, account = account_of({"get-user-trades": reply(fixture("alpha/private_user_trades"))})
    trades = await account.trades_of(SYMBOL, VenueOrderId("50000120"))
    assert [trade.key for trade in trades] == ["50000120:59100000001", "50000120:59100000002"]
    assert trades[1].quantity == Decimal("485278.90")
    assert trades[1].quote == Decimal("2.72678213")
    assert trades[1].fee == Fee("USDT", Decimal("0.00027268"))
    assert trades[1].side is Side.SELL


async def test_trades_since_asks_each_changed_order_and_never_twice_for_a_complete_one() -> None:
    filled = row(50000130, executedQty="52938", status="FILLED", side="BUY")
    replies: dict[str, Reply | list[Reply]] = {
        "get-open-order": NONE_OPEN,
        "get-order-history-merge": alpha_reply([filled, row(8, executedQty="0", status="CANCELED")]),
        "get-user-trades": reply(fixture("alpha/private_user_trades")),
    }
    transport, account = account_of(replies)
    since = from_ms(1780000000500)
    for _ in range(2):
        (trade,) = await account.trades_since(SYMBOL, since)
        assert (trade.key, trade.fee) == ("50000130:59100000003", Fee("ALPHA_971", Decimal("5.29")))
    assert transport.paths().count("get-user-trades") == 1
    assert await account.trades_since(SYMBOL, since + timedelta(milliseconds=1)) == ()


async def test_an_order_whose_rows_are_not_all_there_is_asked_again() -> None:
    partly = row(50000130, executedQty="60000", status="PARTIALLY_FILLED", side="BUY")
    transport, account = account_of(
        {
            "get-open-order": alpha_reply([partly]),
            "get-order-history-merge": alpha_reply([]),
            "get-user-trades": reply(fixture("alpha/private_user_trades")),
        }
    )
    for _ in range(2):
        await account.trades_since(SYMBOL, SINCE)
    assert transport.paths().count("get-user-trades") == 2


async def test_balances_are_funding_money_and_tokens_by_alpha_id() -> None:
    _, account = account_of(
        {
            "get-wallet-asset": reply(fixture("alpha/private_wallet_assets")["get_wallet_asset_v3_response"]),
            "cloud-wallet/alpha": reply(fixture("alpha/private_alpha_wallet")),
        }
    )
    assert await account.balances() == (
        AssetBalance("USDT", Decimal(100), Decimal(0)),
        AssetBalance("ALPHA_22", Decimal("0.5"), Decimal(0)),
        AssetBalance("ALPHA_118", Decimal("0.006657"), Decimal(0)),
    )


async def test_fee_rates_are_in_millionths() -> None:
    _, account = account_of({"get-fee-rate": reply(fixture("alpha/public_fee_rate"))})
    assert await account.fee_rates(KOGE) == FeeRates(Decimal("0.0001"), Decimal("0.0001"))


async def test_the_last_price_is_the_newest_trades_and_is_kept_for_a_second() -> None:
    transport = FakeTransport({"agg-trades": reply(fixture("alpha/public_agg_trades"))})
    venue = venue_of(transport)
    for _ in range(3):
        assert await venue.last_price(SYMBOL) == Decimal("0.000005853")
    assert len(transport.sent) == 1
    await venue.clock.sleep(1.1)
    await venue.last_price(SYMBOL)
    assert len(transport.sent) == 2


def known(venue_id: str | None) -> Any:
    return an_order(SYMBOL, leg(LegRole.WORKING, Side.BUY, "1", "1", venue_id))


@pytest.mark.parametrize(
    ("venue_id", "reads"),
    [("50000110", 1), ("50000001", 2)],
)
async def test_a_leg_is_looked_up_among_open_orders_then_in_history(venue_id: str, reads: int) -> None:
    transport, account = account_of({"get-open-order": OPEN, "get-order-history-merge": HISTORY})
    found = await account.look_up(known(venue_id), LegRole.WORKING)
    assert found.venue_order_id == venue_id
    assert len([path for path in transport.paths() if path not in ("get-exchange-info", "list")]) == reads


async def test_no_order_of_that_id_anywhere_is_none() -> None:
    _, account = account_of({"get-open-order": OPEN, "get-order-history-merge": HISTORY})
    assert await account.look_up(known("1"), LegRole.WORKING) is None


async def test_a_failed_read_is_never_an_absence() -> None:
    _, account = account_of({"get-open-order": OPEN, "get-order-history-merge": reply({}, status=500)})
    with pytest.raises(VenueSilent):
        await account.look_up(known("1"), LegRole.WORKING)


async def test_without_the_venues_id_there_is_no_look_up() -> None:
    _, account = account_of({})
    with pytest.raises(VenueNotReached):
        await account.look_up(known(None), LegRole.WORKING)


async def test_a_read_is_repeated_when_it_fails_without_a_refusal() -> None:
    failures: list[Reply] = [VenueSilent("timeout", "x"), VenueNotReached("connection", "x"), OPEN]
    transport, account = account_of({"get-open-order": failures})
    assert len(await account.open_orders(SYMBOL)) == 1
    assert transport.paths() == ["get-open-order"] * 3


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (reply({}, status=401), CredentialRefused),
        (reply(fixture("alpha/errors")["session_invalid"]), CredentialRefused),
        (reply({}, status=429), RateLimited),
        (reply(fixture("alpha/errors")["amount_mismatch_oto"]), VenueRefused),
    ],
)
async def test_a_refused_read_is_not_repeated(answer: Response, failure: type[Exception]) -> None:
    transport, account = account_of({"get-open-order": answer})
    with pytest.raises(failure):
        await account.open_orders(SYMBOL)
    assert len(transport.sent) == 1


async def test_one_unreadable_row_makes_the_whole_read_unknown() -> None:
    _, account = account_of({"get-open-order": alpha_reply([row(1), row(2, price="1,5")])})
    with pytest.raises(VenueSilent, match="unreadable"):
        await account.open_orders(SYMBOL)


async def test_the_world_id_comes_from_the_paper_exchange_and_is_empty_without() -> None:
    transport = FakeTransport({"/control/world": reply({"world_id": "w1", "now": 1})})
    assert await venue_of(transport, world_url="http://paper/control/world").world() == "w1"
    assert await venue_of(transport).world() == ""

"""Every sample of the venues' documents: read by an adapter, or said here to be none of its business.

The samples in tests/fixtures/spot and tests/fixtures/alpha are answers, frames and requests as the venues'
own pages show them, or as their website was seen to speak; names that begin with "composed" or
"synthetic" were put together from several such pages.
"""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from market_service.venues import aggregate_trades
from market_service.venues import alpha_parse as alpha_market
from market_service.venues import spot_parse as spot_market
from market_service.venues.aggregate_trades import Acknowledged, Leaving, StreamEnds
from market_service.venues.port import Tick
from order_service.venues import alpha_parse as alpha
from order_service.venues import alpha_rules, spot_answers, spot_rules
from order_service.venues import spot_parse as spot
from order_service.venues.fields import Row, Unreadable, decode, number_of, row_of
from order_service.venues.port import (
    BalancePushed,
    CredentialRefused,
    OrderPushed,
    RateLimited,
    Response,
    StreamNews,
    TooManyOrders,
    VenueError,
    VenueOrder,
    VenueRefused,
)
from otopilot.instrument import InstrumentStatus
from otopilot.order import LegStatus
from tests.order_service.venues.fakes import FIXTURES, NOW
from tests.order_service.venues.test_spot_writes import OTO, SINGLE

LATE = NOW.replace(year=2030)

Reader = Callable[[Any], object]


def read(name: str) -> Any:
    """The sample as an adapter sees it: numbers are text."""
    return decode((FIXTURES / f"{name}.json").read_text(encoding="utf-8"))


def an_order(row: Row) -> VenueOrder:
    found = spot.order(row)
    assert found.status is not None
    assert found.executed_quantity <= found.quantity
    return found


def orders(answer: Any) -> object:
    assert [an_order(row) for row in answer]
    return spot.orders(answer)


def placed(answer: Row) -> object:
    """A placement, of an order that bears the sample's ids."""
    rows = answer.get("orderReports") or [answer]
    order = OTO if len(rows) == 2 else SINGLE
    legs = tuple(
        msgspec.structs.replace(one, client_id=row["clientOrderId"])
        for one, row in zip(order.legs, rows, strict=True)
    )
    told = spot.placed(msgspec.structs.replace(order, legs=legs), answer, NOW)
    assert [one.venue_order_id for one in told.legs] == [row["orderId"] for row in rows]
    assert all(one.status is not LegStatus.UNKNOWN for one in told.legs)
    return told


def result(reader: Reader) -> Reader:
    """Of a WS API answer."""
    return lambda message: reader(spot_answers.ws_result(message, NOW))


def fails(kind: type[VenueError], code: str = "") -> Reader:
    """An error, by REST's body or in a WS API answer."""

    def check(answer: Any) -> object:
        by_rest = Response(400, {}, json.dumps(answer).encode())
        with pytest.raises(kind) as failure:
            spot_answers.ws_result(answer, NOW) if "error" in answer else spot_answers.answer_of(by_rest, NOW)
        assert type(failure.value) is kind
        assert not code or failure.value.code == code
        return failure.value

    return check


def catalogue(errors: list[Row]) -> object:
    """Each published text ends in one of the failures; none is taken for a yes."""
    assert len(errors) > 20
    return [fails_somehow(one) for one in errors]


def fails_somehow(error: Row) -> VenueError:
    with pytest.raises(VenueError) as failure:
        spot_answers.answer_of(Response(400, {}, json.dumps(error).encode()), NOW)
    return failure.value


def events(frames: Any) -> list[StreamNews]:
    """Pushed events, in or out of their envelope."""
    rows = frames if isinstance(frames, list) else [frames]
    news = [one for row in rows for one in spot.pushed(row.get("event", row))]
    assert all(one.order.status is not None for one in news if isinstance(one, OrderPushed))
    return news


def balance(frame: Any) -> object:
    assert events(frame) == [BalancePushed()]
    return True


def says_nothing(frame: Any) -> object:
    """An event that passes: it says nothing about orders or money."""
    assert events(frame) == []
    return True


def every_filter(filters: list[Row]) -> object:
    """All the filters of the documents on one symbol: each is known, and the strictest holds."""
    symbol = read("spot/composed_rest_exchange_info_one_symbol")["symbols"][0] | {"filters": filters}
    found = spot_rules.rules({"symbols": [symbol]}, symbol["symbol"]).instrument
    assert found.status is InstrumentStatus.TRADING
    assert (str(found.min_notional), str(found.bid_multiplier_up)) == ("10.00000000", "1.2")
    assert (str(found.bid_multiplier_down), str(found.ask_multiplier_up)) == ("0.7000", "1.3000")
    odd = symbol | {"filters": [*filters, {"filterType": "NEVER_HEARD_OF"}]}
    stopped = spot_rules.rules({"symbols": [odd]}, symbol["symbol"]).instrument
    assert stopped.status is InstrumentStatus.HALTED
    return found


def raw(name: str) -> Any:
    """The sample with its numbers as they are: the market side reads them into typed structs."""
    return json.loads((FIXTURES / f"{name}.json").read_text(encoding="utf-8"))


def tick(frame: Any) -> object:
    told = aggregate_trades.read_frame(json.dumps(frame).encode(), LATE)
    assert isinstance(told, Tick)
    return told


def acknowledged(frame: Any) -> object:
    told = aggregate_trades.read_frame(json.dumps(frame).encode(), LATE)
    assert told == Acknowledged(frame["id"])
    return told


def ends(frame: Any) -> object:
    with pytest.raises(StreamEnds):
        aggregate_trades.read_frame(json.dumps(frame).encode(), LATE)
    return True


def leaving(frame: Any) -> object:
    told = aggregate_trades.read_frame(json.dumps(frame).encode(), LATE)
    assert told == Leaving()
    return told


def ticker_is_not_asked_for(frame: Any) -> object:
    """A wrapper around something else than a trade: refused, and fatal to nothing."""
    with pytest.raises(ValueError, match="Expected"):
        aggregate_trades.read_frame(json.dumps(frame).encode(), LATE)
    return True


def acknowledgement(answer: Row) -> object:
    """ACK tells no status: nobody asks for it, and it is never taken for knowledge."""
    order = msgspec.structs.replace(SINGLE.working, client_id=answer["clientOrderId"])
    with pytest.raises(Unreadable):
        spot.placed(msgspec.structs.replace(SINGLE, legs=(order,)), answer, NOW)
    return True


SPOT_READ: dict[str, Reader] = {
    "composed_rest_exchange_info_one_symbol": lambda a: spot_rules.rules(a, "BTCUSDT"),
    "filters_all_examples": every_filter,
    "rest_account": spot.balances,
    "rest_account_commission": spot.fee_rates,
    "rest_all_orders": orders,
    "rest_error_body": fails(VenueRefused, "unknown_symbol"),
    "rest_error_cancel_restrictions_not_met": fails(VenueRefused, "not_open"),
    "rest_error_catalogue": catalogue,
    "rest_error_order_archived": fails(VenueRefused, "archived"),
    "rest_avg_price": lambda a: spot.average_price(a, 5),
    "rest_my_filters": spot.order_limits,
    "rest_my_trades": spot.trades,
    "rest_open_orders": orders,
    "rest_order_cancel": an_order,
    "rest_order_full": placed,
    "rest_order_full_market_expired": placed,
    "rest_order_full_pegged": placed,
    "rest_order_full_stp_expire_both": placed,
    "rest_order_full_stp_expire_maker_taker_rests": placed,
    "rest_order_query": an_order,
    "rest_order_query_expired_in_match": an_order,
    "rest_order_query_stp_decrement_still_open": an_order,
    "rest_order_result": placed,
    "rest_orderlist_opo": placed,
    "rest_orderlist_oto": placed,
    "rest_reference_price": spot.reference_price,
    "rest_reference_price_never_set_error": fails(VenueRefused, "-2043"),
    "rest_reference_price_null": lambda a: spot.reference_price(a) is None,
    "rest_ticker_price_one": spot.last_price,
    "rest_time": spot.server_time_ms,
    "synthetic_rest_orderlist_oto_fok_unfilled": placed,
    "synthetic_uds_execution_report_canceled": events,
    "synthetic_uds_seq_oto_cancelled_before_fill": events,
    "synthetic_uds_seq_oto_pending_rejected_on_release": events,
    "synthetic_uds_seq_oto_place_partial_fill_release": events,
    "uds_balance_update": balance,
    "uds_event_stream_terminated": says_nothing,
    "uds_execution_report_expired": events,
    "uds_execution_report_new": events,
    "uds_execution_report_trade": events,
    "uds_external_lock_update": balance,
    "uds_list_status": says_nothing,
    "uds_outbound_account_position": balance,
    "uds_seq_market_order_new_trade_trade_expired": events,
    "wsapi_account_status_response": result(spot.balances),
    "wsapi_error_418_banned": fails(RateLimited),
    "wsapi_event_envelope": events,
    "wsapi_order_cancel_response_single": result(an_order),
    "wsapi_order_place_response_full": result(placed),
    "wsapi_order_place_response_result": result(placed),
    "wsapi_order_status_response": result(an_order),
    "wsapi_orderlist_place_oto_response": result(placed),
    "wsapi_error_401_session_revoked": fails(CredentialRefused, "not_permitted"),
    "wsapi_event_server_shutdown": says_nothing,
    "wsapi_order_cancel_response_whole_list": result(lambda answer: row_of(answer, "answer")),
    "wsapi_orderlist_cancel_response": result(lambda answer: row_of(answer, "answer")),
    "wsapi_response_error": fails(VenueRefused, "insufficient_balance"),
    "wsapi_response_ok_order_place": result(placed),
    "wsapi_order_place_response_ack": result(acknowledgement),
    "wsapi_uds_subscribe_signature_response": result(lambda answer: number_of(answer, "subscriptionId")),
    "wsapi_uds_unsubscribe_response": result(lambda answer: row_of(answer, "answer") == {}),
    "rest_order_ack": acknowledgement,
    "rest_orderlist_cancel": lambda answer: row_of(answer, "answer"),
    "rest_error_too_many_orders": fails(TooManyOrders, "-1015"),
    "rest_error_stp_mode_not_allowed": fails(VenueRefused, "filter"),
}
# Read by the market side.
MARKET_READ: dict[str, Reader] = {
    "stream_agg_trade": lambda data: tick({"stream": "s", "data": data}),
    "stream_combined_wrapper": ticker_is_not_asked_for,
    "stream_error_messages": lambda errors: [ends(one) for one in errors],
    "stream_server_shutdown_combined": leaving,
    "stream_server_shutdown_raw": leaving,
    "stream_subscribe_response": acknowledged,
    "rest_agg_trades": lambda a: aggregate_trades.newest_of_rows(json.dumps(a).encode(), "X", LATE),
    "rest_ticker_price_many": lambda a: spot_market.read_prices(json.dumps(a).encode()),
}


# What no adapter asks for or hears. The paper exchange answers many of them, in the same shape.
SPOT_NOT_READ = {
    *("rest_book_ticker_many", "rest_book_ticker_one", "rest_depth", "rest_klines"),
    *("rest_ticker_24hr_full", "rest_ticker_24hr_mini", "rest_trades", "rest_ping"),
    *("rest_cancel_all_open_orders", "rest_cancel_replace_success", "rest_error_cancel_restrictions_invalid"),
    *("rest_cancel_replace_400_both_failed", "rest_cancel_replace_400_cancel_failed_stop"),
    *("rest_cancel_replace_409_cancel_failed_allow", "rest_cancel_replace_409_new_failed"),
    *("rest_order_amend_in_list", "rest_order_amend_single", "rest_order_amendments"),
    *("rest_execution_rules", "rest_rate_limit_order"),
    *("rest_my_prevented_matches", "rest_my_prevented_matches_expire_both"),
    *("rest_orderlist_all", "rest_orderlist_oco", "rest_orderlist_open"),
    *("rest_orderlist_otoco", "rest_orderlist_query"),
    *("signing_vectors_hmac_sha256",),  # test_spot_pool.py
    *("stream_avg_price", "stream_book_ticker", "stream_depth_update", "stream_kline", "stream_mini_ticker"),
    *("stream_partial_depth", "stream_reference_price", "stream_ticker", "stream_trade"),
    *("stream_get_property_response", "stream_list_subscriptions_response"),
    *("stream_set_property_response", "stream_unsubscribe_response"),
    *("wsapi_exchange_info_response", "wsapi_session_logon_response", "wsapi_session_logout_response"),
    *("wsapi_session_status_response", "wsapi_session_subscriptions_response"),
    *("wsapi_uds_subscribe_response",),
}


def names(venue: str) -> list[str]:
    """The venue's samples, without requests: those an adapter sends, it does not read."""
    every = sorted(path.stem for path in (FIXTURES / venue).glob("*.json"))
    return [name for name in every if not name.endswith("_request")]


@pytest.mark.parametrize("name", sorted(SPOT_READ))
def test_what_spot_says_in_its_documents_is_read(name: str) -> None:
    assert SPOT_READ[name](read(f"spot/{name}"))


def test_every_sample_of_spots_is_read_or_is_nobodys_business() -> None:
    assert sorted(SPOT_READ.keys() | MARKET_READ.keys() | SPOT_NOT_READ) == names("spot")
    assert not (SPOT_READ.keys() | MARKET_READ.keys()) & SPOT_NOT_READ


@pytest.mark.parametrize("name", sorted(MARKET_READ))
def test_what_spots_public_side_says_in_its_documents_is_read(name: str) -> None:
    assert MARKET_READ[name](raw(f"spot/{name}"))


# ------------------------------------------------------------------ alpha


def data(reader: Reader, part: str = "") -> Reader:
    """Of an answer in Alpha's envelope."""

    def check(sample: Any) -> object:
        answer = sample[part] if part else sample
        return reader(alpha.data_of(Response(200, {}, json.dumps(answer).encode()), NOW, writing=False))

    return check


def alpha_errors(samples: Row) -> object:
    """Each is a definite no or an ended session, none a yes."""
    found = {}
    for name, answer in samples.items():
        with pytest.raises(VenueRefused) as refused:
            alpha.data_of(Response(200, {}, json.dumps(answer).encode()), NOW, writing=True)
        found[name] = refused.value.code
    assert found["session_invalid"] == "auth_expired"
    assert found["insufficient_balance"] == "insufficient_balance"
    return found


def alpha_orders(rows: Any) -> object:
    found = [alpha.order(row) for row in alpha.rows(rows)]
    assert all(one.status is not None for one in found)
    return found or True


def pushes(sample: Row) -> object:
    frames = [*sample["oto_full_cycle"], sample["plain_limit_filled"]]
    news = [one for frame in frames for one in alpha.pushed(frame)]
    assert len(news) >= 5
    assert all(isinstance(one, OrderPushed) and one.order.status for one in news)
    return news


def public_stream(_: Row) -> object:
    sample = raw("alpha/stream_public")
    tick(sample["aggTrade"])
    acknowledged(sample["subscribe_ack"])
    return acknowledged(sample["subscribe_ack_seen_without_result"])


def tokens_listed(_: Any) -> object:
    where = (
        FIXTURES / "alpha" / f"{name}.json" for name in ("public_token_list", "public_exchange_info_2025-10")
    )
    return alpha_market.read_listing(*(path.read_bytes() for path in where)).instruments


def both_ids(answer: Any) -> object:
    return alpha.placed(OTO, answer, NOW)


ALPHA_READ: dict[str, Reader] = {
    "errors": alpha_errors,
    "private_alpha_wallet": data(lambda found: list(alpha.tokens(found))),
    "private_cancel": data(lambda _: True, "response"),
    "private_listen_key": data(alpha.listen_key, "response"),
    "private_open_orders": data(alpha_orders, "one_order_assumed_shape"),
    "private_order_history": data(alpha_orders, "response"),
    "private_order_place": data(lambda found: alpha.placed(SINGLE, found, NOW), "response"),
    "private_oto_place": data(both_ids, "response"),
    "private_user_trades": data(lambda rows: [alpha.trade(row) for row in alpha.rows(rows)]),
    "private_wallet_assets": data(lambda found: list(alpha.funding(found)), "get_wallet_asset_v3_response"),
    "public_agg_trades": data(alpha.last_price),
    "public_exchange_info_2025-10": data(
        lambda found: [alpha_rules.instrument(row) for row in alpha_rules.symbols(found).values()]
    ),
    "public_exchange_info_2026-05_symbol": alpha_rules.instrument,
    "public_fee_rate": data(alpha.fee_rates),
    "public_token_list": tokens_listed,
    "stream_private_orders": pushes,
    "stream_public": public_stream,
}
ALPHA_NOT_READ = {
    *("private_user_score", "private_user_volume"),  # the ledger counts by itself
    *("public_agg_klines", "public_from_asset", "public_full_depth", "public_full_depth_crossed"),
    *("public_klines", "public_ticker"),
}


@pytest.mark.parametrize("name", sorted(ALPHA_READ))
def test_what_alpha_was_seen_to_say_is_read(name: str) -> None:
    assert ALPHA_READ[name](read(f"alpha/{name}"))


def test_every_sample_of_alphas_is_read_or_is_nobodys_business() -> None:
    assert sorted(ALPHA_READ.keys() | ALPHA_NOT_READ) == [n for n in names("alpha") if n != "index"]

"""Alpha placements and cancels: what is sent, and what each answer proves."""

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from order_service.venues.binance_alpha import AlphaVenue
from order_service.venues.port import (
    CredentialRefused,
    RateLimited,
    Response,
    VenueNotReached,
    VenueRefused,
    VenueSilent,
)
from otopilot.instrument import Side
from otopilot.order import LegRole, LegStatus
from tests.order_service.venues.fakes import (
    NOW,
    FakeClock,
    FakeCredential,
    FakeTransport,
    Reply,
    alpha_reply,
    an_order,
    fixture,
    leg,
    oto,
    reply,
)

KOGE = "ALPHA_22USDT"
OTO = oto(KOGE, ("48.01706542", "0.2082"), ("0.001", "0.2081"))
ERRORS = fixture("alpha/errors")


def exchange_info() -> Any:
    info = fixture("alpha/public_exchange_info_2025-10")
    info["data"]["symbols"].append(fixture("alpha/public_exchange_info_2026-05_symbol"))
    return info


def venue_of(transport: FakeTransport, **options: Any) -> AlphaVenue:
    transport.replies.setdefault("get-exchange-info", reply(exchange_info()))
    transport.replies.setdefault("token/list", reply(fixture("alpha/public_token_list")))
    return AlphaVenue(transport, FakeClock(), rest_url="https://alpha", stream_url="wss://alpha", **options)


def answering(answer: Reply | list[Reply], **options: Any) -> tuple[FakeTransport, Any]:
    """A transport whose writes are answered so, and an account on it."""
    transport = FakeTransport({"/place": answer, "/cancel": answer})
    return transport, venue_of(transport, **options).account("1", FakeCredential("session"))


async def test_an_oto_is_placed_as_the_website_does() -> None:
    transport, account = answering(reply(fixture("alpha/private_oto_place")["response"]))
    placed = await account.place(OTO)
    sent = transport.sent[-1]
    assert sent.method == "POST"
    assert sent.url == "https://alpha/bapi/asset/v1/private/alpha-trade/oto-order/place"
    assert sent.headers == {"cookie": "c", "content-type": "application/json"}
    expected = fixture("alpha/private_oto_place")["request_koge_2025"] | {"pendingType": "LIMIT"}
    assert json.loads(sent.body) == expected
    assert [(one.role, one.venue_order_id, one.status) for one in placed.legs] == [
        (LegRole.WORKING, "50000001", LegStatus.OPEN),
        (LegRole.PENDING, "50000002", LegStatus.PENDING),
    ]


@pytest.mark.parametrize(
    ("side", "price", "quantity", "request_name"),
    [
        (Side.BUY, "48.01706542", "0.2082", "buy_request"),
        (Side.SELL, "0.000005637", "1790972.6", "sell_request"),
    ],
)
async def test_one_leg_is_placed_as_the_website_does(
    side: Side, price: str, quantity: str, request_name: str
) -> None:
    sample = fixture("alpha/private_order_place")
    symbol = KOGE if side is Side.BUY else "ALPHA_971USDT"
    transport, account = answering(reply(sample["response"]))
    placed = await account.place(an_order(symbol, leg(LegRole.WORKING, side, price, quantity)))
    assert transport.sent[-1].url.endswith("/bapi/asset/v1/private/alpha-trade/order/place")
    assert json.loads(transport.sent[-1].body) == sample[request_name]
    assert [one.venue_order_id for one in placed.legs] == ["50000101"]


async def test_small_numbers_are_plain_literals_without_exponent() -> None:
    order = oto("ALPHA_971USDT", ("0.000000005", "20000000.10"), ("0.00000000600", "1"))
    transport, account = answering(reply(fixture("alpha/private_oto_place")["response"]))
    await account.place(order)
    text = transport.sent[-1].body.decode()
    assert '"workingPrice":0.000000005,' in text
    assert '"workingQuantity":20000000.1,' in text
    assert '"pendingPrice":0.000000006,' in text
    assert '"amount":"0.1"' in text  # 0.1000000005 cut to eight decimals


async def test_numbers_may_be_sent_as_text() -> None:
    transport, account = answering(
        reply(fixture("alpha/private_oto_place")["response"]), numbers_as_text=True
    )
    await account.place(OTO)
    body = json.loads(transport.sent[-1].body)
    assert (body["workingPrice"], body["workingQuantity"]) == ("48.01706542", "0.2082")


async def test_a_placement_may_leave_for_one_second_only() -> None:
    transport, account = answering(reply(fixture("alpha/private_oto_place")["response"]))
    await account.place(OTO)
    assert transport.sent[-1].not_after == OTO.submitted_at + timedelta(seconds=1)


REFUSED = [
    (ERRORS["insufficient_balance"], "insufficient_balance"),
    (ERRORS["total_too_small"], "below_min_notional"),
    (ERRORS["amount_mismatch_order"], "amount_mismatch"),
    (ERRORS["amount_mismatch_oto"], "amount_mismatch"),
    (ERRORS["step_mismatch"], "bad_precision"),
    ({"code": "000002", "message": "illegal parameter"}, "bad_parameter"),
]
NEEDS_A_PERSON = [
    (ERRORS["session_invalid"], {}, "auth_expired"),
    ({"code": "77", "message": "Additional verification must be completed"}, {}, "verification_required"),
    ({"code": "77", "message": ""}, {"risk_challenge_biz": "x"}, "verification_required"),
]
WITHOUT_IDS: list[Reply] = [  # for a cancel, which has no ids, these are a yes
    alpha_reply(None),
    alpha_reply({"workingOrderId": 1}),
    alpha_reply({"workingOrderId": 1, "pendingOrderId": 1}),
    alpha_reply({"workingOrderId": 1, "pendingOrderId": True}),
]
UNKNOWN: list[Reply] = [
    *WITHOUT_IDS,
    reply({"code": "481001", "message": "who knows", "success": False}),
    reply({"code": "", "message": None}),
    reply({"message": "no code"}),
    reply(fixture("alpha/private_oto_place")["response"], status=500),
    reply(ERRORS["insufficient_balance"], status=502),
    reply({"code": "77", "message": ""}, status=503, headers={"risk_challenge_biz": "x"}),
    reply({"code": "000000", "data": {"workingOrderId": 1, "pendingOrderId": 2}}, status=400),
    reply({}, status=401),
    reply({}, status=404),
    reply({}, status=302),
    Response(status=200, headers={}, body=b"<html>"),
    Response(status=200, headers={}, body=b""),
    VenueSilent("timeout", "sent"),
]


@pytest.mark.parametrize(("body", "code"), REFUSED)
async def test_a_known_refusal_is_a_definite_no(body: Any, code: str) -> None:
    _, account = answering(reply(body))
    with pytest.raises(VenueRefused) as caught:
        await account.place(OTO)
    assert caught.value.code == code
    assert not isinstance(caught.value, CredentialRefused | RateLimited)


@pytest.mark.parametrize(("body", "headers", "code"), NEEDS_A_PERSON)
async def test_a_dead_session_or_a_challenge_needs_a_person(
    body: Any, headers: dict[str, str], code: str
) -> None:
    _, account = answering(reply(body, headers=headers))
    with pytest.raises(CredentialRefused) as caught:
        await account.place(OTO)
    assert caught.value.code == code


@pytest.mark.parametrize("status", [403, 418, 429])
@pytest.mark.parametrize(("asked", "told"), [("7", 7), (None, None), ("soon", None), ("9999999", 259200)])
async def test_a_closed_door_is_a_no_with_its_time(status: int, asked: str | None, told: int | None) -> None:
    seconds = {403: 300, 418: 120, 429: 60}[status] if told is None else told
    headers = {} if asked is None else {"retry-after": asked}
    _, account = answering(reply({}, status=status, headers=headers))
    with pytest.raises(RateLimited) as caught:
        await account.place(OTO)
    assert caught.value.until == NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize("answer", UNKNOWN)
async def test_everything_else_is_unknown_and_sent_once(answer: Reply) -> None:
    transport, account = answering(answer)
    with pytest.raises(VenueSilent):
        await account.place(OTO)
    assert transport.paths().count("place") == 1


@pytest.mark.parametrize("answer", [one for one in UNKNOWN if one not in WITHOUT_IDS])
async def test_a_cancel_whose_answer_proves_nothing_is_unknown(answer: Reply) -> None:
    order = oto_with_ids()
    transport, account = answering(answer)
    with pytest.raises(VenueSilent):
        await account.cancel(order, LegRole.WORKING)
    assert transport.paths().count("cancel") == 1


async def test_what_never_left_is_not_reached() -> None:
    _, account = answering(VenueNotReached("too_late", "x"))
    with pytest.raises(VenueNotReached):
        await account.place(OTO)


async def test_a_failed_read_before_a_placement_means_it_never_left() -> None:
    transport = FakeTransport({"get-exchange-info": VenueSilent("timeout", "x")})
    account = venue_of(transport).account("1", FakeCredential("session"))
    with pytest.raises(VenueNotReached):
        await account.place(OTO)
    assert "place" not in transport.paths()


def oto_with_ids() -> Any:
    return an_order(
        KOGE,
        leg(LegRole.WORKING, Side.BUY, "48", "1", "50000101"),
        leg(LegRole.PENDING, Side.SELL, "49", "1", "50000102"),
    )


async def test_a_cancel_names_the_leg_by_the_venues_id() -> None:
    sample = fixture("alpha/private_cancel")
    transport, account = answering(reply(sample["response"]))
    await account.cancel(oto_with_ids(), LegRole.WORKING)
    assert transport.sent[-1].url == "https://alpha/bapi/defi/v1/private/alpha-trade/order/cancel"
    assert json.loads(transport.sent[-1].body) == sample["request"] | {"symbol": KOGE}


async def test_a_leg_without_the_venues_id_cannot_be_cancelled_and_nothing_is_sent() -> None:
    transport, account = answering(alpha_reply(None))
    with pytest.raises(VenueNotReached, match="no_venue_id"):
        await account.cancel(OTO, LegRole.WORKING)
    assert transport.sent == []


async def test_no_such_open_order_says_only_that_it_is_not_open() -> None:
    _, account = answering(reply({"code": "481017", "message": "Order does not exist."}))
    with pytest.raises(VenueRefused) as caught:
        await account.cancel(oto_with_ids(), LegRole.WORKING)
    assert caught.value.code == "not_open"


async def test_the_text_of_a_missing_order_is_no_refusal_of_a_placement() -> None:
    _, account = answering(reply({"code": "481017", "message": "Order does not exist."}))
    with pytest.raises(VenueSilent):
        await account.place(OTO)


async def test_an_instrument_obeys_the_filters_that_are_not_null() -> None:
    transport = FakeTransport()
    venue = venue_of(transport)
    koge = await venue.instrument(KOGE)
    assert (koge.tick_size, koge.step_size) == (Decimal("0.00000001"), Decimal("0.0001"))
    assert (koge.min_notional, koge.max_quantity, koge.max_num_orders) == (Decimal("0.1"), 19909, 200)
    assert (await venue.instrument("ALPHA_971USDT")).step_size == Decimal("0.1")
    assert transport.paths() == ["get-exchange-info", "list"]
    with pytest.raises(VenueRefused, match="unknown_symbol"):
        await venue.instrument("NOPE")


async def test_the_last_good_instruments_outlive_a_failing_venue() -> None:
    transport = FakeTransport()
    venue = venue_of(transport)
    clock = venue.clock
    await venue.instrument(KOGE)
    transport.replies["get-exchange-info"] = VenueNotReached("connection", "x")
    await clock.sleep(301)
    assert (await venue.instrument(KOGE)).symbol == KOGE
    tries = len(transport.sent)
    await venue.instrument(KOGE)
    assert len(transport.sent) == tries  # not asked again at once


def test_alpha_takes_sessions_only() -> None:
    with pytest.raises(ValueError, match="session"):
        venue_of(FakeTransport()).account("1", FakeCredential("hmac"))

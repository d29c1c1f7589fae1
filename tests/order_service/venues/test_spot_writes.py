"""Spot placements and cancels: what is sent and signed, and what each answer proves."""

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest

from order_service.credentials import Vault
from order_service.venues.binance_spot import SpotVenue
from order_service.venues.port import (
    Credential,
    CredentialRefused,
    RateLimited,
    Response,
    TooManyOrders,
    VenueNotReached,
    VenueRefused,
    VenueSilent,
)
from order_service.venues.spot_rest import encode
from otopilot.clock import to_ms
from otopilot.instrument import Side, Venue
from otopilot.order import LegRole, LegStatus, Order
from tests.order_service.venues.fakes import (
    NOW,
    FakeClock,
    FakeCredential,
    FakeTransport,
    Reply,
    Sent,
    an_order,
    fixture,
    leg,
    oto,
    reply,
)

BTC = "BTCUSDT"
OTO = oto(BTC, ("102264", "0.0006"), ("103000.000000", "0.0005"), Venue.SPOT)
SINGLE = an_order(BTC, leg(LegRole.WORKING, Side.SELL, "0.00001", "10"), venue=Venue.SPOT)
AHEAD_MS = 700


def exchange_info(**changes: Any) -> Any:
    info = fixture("spot/composed_rest_exchange_info_one_symbol")
    info["symbols"][0] |= changes
    return info


def venue_of(transport: FakeTransport, **symbol: Any) -> SpotVenue:
    transport.replies.setdefault("exchangeInfo", reply(exchange_info(**symbol)))
    transport.replies.setdefault("/time", reply({"serverTime": to_ms(NOW) + AHEAD_MS}))
    return SpotVenue(transport, FakeClock(), rest_url="https://spot", ws_api_url="wss://spot/ws-api/v3")


def answering(
    answer: Reply | list[Reply], credential: Credential | None = None, **symbol: Any
) -> tuple[FakeTransport, Any]:
    transport = FakeTransport({"/order": answer, "/opo": answer, "/oto": answer})
    venue = venue_of(transport, **symbol)
    return transport, venue.account("1", credential or FakeCredential("hmac"))


def params_of(request: Sent) -> dict[str, str]:
    """What was sent, wherever it stood; each name once."""
    text = request.body.decode() or urlsplit(request.url).query
    pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=True)
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def list_answer(name: str, *, reverse: bool = False, **changes: Any) -> Any:
    answer = fixture(name) | changes
    for row, letter in zip(answer["orderReports"], "wp", strict=True):
        row["clientOrderId"] = f"o00000000000000aa{letter}"
    if reverse:
        answer["orderReports"].reverse()
    return answer


def single_answer(**changes: Any) -> Any:
    return fixture("spot/rest_order_full") | {"clientOrderId": "o00000000000000aaw"} | changes


async def test_a_single_order_says_everything_explicitly() -> None:
    transport, account = answering(reply(single_answer()))
    placed = await account.place(SINGLE)
    sent = transport.sent[-1]
    assert (sent.method, sent.url) == ("POST", "https://spot/api/v3/order")
    assert sent.headers["x-mbx-apikey"] == "key"
    assert params_of(sent) == {
        "symbol": BTC,
        "side": "SELL",
        "type": "LIMIT",
        "timeInForce": "GTC",
        "quantity": "10",
        "price": "0.00001",
        "newClientOrderId": "o00000000000000aaw",
        "newOrderRespType": "FULL",
        "selfTradePreventionMode": "EXPIRE_TAKER",
        "recvWindow": "2000",
        "timestamp": str(to_ms(SINGLE.submitted_at) + AHEAD_MS),
        "signature": "a+b/c=",
    }
    (one,) = placed.legs
    assert (one.venue_order_id, one.status, one.executed_quantity) == ("28", LegStatus.FILLED, 10)


async def test_the_signature_is_of_the_encoded_text_and_itself_encoded() -> None:
    payloads: list[bytes] = []

    class Listening(FakeCredential):
        def sign(self, payload: bytes) -> str:
            payloads.append(payload)
            return super().sign(payload)

    odd = msgspec.structs.replace(SINGLE, symbol="１/2")
    rules = exchange_info(symbol="１/2")
    transport, account = answering(reply(single_answer()), Listening("hmac"))
    transport.replies["exchangeInfo"] = reply(rules)
    await account.place(odd)
    body = transport.sent[-1].body
    assert body.startswith(b"symbol=%EF%BC%91%2F2&")
    assert body == payloads[-1] + b"&signature=a%2Bb%2Fc%3D"


async def test_a_list_goes_as_opo_where_the_symbol_allows_it() -> None:
    transport, account = answering(reply(list_answer("spot/rest_orderlist_opo")))
    placed = await account.place(OTO)
    sent = params_of(transport.sent[-1])
    assert transport.sent[-1].url == "https://spot/api/v3/orderList/opo"
    assert "pendingQuantity" not in sent
    assert sent | {"timestamp": "", "signature": ""} == {
        "symbol": BTC,
        "listClientOrderId": "o00000000000000aal",
        "newOrderRespType": "RESULT",
        "selfTradePreventionMode": "EXPIRE_TAKER",
        "workingType": "LIMIT",
        "workingSide": "BUY",
        "workingPrice": "102264",
        "workingQuantity": "0.0006",
        "workingTimeInForce": "GTC",
        "workingClientOrderId": "o00000000000000aaw",
        "pendingType": "LIMIT",
        "pendingSide": "SELL",
        "pendingPrice": "103000",
        "pendingTimeInForce": "GTC",
        "pendingClientOrderId": "o00000000000000aap",
        "recvWindow": "2000",
        "timestamp": "",
        "signature": "",
    }
    assert [(one.role, one.venue_order_id, one.status) for one in placed.legs] == [
        (LegRole.WORKING, "2", LegStatus.OPEN),
        (LegRole.PENDING, "3", LegStatus.PENDING),
    ]


async def test_a_list_goes_as_oto_with_its_own_quantity_elsewhere() -> None:
    transport, account = answering(
        reply(list_answer("spot/rest_orderlist_oto")),
        opoAllowed=False,
        allowedSelfTradePreventionModes=["NONE"],
    )
    placed = await account.place(OTO)
    sent = params_of(transport.sent[-1])
    assert transport.sent[-1].url == "https://spot/api/v3/orderList/oto"
    assert sent["pendingQuantity"] == "0.0005"
    assert "selfTradePreventionMode" not in sent
    assert placed.list_id == "0"


async def test_legs_are_told_apart_by_our_ids_not_by_their_place() -> None:
    answer = list_answer("spot/rest_orderlist_opo", reverse=True, listClientOrderId=None)
    _, account = answering(reply(answer))
    placed = await account.place(OTO)
    assert [one.venue_order_id for one in placed.legs] == ["2", "3"]


async def test_an_instant_fill_still_has_a_pending_sell() -> None:
    answer = list_answer("spot/rest_orderlist_opo")
    answer["orderReports"][0] |= {"status": "FILLED", "executedQty": "0.00060000"}
    _, account = answering(reply(answer))
    placed = await account.place(OTO)
    assert [one.status for one in placed.legs] == [LegStatus.FILLED, LegStatus.PENDING]


async def test_a_placement_is_signed_with_its_own_time_and_may_leave_for_one_second() -> None:
    earlier = msgspec.structs.replace(SINGLE, submitted_at=NOW - timedelta(milliseconds=900))
    transport, account = answering(reply(single_answer()))
    await account.place(earlier)
    assert params_of(transport.sent[-1])["timestamp"] == str(to_ms(NOW) - 900 + AHEAD_MS)
    assert transport.sent[-1].not_after == NOW + timedelta(milliseconds=100)


def error(code: int, message: str = "x", status: int = 400) -> Response:
    return reply({"code": code, "msg": message}, status=status)


DEFINITE = [
    (error(-1013, "Filter failure: LOT_SIZE"), "filter"),
    (error(-1021, "Timestamp for this request is outside of the recvWindow."), "clock"),
    (error(-1022), "bad_signature"),
    (reply(fixture("spot/rest_error_body"), status=400), "unknown_symbol"),
    (error(-2010, "Account has insufficient balance for requested action."), "insufficient_balance"),
    (error(-2010, "Market is closed."), "refused"),
    *((error(code), str(code)) for code in (-1100, -1102, -1104, -1106, -1116, -1131, -1159)),
    (error(-1111, "Parameter 'quantity' has too much precision."), "bad_precision"),
    *((error(code), str(code)) for code in (-1165, -1196, -1199, -1222, -1225, -1014, -1020, -1145)),
]
UNKNOWN: list[Reply] = [
    *(error(code) for code in (-1000, -1001, -1006, -1007, -1008, -1016)),
    error(-1007, status=408),
    error(-2010, "Duplicate order sent."),
    error(-1010, "engine"),
    error(-1010, "Duplicate order sent."),
    error(-1010, "Unknown order sent."),
    error(-1010, "Market is closed. Or is it?"),
    error(-1010, "market is closed."),
    error(-1010, "Market is closed.", status=500),
    error(-9999),
    error(-2010, "Account has insufficient balance for requested action.", status=500),
    error(-2021, status=409),
    error(-1013, status=503),
    reply({"msg": "no code"}, status=400),
    reply({"code": True, "msg": 1}, status=400),
    reply([], status=400),
    Response(status=410, headers={}, body=b"<html>"),
    Response(status=200, headers={}, body=b"<html>"),
    reply({}),
    reply([]),
    reply(single_answer(clientOrderId="other")),
    reply(single_answer(orderId="x")),
    reply(single_answer(), status=302),
    VenueSilent("timeout", "x"),
]


@pytest.mark.parametrize(("answer", "code"), DEFINITE)
async def test_an_allow_listed_code_is_a_definite_no(answer: Response, code: str) -> None:
    _, account = answering(answer)
    with pytest.raises(VenueRefused) as caught:
        await account.place(SINGLE)
    assert caught.value.code == code
    assert not isinstance(caught.value, CredentialRefused | RateLimited)


@pytest.mark.parametrize("answer", UNKNOWN)
async def test_everything_else_is_unknown_and_sent_once(answer: Reply) -> None:
    transport, account = answering(answer)
    with pytest.raises(VenueSilent):
        await account.place(SINGLE)
    assert transport.paths().count("order") == 1


@pytest.mark.parametrize("code", [-1002, -2008, -2014, -2015])
async def test_a_key_that_is_not_accepted_needs_a_person(code: int) -> None:
    _, account = answering(error(code, status=401))
    with pytest.raises(CredentialRefused) as caught:
        await account.place(SINGLE)
    assert caught.value.code == "not_permitted"


@pytest.mark.parametrize(
    "answer",
    [
        reply({"code": -1003, "msg": "banned"}, status=418, headers={"retry-after": "9"}),
        Response(status=403, headers={"retry-after": "9"}, body=b"<html>"),
    ],
)
async def test_a_closed_door_is_a_no_with_its_time(answer: Response) -> None:
    _, account = answering(answer)
    with pytest.raises(RateLimited) as caught:
        await account.place(SINGLE)
    assert caught.value.until == NOW + timedelta(seconds=9)


@pytest.mark.parametrize("status", [400, 429])
async def test_too_many_orders_is_a_no_to_this_account_alone(status: int) -> None:
    """Reliability 7."""
    body = fixture("spot/rest_error_too_many_orders")
    _, account = answering(reply(body, status=status, headers={"retry-after": "9"}))
    with pytest.raises(TooManyOrders) as caught:
        await account.place(SINGLE)
    assert caught.value.until == NOW + timedelta(seconds=9)


async def test_a_failed_read_before_a_placement_means_it_never_left() -> None:
    transport = FakeTransport({"/time": VenueSilent("timeout", "x")})
    account = venue_of(transport).account("1", FakeCredential("hmac"))
    with pytest.raises(VenueNotReached):
        await account.place(SINGLE)
    assert "order" not in transport.paths()


async def test_a_refused_timestamp_makes_the_clock_be_measured_anew() -> None:
    transport, account = answering([error(-1021), reply(single_answer())])
    with pytest.raises(VenueRefused, match="clock"):
        await account.place(SINGLE)
    transport.replies["/time"] = reply({"serverTime": to_ms(NOW) - 5000})
    await account.place(SINGLE)
    assert params_of(transport.sent[-1])["timestamp"] == str(to_ms(NOW) - 5000)


async def test_an_old_offset_does_not_make_a_placement_wait() -> None:
    transport, account = answering(reply(single_answer()))
    await account.place(SINGLE)
    await account._venue.clock.sleep(600)
    measured = transport.paths().count("time")
    later = msgspec.structs.replace(SINGLE, submitted_at=account._venue.clock.now())
    await account.place(later)
    assert transport.paths().count("time") == measured


def with_ids() -> Order:
    return an_order(
        BTC,
        leg(LegRole.WORKING, Side.BUY, "1", "1", "40"),
        leg(LegRole.PENDING, Side.SELL, "2", "1"),
        venue=Venue.SPOT,
    )


@pytest.mark.parametrize("name", ["spot/rest_order_cancel", "spot/rest_orderlist_cancel"])
async def test_a_cancel_takes_either_shape_of_answer(name: str) -> None:
    transport, account = answering(reply(fixture(name)))
    await account.cancel(with_ids(), LegRole.WORKING)
    sent = params_of(transport.sent[-1])
    assert transport.sent[-1].method == "DELETE"
    assert (sent["orderId"], sent["newClientOrderId"]) == ("40", "o00000000000000aac")


async def test_a_leg_without_the_venues_id_is_cancelled_by_ours() -> None:
    transport, account = answering(reply(fixture("spot/rest_order_cancel")))
    await account.cancel(with_ids(), LegRole.PENDING)
    sent = params_of(transport.sent[-1])
    assert sent["origClientOrderId"] == "o00000000000000aap"
    assert "orderId" not in sent


@pytest.mark.parametrize(
    ("answer", "failure", "code"),
    [
        (error(-2011, "Unknown order sent."), VenueRefused, "not_open"),
        (error(-1006), VenueSilent, "-1006"),
        (Response(status=200, headers={}, body=b"?"), VenueSilent, "unreadable"),
        (VenueSilent("timeout", "x"), VenueSilent, "timeout"),
    ],
)
async def test_what_a_failed_cancel_proves(answer: Reply, failure: type[VenueRefused], code: str) -> None:
    transport, account = answering(answer)
    with pytest.raises(failure) as caught:
        await account.cancel(with_ids(), LegRole.WORKING)
    assert caught.value.code == code
    assert transport.paths().count("order") == 1


async def test_the_published_rest_vector_is_what_a_real_key_signs() -> None:
    vectors = fixture("spot/signing_vectors_hmac_sha256")
    rest = next(vector for vector in vectors["vectors"] if vector["name"] == "rest_percent_encoded_symbol")
    vault = Vault(bytes(32))
    secret = f'{{"api_key":"k","secret":"{vectors["secret_published_example"]}"}}'.encode()
    key = vault.open("1", Venue.SPOT, vault.seal("1", Venue.SPOT, "hmac", secret))
    encoded = encode(dict(parse_qsl(rest["payload_utf8"])))
    assert encoded == rest["payload_utf8"]
    assert key.sign(encoded.encode()) == rest["signature_hex"]


def test_spot_takes_keys_only() -> None:
    with pytest.raises(ValueError, match="API key"):
        venue_of(FakeTransport()).account("1", FakeCredential("session"))


@pytest.mark.parametrize("status", ["HALT", "BREAK", "END_OF_DAY", "CANCEL_ONLY", "NEVER_HEARD_OF"])
async def test_a_halted_symbol_still_gives_up_its_orders(status: str) -> None:
    transport, account = answering(reply(fixture("spot/rest_order_cancel")), status=status)
    await account.cancel(with_ids(), LegRole.WORKING)
    assert transport.sent[-1].method == "DELETE"

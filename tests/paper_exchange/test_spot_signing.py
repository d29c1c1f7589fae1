"""Who may call: keys, signatures over the exact bytes, times (binance-spot 1.3 to 1.5)."""

import base64
import json
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from paper_exchange.http import Request, Response
from paper_exchange.spot_auth import signature_in, signed_part
from paper_exchange.spot_session import read_request, signed_payload
from tests.paper_exchange.desk import Desk
from tests.paper_exchange.spot_desk import BNB, Line, SpotTrader, sample

BAD_SIGNATURE = (400, -1022, "Signature for this request is not valid.")
LATE = (400, -1021, "Timestamp for this request is outside of the recvWindow.")
EARLY = (400, -1021, "Timestamp for this request was 1000ms ahead of the server's time.")
ED25519 = Ed25519PrivateKey.generate()
RSA = generate_private_key(65537, 2048)
ORDER = f"symbol={BNB}&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=700"


@pytest.fixture
def trader(desk: Desk) -> SpotTrader:
    desk.pin("800", BNB)
    return SpotTrader(desk)


def ask(
    trader: SpotTrader, query: str, body: str = "", method: str = "GET", path: str = "account", key: str = ""
) -> Response:
    headers = {"x-mbx-apikey": key or trader.key}
    answer = trader.desk.ask(Request(method, f"/api/v3/{path}", query, headers, body.encode()))
    assert isinstance(answer, Response)
    return answer


def verdict(answer: Response) -> Any:
    body = json.loads(answer.body)
    return 200 if answer.status == 200 else (answer.status, body["code"], body["msg"])


@pytest.mark.parametrize("vector", sample("signing_vectors_hmac_sha256")["vectors"], ids=lambda v: v["name"])
def test_published_vectors(trader: SpotTrader, vector: dict[str, str]) -> None:
    trader.secret = sample("signing_vectors_hmac_sha256")["secret_published_example"]
    assert trader.sign(vector["payload_utf8"]) == vector["signature_hex"]


def test_the_signature_is_cut_out_of_the_raw_text_wherever_it_stands() -> None:
    assert signed_part("a=1&signature=ab&b=%2F") == "a=1&b=%2F"
    assert signature_in(("a=1", "b=2&signature=x%2By%3D")) == "x+y="


def test_numbers_in_a_frame_are_signed_as_written() -> None:
    frame = '{"id": 7, "method": "order.place", "params": {"b": 1.50, "a": "x", "c": true, "signature": "s"}}'
    assert signed_payload(read_request(frame).sent) == b"a=x&b=1.50&c=true"


@pytest.mark.parametrize("where", ["query", "body", "mixed"])
def test_query_and_body_are_signed_as_one_text(trader: SpotTrader, where: str) -> None:
    time = f"timestamp={trader.desk.now_ms}"
    query, body = {
        "query": (f"{ORDER}&{time}", ""),
        "body": ("", f"{ORDER}&{time}"),
        "mixed": (ORDER, time),
    }[where]
    signature = trader.sign(query + body)
    sent = (query, f"{body}&signature={signature}") if body else (f"{query}&signature={signature}", "")
    assert verdict(ask(trader, *sent, method="POST", path="order")) == 200


def test_a_signature_over_other_bytes_is_refused(trader: SpotTrader) -> None:
    """Since 2026 a value is percent-encoded first and then signed."""
    time = f"timestamp={trader.desk.now_ms}"
    raw = f'{time}&recvWindow=5000&note="a"'
    encoded = f"{time}&recvWindow=5000&note=%22a%22"
    assert verdict(ask(trader, f"{encoded}&signature={trader.sign(raw)}")) == BAD_SIGNATURE
    refused = verdict(ask(trader, f"{encoded}&signature={trader.sign(encoded)}"))
    assert refused[1] == -1104
    assert verdict(ask(trader, f"{time}&signature={trader.sign(time).upper()}")) == 200


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("short", (401, -2014, "API-key format invalid.")),
        ("x" * 64, (401, -2015, "Invalid API-key, IP, or permissions for action.")),
    ],
)
def test_keys_that_are_none(trader: SpotTrader, key: str, expected: tuple[int, int, str]) -> None:
    assert verdict(ask(trader, trader.signed({}), key=key)) == expected


def test_an_alpha_session_is_no_spot_key(trader: SpotTrader) -> None:
    token = trader.desk.trader("9").account.credential["token"]
    assert verdict(ask(trader, trader.signed({}), key=token))[1] == -2015


@pytest.mark.parametrize(
    ("offset_ms", "window", "expected"),
    [
        (0, None, 200),
        (999, None, 200),
        (1000, None, EARLY),
        (-5000, None, 200),
        (-5001, None, LATE),
        (-2001, "2000", LATE),
        (-2000, "2000.5", 200),
        (-60000, "60000", 200),
        (0, "60001", (400, -1131, "recvWindow must be less than 60000.")),
        (0, "5s", None),
    ],
)
def test_the_time_a_call_was_made(
    trader: SpotTrader, offset_ms: int, window: str | None, expected: Any
) -> None:
    params = {"timestamp": str(trader.desk.now_ms + offset_ms)} | ({"recvWindow": window} if window else {})
    query = urlencode(params)
    found = verdict(ask(trader, f"{query}&signature={trader.sign(query)}"))
    assert found == expected if expected else found[1] == -1100


def test_a_time_may_be_in_microseconds(trader: SpotTrader) -> None:
    query = f"timestamp={trader.desk.now_ms}000"
    assert verdict(ask(trader, f"{query}&signature={trader.sign(query)}")) == 200


@pytest.mark.parametrize("missing", ["timestamp", "signature"])
def test_what_proves_a_call_must_be_there(trader: SpotTrader, missing: str) -> None:
    query = "recvWindow=5000" if missing == "timestamp" else f"timestamp={trader.desk.now_ms}"
    sent = f"{query}&signature={trader.sign(query)}" if missing == "timestamp" else query
    text = f"Mandatory parameter '{missing}' was not sent, was empty/null, or malformed."
    assert verdict(ask(trader, sent)) == (400, -1102, text)


def public_pem(key: Any) -> str:
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def signature_of(kind: str, payload: bytes) -> str:
    raw = ED25519.sign(payload) if kind == "ed25519" else RSA.sign(payload, PKCS1v15(), hashes.SHA256())
    return base64.b64encode(raw).decode()


@pytest.mark.parametrize(("kind", "key"), [("ed25519", ED25519), ("rsa", RSA)])
def test_registered_public_keys(trader: SpotTrader, kind: str, key: Any) -> None:
    asked = {"user_id": "1", "venue": "spot", "key_kind": kind, "public_key": public_pem(key)}
    made = trader.desk.control("POST", "accounts", asked)
    assert made["credential"] == {"kind": kind, "api_key": trader.key}
    query = f"timestamp={trader.desk.now_ms}"
    signature = signature_of(kind, query.encode())
    assert verdict(ask(trader, f"{query}&signature={quote(signature, safe='')}")) == 200
    assert verdict(ask(trader, f"{query}&signature={quote(signature[::-1], safe='')}")) == BAD_SIGNATURE
    assert verdict(ask(trader, f"{query}&signature={trader.sign(query)}")) == BAD_SIGNATURE
    trader.desk.restart()
    query = f"timestamp={trader.desk.now_ms}"
    signature = signature_of(kind, query.encode())
    assert verdict(ask(trader, f"{query}&signature={quote(signature, safe='')}")) == 200


@pytest.mark.parametrize(
    "asked",
    [
        {"venue": "alpha", "key_kind": "hmac"},
        {"venue": "spot", "key_kind": "rsa", "public_key": "no key"},
        {"venue": "spot", "key_kind": "rsa", "public_key": public_pem(ED25519)},
        {"venue": "spot", "public_key": public_pem(ED25519)},
    ],
)
def test_keys_that_cannot_be_registered(desk: Desk, asked: dict[str, str]) -> None:
    assert desk.control("POST", "accounts", {"user_id": "1", **asked})["_status"] == 400


def logon(trader: SpotTrader, line: Line, kind: str) -> Any:
    sent = {"apiKey": trader.key, "timestamp": trader.desk.now_ms}
    payload = f"apiKey={trader.key}&timestamp={trader.desk.now_ms}"
    signature = signature_of(kind, payload.encode()) if kind != "hmac" else trader.sign(payload)
    return line.ask({"id": 1, "method": "session.logon", "params": {**sent, "signature": signature}})


def test_a_session_needs_no_more_signatures_after_its_logon(trader: SpotTrader) -> None:
    asked = {"user_id": "1", "venue": "spot", "key_kind": "ed25519", "public_key": public_pem(ED25519)}
    trader.desk.control("POST", "accounts", asked)
    line = Line(trader.desk, "/ws-api/v3")
    answer = logon(trader, line, "ed25519")
    theirs = sample("wsapi_session_logon_response")
    assert answer["result"].keys() == theirs["result"].keys()
    assert answer["result"]["apiKey"] == trader.key
    account = line.ask({"id": 2, "method": "account.status", "params": {"timestamp": trader.desk.now_ms}})
    assert account["status"] == 200
    assert line.ask({"id": 3, "method": "account.status"})["error"]["code"] == -1102
    assert line.ask({"id": 4, "method": "userDataStream.subscribe"})["result"] == {"subscriptionId": 0}
    assert line.ask({"id": 5, "method": "session.status"})["result"]["userDataStream"] is True
    line.taken()
    line.send({"id": 6, "method": "session.logout"})
    gone, event = line.taken()
    assert gone["result"]["apiKey"] is None
    assert event == {"subscriptionId": 0, "event": {"e": "eventStreamTerminated", "E": trader.desk.now_ms}}
    assert line.ask({"id": 7, "method": "userDataStream.subscribe"})["status"] == 401


def test_only_ed25519_keys_log_on(trader: SpotTrader) -> None:
    answer = logon(trader, Line(trader.desk, "/ws-api/v3"), "hmac")
    assert (answer["status"], answer["error"]["code"]) == (400, -4056)

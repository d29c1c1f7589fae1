"""`otopilot orders`, `users`, `volume`, `rpc`: requests as asked, answers as told, secrets never shown."""

import io
import json
import sys

import grpc
import pytest

from protos import market_pb2, strategy_pb2
from protos import order_pb2 as pb

SECRET = {"headers": {"cookie": "p20t=very-secret-value", "csrftoken": "abc"}}


def order(order_id="o1", **changes):
    values = {
        "order_id": order_id,
        "request_id": "koge/1/3/0",
        "user_id": "1",
        "venue": market_pb2.VENUE_ALPHA,
        "symbol": "ALPHA_22USDT",
        "strategy_id": "koge",
        "cycle": 3,
        "state": pb.ORDER_STATE_TRIGGERED,
        "legs": [
            pb.Leg(
                role=pb.LEG_ROLE_WORKING,
                side=pb.SIDE_BUY,
                price="48.6110486",
                quantity="1.0285",
                status=pb.LEG_STATUS_FILLED,
                filled_quantity="1.0285",
            ),
            pb.Leg(
                role=pb.LEG_ROLE_PENDING,
                side=pb.SIDE_SELL,
                price="49.09715909",
                quantity="1.0283",
                status=pb.LEG_STATUS_OPEN,
            ),
        ],
    }
    return pb.Order(**(values | changes))


def test_orders_are_filtered_by_the_service_and_shown_with_both_legs(wire, capsys):
    done = wire.run("orders", "--user", "1", "--strategy", "koge", "--open")
    request = wire.answer("ListOrders", pb.ListOrdersResponse(orders=[order()]))
    assert done.result(5) == 0
    assert (request.user_id, request.strategy_id, request.open_only) == ("1", "koge", True)
    out = capsys.readouterr().out
    assert "1.0285 @ 48.6110486 filled, 1.0285 filled" in out
    assert "1.0283 @ 49.09715909 open" in out


def test_pages_are_followed_up_to_the_limit_and_more_is_said(wire, capsys):
    done = wire.run("orders", "--limit", "3")
    first = wire.answer(
        "ListOrders", pb.ListOrdersResponse(orders=[order(), order("o2")], next_page_token="t")
    )
    second = wire.answer("ListOrders", pb.ListOrdersResponse(orders=[order("o3")], next_page_token="u"))
    assert done.result(5) == 0
    assert (first.page_size, second.page_size, second.page_token) == (3, 1, "t")
    out, err = capsys.readouterr()
    assert "o3" in out
    assert "--limit" in err


def test_order_json_keeps_amounts_exact_and_fields_in_the_contracts_order(wire, capsys):
    done = wire.run("orders", "show", "koge/1/3/0", "-o", "json")
    request = wire.answer("GetOrder", order())
    assert done.result(5) == 0
    assert request == pb.GetOrderRequest(request_id="koge/1/3/0")
    found = json.loads(capsys.readouterr().out)
    assert found["legs"][1]["price"] == "49.09715909"
    present = [field.name for field in pb.Order.DESCRIPTOR.fields if field.name in found]
    assert list(found) == present
    assert list(found["legs"][0])[:3] == ["role", "side", "asked_price"]


def test_a_cancel_names_its_leg(wire, capsys):
    done = wire.run("orders", "cancel", "o1", "--leg", "pending", "--reason", "too dear")
    request = wire.answer("CancelOrder", order())
    assert done.result(5) == 0
    assert request == pb.CancelOrderRequest(order_id="o1", role=pb.LEG_ROLE_PENDING, reason="too dear")


def test_a_release_needs_a_reason(wire):
    assert wire.run("orders", "release", "o1").result(5) == 2
    done = wire.run("orders", "release", "o1", "--reason", "not on the venue's screen")
    request = wire.answer("ReleaseOrder", order(state=pb.ORDER_STATE_REJECTED))
    assert done.result(5) == 0
    assert request.reason == "not on the venue's screen"


def test_settle_fails_when_a_user_could_not_be_read(wire, capsys):
    done = wire.run("orders", "settle")
    unread = pb.User(user_id="2", reason="the session has expired")
    wire.answer("Settle", pb.SettleResponse(open=[order()], unread=[unread]))
    assert done.result(5) == 1
    out, err = capsys.readouterr()
    assert "o1" in out
    assert "user 2: the session has expired" in err


def test_order_news_is_shown_without_heartbeats(wire, capsys):
    done = wire.run("orders", "watch", "--user", "1")
    request = wire.stream(
        "WatchOrders",
        pb.WatchOrdersResponse(sequence=7, snapshot=True, order=order()),
        pb.WatchOrdersResponse(sequence=7),
        pb.WatchOrdersResponse(
            sequence=8, user=pb.User(user_id="1", state=pb.USER_STATE_STOPPED, reason="why")
        ),
    )
    assert done.result(5) == 0
    assert list(request.user_ids) == ["1"]
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["7", "8"]


@pytest.fixture
def typed(monkeypatch):
    """Puts bytes on standard input."""

    def put(raw):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw)))

    return put


def test_a_secret_comes_by_standard_input_and_is_never_printed(wire, capsys, typed):
    typed(json.dumps(SECRET).encode())
    done = wire.run("users", "add", "1")
    request = wire.answer("PutCredential", pb.User(user_id="1", state=pb.USER_STATE_READY))
    assert done.result(5) == 0
    assert json.loads(request.secret) == SECRET
    assert (request.kind, request.venue) == ("session", market_pb2.VENUE_ALPHA)
    assert "very-secret-value" not in "".join(capsys.readouterr())


def test_a_secret_may_come_from_a_file(wire, tmp_path):
    path = tmp_path / "key.json"
    path.write_text('{"api_key": "a", "secret": "b"}')
    done = wire.run("users", "add", "7", "--venue", "spot", "--file", str(path))
    request = wire.answer("PutCredential", pb.User(user_id="7"))
    assert done.result(5) == 0
    assert (request.kind, request.venue) == ("hmac", market_pb2.VENUE_SPOT)


@pytest.mark.parametrize("raw", [b"cookie=very-secret-value", b"[1]", b"\xff\xfe", b"", b"x" * 70_000])
def test_a_secret_that_is_no_json_object_is_refused_without_repeating_it(wire, capsys, typed, raw):
    typed(raw)
    assert wire.run("users", "add", "1").result(5) == 4
    assert "very-secret-value" not in "".join(capsys.readouterr())


def test_a_user_without_a_credential_is_listed_with_what_to_do(wire, capsys):
    done = wire.run("users", "list")
    user = pb.User(
        user_id="4",
        venue=market_pb2.VENUE_ALPHA,
        state=pb.USER_STATE_STOPPED,
        reason_code="no_credential",
        reason="store one with `otopilot users add 4`",
    )
    wire.answer("ListUsers", pb.ListUsersResponse(users=[user]))
    assert done.result(5) == 0
    out = capsys.readouterr().out
    assert "stopped" in out
    assert "store one with" in out


def test_a_volume_is_asked_by_the_scope_of_each_kind_of_target(wire, koge, capsys):
    done = wire.run("volume", "koge_volume_boost", "--user", "2")
    wire.answer("GetStrategyStatus", koge(target_scope="per_user"))
    request = wire.answer(
        "GetVolume", pb.VolumeScope(scope_id="koge_volume_boost/2", target="100", counted="7")
    )
    assert done.result(5) == 0
    assert request.scope_id == "koge_volume_boost/2"
    assert "at least 7" in capsys.readouterr().out


def test_a_position_is_asked_for_the_strategys_symbol(wire, koge, capsys):
    done = wire.run("position", "--user", "3", "-o", "jsonl")
    wire.answer("ListStrategies", strategy_pb2.ListStrategiesResponse(strategies=[koge()]))
    request = wire.answer("GetPosition", pb.Position(inventory="1.5"))
    assert done.result(5) == 0
    assert (request.user_id, request.symbol) == ("3", "ALPHA_22USDT")
    assert json.loads(capsys.readouterr().out)["inventory"] == "1.5"


def test_any_rpc_can_be_called_with_protobuf_json(wire, capsys):
    done = wire.run("rpc", "Claim", '{"owner": "me"}')
    assert wire.answer("Claim", pb.ClaimResponse(owner_epoch=3)).owner == "me"
    assert done.result(5) == 0
    assert json.loads(capsys.readouterr().out)["owner_epoch"] == "3"


def test_an_rpc_request_may_come_by_standard_input(wire, typed):
    typed(b'{"order_id": "o9"}')
    done = wire.run("rpc", "OrderService/GetOrder", "-")
    assert wire.answer("GetOrder", order()).order_id == "o9"
    assert done.result(5) == 0


@pytest.mark.parametrize(
    ("argv", "exit_code"), [(("Nonsense",), 3), (("Claim", '{"owner": 3}'), 4), (("Claim", "{"), 4)]
)
def test_a_wrong_rpc_is_refused_before_anything_is_sent(wire, argv, exit_code):
    assert wire.run("rpc", *argv).result(5) == exit_code
    assert wire.targets == []


def test_a_denied_call_through_rpc_ends_like_any_other(wire, capsys):
    done = wire.run("rpc", "GetOrder", "{}")
    wire.answer("GetOrder", None, grpc.StatusCode.INVALID_ARGUMENT, "order_id or request_id: one is needed")
    assert done.result(5) == 4
    assert "one is needed" in capsys.readouterr().err

"""`otopilot users check|rotate`: a credential is tried at once, and no secret is ever shown."""

import json

import grpc
import pytest

from protos import market_pb2
from protos import order_pb2 as pb

SECRET = "xyzzy-4711"
SPOT = market_pb2.VENUE_SPOT


def known(state=pb.USER_STATE_READY, reason=""):
    user = pb.User(user_id="7", venue=SPOT, state=state, credential_kind="ed25519", reason=reason)
    return pb.ListUsersResponse(users=[pb.User(user_id="7", venue=market_pb2.VENUE_ALPHA), user])


@pytest.fixture
def secret_file(tmp_path):
    path = tmp_path / "key.json"
    path.write_text(json.dumps({"api_key": "k", "private_key": SECRET}))
    return str(path)


def test_check_asks_the_venue_with_the_stored_credential(wire, capsys):
    done = wire.run("users", "check", "7", "--venue", "spot")
    wire.answer("ListUsers", known())
    request = wire.answer("GetBalances", pb.GetBalancesResponse())
    wire.answer("ListUsers", known())
    assert done.result(5) == 0
    assert (request.user_id, request.venue) == ("7", SPOT)
    out, err = capsys.readouterr()
    assert "ready" in out
    assert "the venue accepts the credential of user 7" in err


@pytest.mark.parametrize("output", ["table", "json"])
def test_a_credential_that_the_venue_refuses_ends_with_9_and_what_to_do(wire, capsys, output):
    done = wire.run("users", "check", "7", "--venue", "spot", "-o", output)
    wire.answer("ListUsers", known())
    wire.answer("GetBalances", None, grpc.StatusCode.FAILED_PRECONDITION, "-2015 invalid API-key")
    wire.answer("ListUsers", known(pb.USER_STATE_STOPPED, "key revoked"))
    assert done.result(5) == 9
    out, err = capsys.readouterr()
    assert "user 7 cannot trade on spot: -2015 invalid API-key" in err
    assert "otopilot users rotate 7 --venue spot" in err
    if output == "json":
        assert json.loads(out)["accepted"] is False


def test_a_venue_that_cannot_be_asked_proves_nothing_about_the_credential(wire):
    done = wire.run("users", "check", "7", "--venue", "spot")
    wire.answer("ListUsers", known())
    wire.answer("GetBalances", None, grpc.StatusCode.UNAVAILABLE, "the venue is silent")
    assert done.result(5) == 6


@pytest.mark.parametrize("command", [("check",), ("rotate",)])
def test_a_user_without_a_credential_is_named_with_the_whole_command_that_adds_one(wire, capsys, command):
    done = wire.run("users", *command, "9", "--venue", "spot")
    wire.answer("ListUsers", known())
    assert done.result(5) == 3
    err = capsys.readouterr().err
    assert "otopilot users add 9 --venue spot" in err
    assert "--paper" in err  # the settings of these tests are for paper


def test_a_secret_that_is_not_there_is_told_with_where_it_was_looked_for(wire, capsys, tmp_path):
    missing, empty = tmp_path / "none.json", tmp_path / "empty.json"
    empty.write_text("\n")
    for path, words in ((missing, f"{missing}: No such file"), (empty, f"{empty} is empty")):
        assert wire.run("users", "add", "7", "--file", str(path)).result(5) == 4
        assert words in capsys.readouterr().err


def test_rotate_keeps_the_kind_stores_the_new_secret_and_tries_it(wire, capsys, secret_file):
    done = wire.run("users", "rotate", "7", "--venue", "spot", "--file", secret_file)
    wire.answer("ListUsers", known())
    put = wire.answer("PutCredential", pb.User(user_id="7"))
    wire.answer("GetBalances", pb.GetBalancesResponse())
    wire.answer("ListUsers", known())
    assert done.result(5) == 0
    assert (put.kind, put.venue, json.loads(put.secret)["private_key"]) == ("ed25519", SPOT, SECRET)
    out, err = capsys.readouterr()
    assert SECRET not in out + err


def test_a_secret_that_is_no_json_changes_nothing_and_is_not_repeated(wire, capsys, tmp_path):
    path = tmp_path / "key.json"
    path.write_text(f"{SECRET} is no JSON")
    done = wire.run("users", "rotate", "7", "--venue", "spot", "--file", str(path))
    wire.answer("ListUsers", known())
    assert done.result(5) == 4
    out, err = capsys.readouterr()
    assert SECRET not in out + err

"""`otopilot status`: the seed's seven keys, exactly."""

import json
from types import SimpleNamespace

import grpc
import pytest

from otopilot.settings import Settings
from protos import strategy_pb2 as pb
from strategy_service.cli import clients
from strategy_service.cli.app import main
from strategy_service.cli.clients import Service, Services

SEEDS_OBJECT = {
    "strategy_id": "koge_volume_boost",
    "strategy_name": "KOGE 刷量策略",
    "is_running": True,
    "target_volume": "16384",
    "total_volume": "1234.56",
    "progress": "7.53%",
    "user_volumes": {"1": "456.78", "2": "389.12", "3": "388.66"},
}


def listed(*strategies):
    return pb.ListStrategiesResponse(strategies=strategies)


def test_json_of_one_strategy_is_the_seeds_object(wire, koge, capsys):
    done = wire.run("status", "koge_volume_boost", "-o", "json")
    request = wire.answer("GetStrategyStatus", koge())
    assert done.result(5) == 0
    assert request.strategy_id == "koge_volume_boost"
    text = capsys.readouterr().out
    assert json.loads(text) == SEEDS_OBJECT
    assert list(json.loads(text)) == list(SEEDS_OBJECT)
    assert "刷量策略" in text


def test_json_without_an_id_is_one_object_while_there_is_one_strategy(wire, koge, capsys):
    done = wire.run("status", "-o", "json")
    wire.answer("ListStrategies", listed(koge()))
    assert done.result(5) == 0
    assert json.loads(capsys.readouterr().out) == SEEDS_OBJECT


def test_json_of_several_strategies_is_a_list_and_jsonl_a_line_each(wire, koge, capsys):
    for output, read in (("json", json.loads), ("jsonl", lambda text: [*map(json.loads, text.splitlines())])):
        done = wire.run("status", "-o", output)
        wire.answer("ListStrategies", listed(koge(), koge(strategy_id="aop_test", is_running=False)))
        assert done.result(5) == 0
        found = read(capsys.readouterr().out)
        assert [each["strategy_id"] for each in found] == ["koge_volume_boost", "aop_test"]
        assert all(list(each) == list(SEEDS_OBJECT) for each in found)


def test_full_json_holds_everything_with_exact_amounts(wire, koge, capsys):
    done = wire.run("status", "koge_volume_boost", "--full", "-o", "json")
    wire.answer("GetStrategyStatus", koge())
    assert done.result(5) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["last_price"] == "48.01706542"
    assert found["users"][0]["state"] == "USER_RUN_STATE_RUNNING"
    assert found["users"][0]["guard_waits"] == "0"  # protobuf JSON: 64-bit numbers are text


def test_the_table_says_who_waits_for_what(wire, koge, capsys):
    done = wire.run("status")
    wire.answer("ListStrategies", listed(koge()))
    assert done.result(5) == 0
    out = capsys.readouterr().out
    assert "7.53%" in out
    assert "2:31" in out
    assert "waits for its interval" in out
    assert "5999.99" in out  # cut, not rounded up
    assert "6000" not in out


class Broken(grpc.RpcError):
    """How a stream ends that the service did not end well."""

    def __init__(self, code, details="gone"):
        self.code, self.details = (lambda: code), (lambda: details)

    def trailing_metadata(self):
        return ()


class Stream:
    """One answer to WatchStrategies: items, then perhaps an error."""

    def __init__(self, *items, end=None):
        self._items, self._end = items, end

    def __iter__(self):
        yield from self._items
        if self._end is not None:
            raise self._end

    def cancel(self):
        pass


def watched(*streams, argv=("-o", "jsonl")):
    """`status --watch` of a service that answers with these streams in turn; then with NOT_FOUND."""
    scripted = iter((*streams, Stream(end=Broken(grpc.StatusCode.NOT_FOUND))))
    services = Services(Settings())
    stub = SimpleNamespace(WatchStrategies=lambda request: next(scripted))
    services.__dict__["strategy"] = Service("strategy-service", "127.0.0.1:50053", stub)
    return main(["status", "--watch", *argv], services)


def news(*strategies):
    return pb.WatchStrategiesResponse(strategies=strategies)


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr(clients, "AGAIN_SECONDS", 0.01)


def test_watch_prints_a_line_per_news_and_nothing_for_heartbeats(koge, capsys):
    assert watched(Stream(news(koge()), news(), news(koge(total_volume="1264.56")))) == 3
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["total_volume"] for line in lines] == ["1234.56", "1264.56"]


@pytest.mark.parametrize(
    "end", [None, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED]
)
@pytest.mark.parametrize("output", ["jsonl", "table"])
def test_watch_goes_on_when_the_service_restarts_and_says_so(koge, capsys, output, end):
    lost = Stream(news(koge()), end=end and Broken(end))
    not_up = Stream(end=Broken(grpc.StatusCode.UNAVAILABLE))
    again = Stream(news(koge(progress="8.00%")))
    assert watched(lost, not_up, again, argv=("-o", output)) == 3
    out, err = capsys.readouterr()
    said = out + err
    assert said.count("waiting for it to come back") == 2  # once for each time it went away
    assert "strategy-service is back" in said
    if output == "jsonl":
        assert "waiting" not in out
        assert [json.loads(line)["progress"] for line in out.splitlines()] == ["7.53%", "8.00%"]


def test_watch_ends_with_6_when_the_service_was_never_there(capsys):
    assert watched(Stream(end=Broken(grpc.StatusCode.UNAVAILABLE))) == 6
    assert "not up at 127.0.0.1:50053" in capsys.readouterr().err


def test_stop_asks_for_what_was_said_and_names_what_is_left_open(wire, koge, capsys):
    left = pb.UserStatus(
        user_id="2", state=pb.USER_RUN_STATE_STOPPED, left_open_order_ids=["o7"], cost_complete=True
    )
    done = wire.run("stop", "koge_volume_boost", "--user", "2", "--mode", "flatten")
    request = wire.answer("StopStrategy", pb.StopStrategyResponse(strategies=[koge(users=[left])]))
    assert done.result(5) == 0
    assert (request.strategy_id, request.user_id) == ("koge_volume_boost", "2")
    assert request.mode == pb.STOP_MODE_FLATTEN
    assert request.request_id
    assert "user 2: left open: o7" in capsys.readouterr().err


def test_stop_names_the_first_ten_that_are_left_open_and_where_the_others_are(wire, koge, capsys):
    ids = [f"o{number}" for number in range(1, 13)]
    left = pb.UserStatus(
        user_id="2", state=pb.USER_RUN_STATE_STOPPED, left_open_order_ids=ids, cost_complete=True
    )
    done = wire.run("stop", "koge_volume_boost")
    wire.answer("StopStrategy", pb.StopStrategyResponse(strategies=[koge(users=[left])]))
    assert done.result(5) == 0
    more = "o9, o10 … and 2 more (`otopilot orders --open --strategy koge_volume_boost --user 2`)"
    assert more in capsys.readouterr().err


def test_reload_prints_the_changes_as_data_and_the_notices_aside(wire, capsys):
    done = wire.run("reload", "--dry-run")
    answer = pb.ReloadConfigResponse(
        changes=["strategy koge: target_volume 100 -> 200 (next cycle)"],
        config_revision="abc",
        notices=["careful"],
    )
    request = wire.answer("ReloadConfig", answer)
    assert done.result(5) == 0
    assert request.validate_only
    out, err = capsys.readouterr()
    assert out == "strategy koge: target_volume 100 -> 200 (next cycle)\n"
    assert "notice: careful" in err
    assert "abc" in err


def test_a_reload_of_a_bad_file_says_every_mistake_and_that_nothing_changed(wire, capsys):
    done = wire.run("reload")
    wire.answer("ReloadConfig", None, grpc.StatusCode.INVALID_ARGUMENT, "x.yaml:3:5  a: b\nx.yaml:4:1  c: d")
    assert done.result(5) == 4
    out, err = capsys.readouterr()
    assert out == ""
    assert "x.yaml:3:5  a: b\nx.yaml:4:1  c: d" in err
    assert "nothing changed" in err

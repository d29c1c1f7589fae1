"""`otopilot config` and `plan`: without any service."""

import json
from pathlib import Path

import grpc
import pytest

from protos import market_pb2 as market
from protos import order_pb2, strategy_pb2

GOOD = """\
global_settings:
  default_single_trade_amount_usdt: 30
strategies:
  - strategy_id: koge
    target_token: KOGE
    target_chain: BSC
    target_volume: 3000
    user_ids: [1, 2]
user_overrides:
  - user_id: 1
    strategies:
      koge:
        single_trade_amount_usdt: 50
"""

RULES = market.Instrument(
    venue=market.VENUE_ALPHA,
    symbol="ALPHA_22USDT",
    tick_size="0.01",
    step_size="0.1",
    min_notional="0.1",
    min_quantity="0.1",
    min_price="0.01",
    status=market.INSTRUMENT_STATUS_TRADING,
    buy_fee_rate="0.0001",
    quote_asset="USDT",
)


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    return str(path)


@pytest.fixture
def bad(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text(GOOD.replace("3000", "3e3").replace("target_token", "target_tokn"))
    return str(path)


def test_a_good_file_is_valid(wire, good, capsys):
    assert wire.run("config", "validate", "--config", good).result(5) == 0
    assert "1 strategy, 1 enabled" in capsys.readouterr().out
    assert wire.run("config", "validate", good).result(5) == 0
    assert "1 strategy, 1 enabled" in capsys.readouterr().out
    assert wire.run("config", "validate", good, "--config", good).result(5) == 2


def test_all_mistakes_are_told_at_once_with_their_places(wire, bad, capsys):
    assert wire.run("config", "validate", "--config", bad).result(5) == 4
    out, err = capsys.readouterr()
    assert out == ""
    assert f"{bad}:7:20" in err
    assert f"{bad}:5:5" in err

    assert wire.run("config", "validate", "--config", bad, "-o", "json").result(5) == 4
    found = json.loads(capsys.readouterr().out)
    assert not found["valid"]
    assert {7, 5} <= {problem["line"] for problem in found["problems"]}


def test_a_missing_file_is_a_mistake_too(wire, tmp_path, capsys):
    assert wire.run("config", "show", "--config", str(tmp_path / "none.yaml")).result(5) == 4
    assert "no such file" in capsys.readouterr().err


def test_show_gives_each_user_what_is_in_force(wire, good, capsys):
    assert wire.run("config", "show", "koge", "--config", good, "-o", "json").result(5) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["users"]["1"]["single_trade_amount_usdt"] == "50"
    assert found["users"]["2"]["single_trade_amount_usdt"] == "30"
    assert wire.run("config", "show", "--config", good).result(5) == 0
    header = capsys.readouterr().out.splitlines()[0]
    assert "user 1" in header
    assert "user 2" not in header  # nothing of it differs


def test_explain_says_which_line_set_a_value_and_what_it_shadows(wire, good, capsys):
    argv = ["config", "explain", "koge", "single_trade_amount_usdt", "--user", "1", "--config", good]
    assert wire.run(*argv).result(5) == 0
    out = capsys.readouterr().out
    assert f"{good}:13:" in out
    assert f"30 ({good}:2:" in out
    assert wire.run("config", "explain", "--config", good, "-o", "jsonl").result(5) == 0
    assert all(json.loads(line)["origin"] for line in capsys.readouterr().out.splitlines())


@pytest.mark.parametrize("argv", [["kogee"], ["koge", "single_amount"], ["koge", "--user", "9"]])
def test_unknown_names_are_not_found(wire, good, argv):
    assert wire.run("config", "explain", *argv, "--config", good).result(5) == 3


def test_a_plan_needs_no_service_when_the_price_is_given(wire, good, capsys):
    done = wire.run("plan", "--price", "100", "--config", good, "-o", "json")
    wire.answer("GetInstrument", None, grpc.StatusCode.UNAVAILABLE, "connection refused")
    wire.answer("GetStrategyStatus", None, grpc.StatusCode.UNAVAILABLE, "connection refused")
    assert done.result(5) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert (found["users"][0]["buy_price"], found["users"][0]["sell_price"]) == ("100.5", "101.505")
    assert found["duration_seconds"].startswith("37.5")  # 3000 / 80
    assert "market-service is not up" in err


def test_a_plan_shows_what_each_user_needs_and_says_once_why_one_cannot_trade(wire, good, capsys):
    Path(good).write_text(GOOD.replace("usdt: 50", "usdt: 0.05"))
    done = wire.run("plan", "--config", good)
    wire.answer("GetInstrument", RULES)
    wire.answer("GetPrice", market.Price(price="48"))
    wire.answer("GetStrategyStatus", None, grpc.StatusCode.UNAVAILABLE, "connection refused")
    wire.answer("GetBalances", None, grpc.StatusCode.UNAVAILABLE, "connection refused")
    assert done.result(5) == 0
    lines = capsys.readouterr().out.splitlines()
    header = next(line for line in lines if line.startswith("user"))
    assert header.split()[-2:] == ["volume", "needs"]
    assert next(line for line in lines if line.startswith("2 ")).split()[-2:] == ["3000", "3000"]
    (problem,) = [line for line in lines if "below the smallest order" in line]
    assert problem.startswith("  warning: user 1: 0.05 USDT a cycle")
    assert max(map(len, (line for line in lines if line[:4] in ("user", "1   ", "2   ")))) <= 80


def test_a_plan_without_price_and_service_says_how_to_get_one(wire, good, capsys):
    done = wire.run("plan", "--config", good)
    wire.answer("GetInstrument", None, grpc.StatusCode.UNAVAILABLE, "connection refused")
    assert done.result(5) == 6
    assert "--price" in capsys.readouterr().err


def usdt(free):
    return order_pb2.Balance(asset="USDT", free=free, locked="0")


def test_a_plan_obeys_the_venues_grids_and_counts_what_is_traded_already(wire, good, koge, capsys):
    done = wire.run("plan", "koge", "--config", good)
    request = wire.answer("GetInstrument", RULES)
    assert (request.token, request.chain, request.venue) == ("KOGE", "BSC", market.VENUE_ALPHA)
    wire.answer("GetPrice", market.Price(price="48.017"))
    users = [strategy_pb2.UserStatus(user_id="1", volume="1000"), strategy_pb2.UserStatus(user_id="2")]
    wire.answer("GetStrategyStatus", koge(users=users))
    wire.answer("GetBalances", order_pb2.GetBalancesResponse(balances=[usdt("5")]))
    wire.answer("GetBalances", None, grpc.StatusCode.NOT_FOUND, "no such user")
    assert done.result(5) == 0
    out, err = capsys.readouterr()
    assert "user 1: 5 USDT are free, up to" in out
    assert "not every balance is known" in err
    assert "2000 left" in out
    assert "48.25" in out  # 48.257085 down to the tick


@pytest.mark.parametrize("price", ["1e3", "-1", "many", "0"])
def test_a_plan_takes_no_price_that_is_none(wire, good, price):
    done = wire.run("plan", "--price", price, "--config", good)
    if price == "0":
        wire.answer("GetInstrument", None, grpc.StatusCode.UNAVAILABLE, "connection refused")
        wire.answer("GetStrategyStatus", None, grpc.StatusCode.UNAVAILABLE, "connection refused")
    assert done.result(5) == 4


def test_the_schema_is_json_by_default_and_a_table_of_keys_on_demand(wire, capsys):
    assert wire.run("config", "schema").result(5) == 0
    assert json.loads(capsys.readouterr().out)["required"] == ["strategies"]
    assert wire.run("config", "schema", "-o", "table").result(5) == 0
    assert "max_concurrent_users" in capsys.readouterr().out


def test_diff_of_two_files_says_what_changes_and_when_it_acts(wire, tmp_path, capsys):
    text = Path("config/examples/first_run.yaml").read_text(encoding="utf-8")
    other = tmp_path / "other.yaml"
    other.write_text(text.replace("target_volume: 16384", "target_volume: 20000"), encoding="utf-8")
    argv = ["config", "diff", str(other), "--config", "config/examples/first_run.yaml"]
    assert wire.run(*argv).result(5) == 0
    assert "target_volume 16384 -> 20000 (next cycle)" in capsys.readouterr().out
    assert wire.run(*argv, "-o", "json").result(5) == 0
    (change,) = json.loads(capsys.readouterr().out)
    assert "20000" in change["change"]


def test_diff_without_a_second_file_asks_for_what_is_in_force_and_changes_nothing(wire, capsys):
    done = wire.run("config", "diff")
    changes = ["strategy koge: target_volume 100 -> 200 (next cycle)"]
    request = wire.answer("ReloadConfig", strategy_pb2.ReloadConfigResponse(changes=changes))
    assert done.result(5) == 0
    assert request.validate_only
    assert capsys.readouterr().out == changes[0] + "\n"


def test_diff_without_service_and_file_says_what_needs_no_service(wire, capsys):
    done = wire.run("config", "diff")
    wire.answer("ReloadConfig", None, grpc.StatusCode.UNAVAILABLE, "refused")
    assert done.result(5) == 6
    assert "name a second FILE" in capsys.readouterr().err

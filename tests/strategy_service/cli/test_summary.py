"""The end of a run: reached or not, and whether the paper exchange's books say the same."""

import dataclasses
import json
import sys
from decimal import Decimal

import pytest

from protos import market_pb2
from protos import order_pb2 as pb
from protos import strategy_pb2 as strategies
from strategy_service.cli.errors import Exit
from strategy_service.cli.output import Format
from strategy_service.cli.summary import Result, StrategyResult, UserResult

REACHED = strategies.USER_RUN_STATE_REACHED
PERSON = strategies.USER_RUN_STATE_NEEDS_PERSON


def user(user_id="1", state=REACHED, bought="1500.5", sold="500.25"):
    position = pb.Position(
        bought_quote=bought, sold_quote=sold, realised_cost="0.45", cost_complete=True, inventory="2"
    )
    status = strategies.UserStatus(user_id=user_id, state=state, cycles=30, reason="why")
    return UserResult(status, "alpha", "ALPHA_22USDT", Decimal(bought or 0), position)


def result(*users, scope="shared"):
    status = strategies.StrategyStatus(
        strategy_id="koge",
        target_volume="3000",
        target_scope=scope,
        venue=market_pb2.VENUE_ALPHA,
        symbol="ALPHA_22USDT",
    )
    return Result("var/x", (StrategyResult(status, users),), pb.SettleResponse())


def books(*rows, self_matches=0):
    return {
        "users": [
            {
                "venue": "alpha",
                "symbol": "ALPHA_22USDT",
                "user_id": user_id,
                "sides": {"BUY": {"quote": bought}, "SELL": {"quote": sold}},
            }
            for user_id, bought, sold in rows
        ],
        "self_matches": self_matches,
    }


@pytest.mark.parametrize(
    ("states", "scope", "code"),
    [
        ((REACHED, REACHED), "shared", 0),
        ((REACHED, strategies.USER_RUN_STATE_SKIPPED), "per_user", 0),
        ((strategies.USER_RUN_STATE_SKIPPED,), "shared", 0),
        ((REACHED, PERSON), "shared", 0),  # the others reached the sum
        ((REACHED, PERSON), "per_user", 1),
        ((PERSON,), "shared", 1),
        ((strategies.USER_RUN_STATE_COST_LIMIT,), "shared", 1),
        ((strategies.USER_RUN_STATE_STOPPED,), "shared", 1),
        ((), "shared", 1),
    ],
)
def test_a_missed_target_ends_with_1(states, scope, code):
    users = [user(str(number), state) for number, state in enumerate(states)]
    assert result(*users, scope=scope).exit_code == code


def test_a_stop_that_came_with_the_last_trade_does_not_make_the_target_missed(capsys):
    stopped = strategies.USER_RUN_STATE_STOPPED
    found = result(user("1", stopped), user("2", stopped))  # 1500.5 each, of 3000
    found.interrupted = True
    found.print(Format.TABLE)
    assert "koge: target reached, 3001 of 3000 USDT" in capsys.readouterr().out
    assert result(user("1", stopped), user("2", stopped), scope="per_user").exit_code == 1


def test_an_interrupted_run_ends_with_130():
    found = result(user(state=strategies.USER_RUN_STATE_STOPPED))
    found.interrupted = True
    assert found.exit_code is Exit.INTERRUPTED


def test_books_that_agree_are_said_to(capsys):
    found = result(user())
    found.compare(books(("1", "1500.50", "500.25")))
    assert found.exit_code == 0
    found.print(Format.TABLE)
    out = capsys.readouterr().out
    assert "paper exchange says: bought 1500.5 USDT, sold 500.25 USDT: as here" in out


@pytest.mark.parametrize(
    "report",
    [
        books(("1", "1500.51", "500.25")),
        books(("1", "1500.5", "0")),
        books(),
        books(("1", "1500.5", "500.25"), self_matches=1),
    ],
    ids=["bought", "sold", "unknown account", "self-match"],
)
def test_books_that_differ_are_an_error_even_when_the_target_is_reached(report, capsys):
    found = result(user())
    found.interrupted = True
    found.compare(report)
    assert found.exit_code is Exit.FAILED
    found.print(Format.TABLE)
    assert "the paper exchange's books differ" in capsys.readouterr().err


def test_a_user_that_never_traded_agrees_with_books_that_do_not_know_it():
    found = result(user(bought="", sold=""), user("2"))
    found.compare(books(("2", "1500.5", "500.25")))
    assert found.differences == []


def test_json_holds_exact_figures_and_what_rests(capsys):
    found = result(user())
    found.settled.open.add(order_id="o1", legs=[pb.Leg(side=pb.SIDE_SELL, status=pb.LEG_STATUS_OPEN)])
    found.compare(books(("1", "1500.5", "500.25")))
    found.print(Format.JSON)
    data = json.loads(capsys.readouterr().out)
    assert data["reached"]
    assert data["paper_exchange"]["agrees"]
    assert data["open_orders"][0]["order_id"] == "o1"
    (row,) = data["strategies"][0]["users"]
    assert row["cost_per_1000"] == "0.29990003"
    assert row["bought"] == "1500.5"


def test_resting_orders_and_those_in_doubt_are_listed(capsys):
    found = result(user())
    sell = pb.Leg(side=pb.SIDE_SELL, status=pb.LEG_STATUS_OPEN, price="49", quantity="1")
    buy = pb.Leg(side=pb.SIDE_BUY, status=pb.LEG_STATUS_FILLED, price="48", quantity="1")
    found.settled.open.add(
        order_id="rests", user_id="1", strategy_id="koge", symbol="ALPHA_22USDT", legs=[buy, sell]
    )
    found.settled.open.add(order_id="elsewhere", user_id="1", strategy_id="other", legs=[buy, sell])
    found.settled.in_doubt.add(order_id="doubtful", user_id="2")
    found.print(Format.TABLE)
    out = capsys.readouterr().out
    assert "resting orders (1)" in out
    assert "SELL  1 @ 49 open" in out
    assert "elsewhere" not in out
    assert "resting orders of other strategies: 1 " in out
    assert "doubtful of user 2" in out


@pytest.mark.parametrize("earlier", [True, False])
def test_figures_of_earlier_runs_beside_a_new_volume_are_said_to_be_so(capsys, earlier):
    found = user()
    volume = Decimal(20) if earlier else found.volume
    result(dataclasses.replace(found, volume=volume)).print(Format.TABLE)
    assert ("all own trades on the symbol so far" in capsys.readouterr().out) is earlier


def test_a_narrow_terminal_shows_a_line_a_user(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    result(user()).print(Format.TABLE)
    (row,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("1 ")]
    assert "500.25" in row
    assert len(row) <= 80


def test_what_a_run_came_to_stands_below_the_long_list_of_what_rests(capsys):
    found = result(user())
    for number in range(100):
        found.settled.open.add(order_id=f"o{number}", strategy_id="koge", legs=[pb.Leg()])
    found.compare(books(("1", "1500.50", "500.25")))
    found.print(Format.TABLE)
    lines = capsys.readouterr().out.splitlines()
    (statistics,) = [number for number, line in enumerate(lines) if "target reached" in line]
    assert statistics > max(number for number, line in enumerate(lines) if line.startswith("o99"))
    assert "as here" in lines[-1]

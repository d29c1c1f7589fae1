"""The end of a run: reached or not, and whether the paper exchange's books say the same."""

import dataclasses
import json
import sys
from decimal import Decimal

import pytest

from protos import market_pb2
from protos import order_pb2 as pb
from protos import strategy_pb2 as strategies
from strategy_service.cli.books import Account, Books, Row
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


def books(*differences, bought="1500.5", sold="500.25", foreign="0"):
    account = Account("alpha", "ALPHA_22USDT", "1", {})
    own = {"BUY": Decimal(bought), "SELL": Decimal(sold)}
    by_hand = {"BUY": Decimal(foreign), "SELL": Decimal(0)}
    return Books([Row(account, own, by_hand)], list(differences))


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
    found.books = books()
    assert found.exit_code == 0
    found.print(Format.TABLE)
    out = capsys.readouterr().out
    assert "paper exchange says: bought 1500.5 USDT, sold 500.25 USDT: as here" in out
    assert "other hands" not in out


def test_what_was_traded_by_hand_is_shown_apart_and_fails_nothing(capsys):
    found = result(user())
    found.books = books(foreign="30")
    assert found.exit_code == 0
    found.print(Format.TABLE)
    assert "beside it by other hands: bought 30 USDT, sold 0 USDT" in capsys.readouterr().out
    assert found.data()["paper_exchange"]["users"][0]["foreign_BUY"] == "30"


def test_books_that_differ_are_an_error_even_when_the_target_is_reached(capsys):
    found = result(user())
    found.interrupted = True
    found.books = books("user 1 on ALPHA_22USDT: BUY 1500.5 here, 1500.51 there")
    assert found.exit_code is Exit.FAILED
    found.print(Format.TABLE)
    out, err = capsys.readouterr()
    assert "which differs" in out
    assert "the paper exchange's books differ: user 1" in err


def test_an_account_in_two_strategies_is_compared_once():
    one = result(user(), user("2", bought="", sold=""))
    both = Result("var/x", one.strategies * 2, pb.SettleResponse())
    assert [account.user_id for account in both.accounts] == ["1", "2"]
    assert both.accounts[0].ledger == {"BUY": Decimal("1500.5"), "SELL": Decimal("500.25")}
    assert both.accounts[1].ledger == {"BUY": 0, "SELL": 0}


def test_json_holds_exact_figures_and_what_rests(capsys):
    found = result(user())
    found.settled.open.add(order_id="o1", legs=[pb.Leg(side=pb.SIDE_SELL, status=pb.LEG_STATUS_OPEN)])
    found.books = books()
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


def test_of_what_rests_the_first_ten_are_shown_and_the_result_stands_below(capsys):
    found = result(user())
    for number in range(100):
        found.settled.open.add(order_id=f"o{number}", strategy_id="koge", legs=[pb.Leg()])
    found.books = books()
    found.print(Format.TABLE)
    lines = capsys.readouterr().out.splitlines()
    (statistics,) = [number for number, line in enumerate(lines) if "target reached" in line]
    listed = [number for number, line in enumerate(lines) if line.startswith("o")][1:]  # below the columns
    assert len(listed) == 10
    assert "… and 90 more (`otopilot orders --open`)" in lines
    assert statistics > max(listed)
    assert "as here" in lines[-1]

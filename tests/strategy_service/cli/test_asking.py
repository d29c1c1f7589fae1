"""pause, resume, why, history, wait: what is asked of the strategy service, and what is shown."""

import json
import threading
from datetime import UTC, datetime
from types import SimpleNamespace

import grpc
import pytest

from otopilot.settings import Settings
from protos import strategy_pb2 as pb
from strategy_service.cli import wait
from strategy_service.cli.app import main
from strategy_service.cli.clients import Service, Services
from tests.strategy_service.cli.test_exit_codes import told_by_service

PAUSED = pb.USER_RUN_STATE_PAUSED
PERSON = pb.USER_RUN_STATE_NEEDS_PERSON
REACHED = pb.USER_RUN_STATE_REACHED
RUNNING = pb.USER_RUN_STATE_RUNNING
SKIPPED = pb.USER_RUN_STATE_SKIPPED
STOPPED = pb.USER_RUN_STATE_STOPPED


def user(state, user_id="1", reason=""):
    return pb.UserStatus(user_id=user_id, state=state, reason=reason, volume="5", volume_complete=True)


# ------------------------------------------------------------------ pause and resume


@pytest.mark.parametrize(
    ("command", "method", "response"),
    [
        ("pause", "PauseStrategy", pb.PauseStrategyResponse),
        ("resume", "ResumeStrategy", pb.ResumeStrategyResponse),
    ],
)
def test_pause_and_resume_ask_for_what_was_said_and_show_the_strategies(
    wire, koge, capsys, command, method, response
):
    done = wire.run(command, "koge_volume_boost", "--user", "2")
    request = wire.answer(
        method, response(strategies=[koge(users=[user(PAUSED, "2", "paused by a person")])])
    )
    assert done.result(5) == 0
    assert (request.strategy_id, request.user_id) == ("koge_volume_boost", "2")
    assert request.request_id
    out, err = capsys.readouterr()
    assert "paused" in out
    assert "paused by a person" in out
    assert f"{command}d koge_volume_boost, user 2: each loop takes it up" in err  # the table may be older


def test_pausing_what_does_not_run_is_the_wrong_state(wire, capsys):
    done = wire.run("pause", "koge")
    code, words = grpc.StatusCode.FAILED_PRECONDITION, "strategy koge does not run"
    wire.answer("PauseStrategy", None, code, words, told_by_service(code, words))
    assert done.result(5) == 7
    assert words in capsys.readouterr().err


# ------------------------------------------------------------------ why


def explanation(**changes):
    values = {
        "strategy_id": "koge",
        "user_id": "2",
        "state": pb.USER_RUN_STATE_BLOCKED,
        "code": pb.REASON_CODE_VOLATILITY,
        "reason": "the price moved 6.2 % within 60 s, the limit is 5 %",
        "meaning": "the price moved more than max_price_volatility_percentage within its window",
        "what_to_do": "nothing: it goes on when the price is calm",
        "volume": "40.125",
        "scope_volume": "1234.56",
        "target": "16384",
        "left": "15149.44",
        "volume_complete": True,
        "price": "48.01706542",
        "price_age_ms": 260,
        "max_price_age_ms": 3000,
        "swing_percentage": "6.21",
        "max_swing_percentage": "5",
        "open_sells": 9,
        "max_open_sells": 180,
        "last_round": pb.Round(
            cycle=17,
            result=pb.ROUND_RESULT_FILLED,
            bought="29.99",
            tries=2,
            skipped=3,
            skipped_reason=pb.REASON_CODE_GUARD,
        ),
    }
    return pb.Explanation(**(values | changes))


def test_why_tells_the_case_the_figures_and_what_to_do(wire, capsys):
    done = wire.run("why", "koge", "--user", "2")
    request = wire.answer("ExplainUsers", pb.ExplainUsersResponse(users=[explanation()]))
    assert done.result(5) == 0
    assert (request.strategy_id, request.user_id) == ("koge", "2")
    out = capsys.readouterr().out
    assert out.startswith("koge, user 2: blocked, the price moved 6.2 % within 60 s")
    assert "[volatility]" in out
    assert "what to do  nothing: it goes on when the price is calm" in out
    assert "moved 6.21 % (at most 5 %)" in out
    assert "1234.56 of 16384 USDT, 15149.44 left; this user's: 40.12" in out
    assert "9 (at most 180)" in out
    assert "17: filled, bought 29.99, 2 tries, 3 skipped before it: guard" in out


def test_why_in_json_holds_every_field_with_exact_amounts(wire, capsys):
    done = wire.run("why", "-o", "json")
    wire.answer("ExplainUsers", pb.ExplainUsersResponse(users=[explanation(), explanation(user_id="3")]))
    assert done.result(5) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["user_id"] for each in found] == ["2", "3"]
    assert found[0]["price"] == "48.01706542"
    assert found[0]["code"] == "REASON_CODE_VOLATILITY"


# ------------------------------------------------------------------ history


def past(cycle, **changes):
    values = {"strategy_id": "koge", "user_id": "1", "cycle": cycle, "result": pb.ROUND_RESULT_MISSED}
    found = pb.Round(**(values | changes))
    found.started_at.FromDatetime(datetime(2026, 1, 5, 12, 0, 0, tzinfo=UTC))
    found.ended_at.FromDatetime(datetime(2026, 1, 5, 12, 0, 2, 500_000, tzinfo=UTC))
    return found


def test_history_shows_rounds_page_by_page_up_to_the_limit(wire, capsys):
    done = wire.run("history", "koge", "--user", "1", "--limit", "3")
    first = wire.answer("ListRounds", pb.ListRoundsResponse(rounds=[past(9), past(8)], next_page_token="8"))
    second = wire.answer("ListRounds", pb.ListRoundsResponse(rounds=[past(7)], next_page_token="7"))
    assert done.result(5) == 0
    assert (first.strategy_id, first.user_id, first.page_size) == ("koge", "1", 3)
    assert (second.page_token, second.page_size) == ("8", 1)
    out, err = capsys.readouterr()
    assert [line.split()[3] for line in out.splitlines()[1:]] == ["9", "8", "7"]
    assert "missed" in out
    assert " 2.5" in out
    assert "there are more than 3" in err


def test_a_round_that_was_over_before_its_trades_were_read_says_that_it_does_not_know(wire, capsys):
    done = wire.run("history")
    rounds = [past(9, result=pb.ROUND_RESULT_FILLED, bought="0"), past(8, bought="0")]
    wire.answer("ListRounds", pb.ListRoundsResponse(rounds=rounds))
    assert done.result(5) == 0
    filled, missed = capsys.readouterr().out.splitlines()[1:]
    assert " – " in filled
    assert " 0.00 " in missed


def test_history_of_runs_says_how_each_user_ended(wire, capsys):
    run = pb.Run(
        strategy_id="koge",
        config_revision="abc",
        users=[
            pb.RunUser(user_id="1", outcome=REACHED),
            pb.RunUser(user_id="2", outcome=STOPPED, left_open_order_ids=["o7"]),
        ],
    )
    run.started_at.FromDatetime(datetime(2026, 1, 5, 12, 0, 0, tzinfo=UTC))
    going_on = pb.Run(strategy_id="koge")
    run.ended_at.FromDatetime(datetime(2026, 1, 5, 13, 1, 1, tzinfo=UTC))
    done = wire.run("history", "--runs")
    wire.answer("ListRuns", pb.ListRunsResponse(runs=[going_on, run]))
    assert done.result(5) == 0
    out = capsys.readouterr().out
    assert "goes on" in out
    assert "1:01:01" in out
    assert "1: reached, 2: stopped (1 left open)" in out
    assert wire.run("history", "--runs", "--user", "1").result(5) == 2


# ------------------------------------------------------------------ wait


def test_a_shared_target_is_reached_with_the_first_user_that_saw_it_and_the_last_that_ended(koge):
    def verdict(*states, goal=wait.Goal.REACHED, scope="shared", running=False):
        users = [user(state, str(number)) for number, state in enumerate(states, 1)]
        return wait._verdict(koge(users=users, target_scope=scope, is_running=running), goal, "")

    assert verdict(REACHED, REACHED) == ""
    assert verdict(REACHED, RUNNING, running=True) is None
    assert verdict(REACHED, STOPPED) == ""
    assert verdict(SKIPPED, REACHED, scope="per_user") == ""
    assert verdict(REACHED, RUNNING, scope="per_user", running=True) is None
    assert "user 2" in verdict(REACHED, STOPPED, scope="per_user")
    assert "user 1" in verdict(PERSON, PERSON, running=True)
    assert verdict(PERSON, RUNNING, running=True) is None  # the others may reach the sum
    assert verdict(RUNNING, RUNNING, goal=wait.Goal.RUNNING, running=True) == ""
    assert verdict(PERSON, RUNNING, goal=wait.Goal.RUNNING, running=True) is None
    assert "user 1" in verdict(PERSON, goal=wait.Goal.RUNNING, running=True)
    assert verdict(STOPPED, REACHED, goal=wait.Goal.ENDED) == ""
    assert verdict(STOPPED, RUNNING, goal=wait.Goal.ENDED, running=True) is None


class Watching:
    """An answer to WatchStrategies: these statuses one after the other, then silence."""

    def __init__(self, statuses):
        self._statuses = statuses
        self._cancelled = threading.Event()

    def __iter__(self):
        for each in self._statuses:
            yield pb.WatchStrategiesResponse(strategies=[each])
        self._cancelled.wait(20)

    def cancel(self):
        self._cancelled.set()


def services_of(*statuses):
    """A strategy service that shows these statuses."""
    stub = SimpleNamespace(
        GetStrategyStatus=lambda request, timeout: statuses[0],
        WatchStrategies=lambda request: Watching(statuses),
    )
    services = Services(Settings())
    services.__dict__["strategy"] = Service("strategy-service", "127.0.0.1:50053", stub)
    return services


def test_wait_returns_with_0_when_the_target_is_reached_and_prints_the_status(koge, capsys):
    services = services_of(koge(), koge(users=[user(REACHED)], progress="100.00%", is_running=False))
    assert main(["wait", "koge_volume_boost", "--for", "reached", "-o", "json"], services) == 0
    assert json.loads(capsys.readouterr().out)["progress"] == "100.00%"


def test_wait_ends_with_1_when_only_a_person_can_help_and_says_why(koge, capsys):
    services = services_of(koge(), koge(users=[user(PERSON, reason="no credential")]))
    assert main(["wait", "koge_volume_boost"], services) == 1
    assert "will not be reached: user 1: no credential" in capsys.readouterr().err


def test_wait_gives_up_with_5(koge, capsys):
    services = services_of(koge())
    assert main(["wait", "koge_volume_boost", "--timeout", "0.3"], services) == 5
    assert "is not reached after 0.3 s" in capsys.readouterr().err


def test_wait_for_a_user_that_the_strategy_does_not_have_ends_with_3(koge):
    assert main(["wait", "koge_volume_boost", "--user", "9"], services_of(koge())) == 3

"""The live screen, rendered to a recorded console and to plain lines."""

import io
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from protos import strategy_pb2 as pb
from strategy_service.cli import screen as screens
from strategy_service.cli.amounts import duration, fixed, short
from strategy_service.cli.screen import Screen

AMOUNTS = st.decimals(
    min_value=Decimal("-1e12"), max_value=Decimal("1e12"), allow_nan=False, allow_infinity=False, places=12
)


def terminal(width=160):
    return Console(record=True, width=width, file=io.StringIO(), force_terminal=True)


def rendered(screen):
    screen._console.print(screen.render())
    return screen._console.export_text()


@pytest.fixture
def plain():
    """A screen without a terminal, and what it wrote."""
    out = io.StringIO()
    return Screen("paper", "var/x", Console(file=out)), out


def test_the_screen_shows_a_bar_per_strategy_and_user_with_what_each_waits_for(koge):
    screen = Screen("paper", "var/demo-1", terminal())
    screen.strategies["koge"] = koge()
    text = rendered(screen)
    for part in (
        "PAPER",
        "var/demo-1",
        "KOGE 刷量策略",
        "ALPHA_22USDT 48.01706542 (0.2 s old)",
        "1234.56 of 16384 USDT",
        "7.53%",
        "5999.99/min",
        "ETA 2:31",
        "cost per 1,000 USDT 0.2999",
        "waits for its interval",
        "9.5 (cost 456.78)",
        "0.1234",
    ):
        assert part in text, part
    assert text.count("━") > 40


def test_live_is_on_every_screen_and_line(koge):
    screen = Screen("live", "var/live", terminal())
    screen.strategies["koge"] = koge()
    assert "LIVE" in rendered(screen)
    out = io.StringIO()
    lines = Screen("live", "var/live", Console(file=out))
    lines.update([koge()], "starting")
    assert out.getvalue()
    assert all(line.startswith("LIVE ") for line in out.getvalue().splitlines())


def test_a_users_reason_with_brackets_is_shown_as_it_is(koge):
    user = pb.UserStatus(
        user_id="1", state=pb.USER_RUN_STATE_NEEDS_PERSON, reason="[red]store a fresh credential[/]"
    )
    screen = Screen("paper", "x", terminal())
    screen.strategies["koge"] = koge(users=[user])
    assert "[red]store a fresh credential[/]" in rendered(screen)


@pytest.mark.parametrize("width", [80, 100])
def test_a_narrow_terminal_keeps_a_line_a_user_and_the_whole_reason_of_who_is_stuck(koge, width):
    reason = "no credential for alpha: store one with `otopilot users add 2`, then it goes on by itself"
    users = [
        pb.UserStatus(
            user_id="1", state=pb.USER_RUN_STATE_RUNNING, reason="BUY 0.6164 at 48.66932419, 2 s at most"
        ),
        pb.UserStatus(user_id="2", state=pb.USER_RUN_STATE_NEEDS_PERSON, reason=reason),
    ]
    screen = Screen("paper", "var/demo-1", terminal(width))
    screen.strategies["koge"] = koge(users=users)
    lines = rendered(screen).splitlines()
    table = lines[[line.startswith("user") for line in lines].index(True) :]
    assert all(len(line.rstrip()) <= width for line in lines)
    assert all(len(line.rstrip()) <= width - 2 for line in table[:3])  # the terminal may echo ^C
    assert "BUY 0.6164 at 48" in table[1]
    for number in ("1", "2"):
        (line,) = [line for line in lines if line.startswith(f"{number} ")]
        assert "━" in line
    assert "cost per 1,000 USDT 0.2999" in "".join(lines)
    assert reason.replace(" ", "") in "".join(lines).replace(" ", "")


def test_an_unreadable_history_is_shown_as_at_least(koge):
    screen = Screen("paper", "x", terminal())
    screen.strategies["koge"] = koge(total_complete=False)
    assert "at least 1234.56" in rendered(screen)


def test_per_user_targets_are_shown_as_each(koge):
    screen = Screen("paper", "x", terminal())
    screen.strategies["koge"] = koge(target_scope="per_user")
    assert "of 3 x 16384 USDT" in rendered(screen)


def test_strategies_that_never_ran_leave_room_for_those_that_do(koge):
    screen = Screen("paper", "x", terminal())
    screen.strategies["a"] = koge()
    screen.strategies["b"] = koge(strategy_id="aop_test", is_running=False)
    assert "aop_test" not in rendered(screen)


def test_without_a_terminal_there_is_a_line_now_and_then_and_at_each_change_of_state(
    koge, plain, monkeypatch
):
    screen, out = plain
    now = 100.0
    monkeypatch.setattr(screens.time, "monotonic", lambda: now)
    screen.update([koge()])
    first = out.getvalue().splitlines()
    assert [line for line in first if "user 2: running" in line]
    assert [line for line in first if "1234.56 of 16384 USDT, 7.53%" in line]

    now += 1
    screen.update([koge(total_volume="1300")])
    assert out.getvalue().splitlines() == first  # nothing changed its state

    users = [
        pb.UserStatus(user_id="2", state=pb.USER_RUN_STATE_BLOCKED, reason_code="funds", reason="no USDT")
    ]
    screen.update([koge(users=users)])
    assert out.getvalue().splitlines()[len(first) :] == ["PAPER koge_volume_boost, user 2: blocked: no USDT"]

    now += screens.PLAIN_SECONDS
    screen.update([koge(users=users, total_volume="1400")])
    assert "1400.00 of 16384" in out.getvalue().splitlines()[-1]


@given(AMOUNTS)
def test_an_amount_is_never_shown_greater_than_it_is(amount):
    text = format(amount, "f")
    for shown in (Decimal(short(text)), Decimal(fixed(text)), Decimal(short(text, 8))):
        assert abs(shown) <= abs(amount)
        assert abs(amount) - abs(shown) < Decimal("0.01")
        assert shown * amount >= 0


def test_a_small_amount_does_not_vanish():
    assert short("0.00001234") == "0.000012"
    assert short("-0.009") == "-0.009"
    assert short("0") == "0"
    assert short("") == "–"


@pytest.mark.parametrize(
    ("seconds", "text"), [(-1, "–"), (0, "0:00"), (59.9, "0:59"), (151, "2:31"), (3723, "1:02:03")]
)
def test_durations_are_cut_to_the_second(seconds, text):
    assert duration(seconds) == text

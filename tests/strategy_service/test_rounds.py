"""One round after the other: what is asked for, when, and what is waited for."""

from datetime import UTC, datetime
from decimal import Decimal as D

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otopilot.instrument import InstrumentStatus
from otopilot.order import OrderId, Purpose
from otopilot.position import UserState
from strategy_service.state import (
    AskAgain,
    Condition,
    Moment,
    Outcome,
    Phase,
    Read,
    Seen,
    State,
    Unread,
    Woke,
)
from strategy_service.turn import Turn
from tests.strategy_service.builders import (
    KOGE,
    accepted,
    at,
    canceled,
    filled,
    order_of,
    rules,
    user,
    volume,
)
from tests.strategy_service.play import Play, places


def test_the_first_thing_a_loop_does_is_to_read_where_it_stands() -> None:
    assert Play().actions == [Read()]


def test_a_placement_names_prices_quantity_and_the_strategy_user_cycle_try() -> None:
    asked = Play().begins()
    assert asked.request_id == "s/1/1/0"
    assert (asked.working_price, asked.pending_price) == (D("100.50"), D("101.51"))
    assert asked.quantity == D("0.298")  # 30 USDT, down to the step
    assert asked.min_working_price == D("100.02")  # below that it could not be expected to fill
    assert asked.reference.price == D(100)


def test_the_cycle_goes_on_where_the_journal_left_it() -> None:
    assert Play().begins(last_cycle=7).request_id == "s/1/8/0"


def test_a_filled_buy_ends_the_round_and_the_next_starts_an_interval_after_the_start() -> None:
    play = Play()
    play.begins()
    order = play.accepts()
    play.now += 0.3
    assert play.said(Seen(filled(order))) == [Read()]
    play.reads(last_cycle=1)
    assert play.waits == "interval"
    assert play.state.wake_at == 1001.0
    play.wait(0.69)
    assert play.state.asked is None
    play.wait(0.02)
    assert play.asked_buy.request_id == "s/1/2/0"


def test_rounds_stay_on_their_grid_and_missed_places_are_not_caught_up() -> None:
    play = Play()
    play.begins()
    order = play.accepts()
    play.now += 3.4  # the round took 3.4 intervals
    play.said(Seen(filled(order)))
    play.reads(last_cycle=1)
    assert play.asked_buy.request_id == "s/1/2/0"  # at once
    play.said(Seen(filled(play.accepts())))
    play.reads(last_cycle=2)
    assert play.waits == "interval"
    assert play.state.wake_at == 1004.0  # not three rounds in a row


@pytest.mark.parametrize(
    ("left", "quantity"),
    [("1000", D("0.298")), ("20", D("0.199")), ("6", D("0.059"))],
)
def test_the_amount_is_cut_to_what_is_left(left: str, quantity: D) -> None:
    assert Play().begins(target=left).quantity == quantity


def test_below_the_smallest_order_one_smallest_order_is_asked_for() -> None:
    asked = Play().begins(counted="997", target="1000")
    # 5 USDT at 99.91, the lowest price that may be applied: 0.051 up to the step.
    assert asked.quantity == D("0.051")


def test_the_smallest_order_is_one_whose_sell_passes_net_of_the_accounts_fee() -> None:
    # 0.051 bought leave 0.050 to sell at 101.51; at a profit of -2 % that is below 5 USDT.
    where = {"counted": "997", "target": "1000", "buy_fee_rate": D("0.001")}
    assert Play().begins(**where).quantity == D("0.051")
    asked = Play(sell_profit_percentage=D(-2)).begins(**where)
    assert (asked.quantity, asked.pending_price) == (D("0.052"), D("98.49"))
    exact = Play().begins(counted="994.8", target="1000", buy_fee_rate=D("0.001"))
    assert exact.quantity == D("0.051")  # what is left would do, and is not exceeded


def test_while_others_reserve_what_is_left_it_waits_for_their_end() -> None:
    play = Play()
    play.reads(counted="900", target="1000", reserved="98")
    assert play.waits == "reserved"
    assert play.wait(0.25) == [Read()]
    play.reads(counted="960", target="1000", reserved="0")
    assert play.asked_buy.quantity == D("0.298")


def test_what_others_reserve_for_long_is_read_less_often() -> None:
    play = Play()
    play.reads(counted="900", target="1000", reserved="98")
    times = []
    for _ in range(12):
        before = play.now
        while Read() not in play.wait(0.05):
            pass
        times.append(play.now - before)
        play.reads(counted="900", target="1000", reserved="98")
    assert times[0] == pytest.approx(0.2, abs=0.06)
    assert times[-1] == pytest.approx(1.0, abs=0.06)
    play.wait(1.0)
    play.reads(counted="900", target="1000")
    assert play.asked_buy.quantity == D("0.298")
    assert play.state.reserved_since is None


def test_a_denied_scope_is_read_again_and_the_same_id_used_for_what_is_left() -> None:
    play = Play()
    play.begins()
    play.denies("DENIED_SCOPE", left="20")
    assert Read() in play.wait(0.1)
    play.reads(counted="970", target="1000", reserved="10")
    assert play.asked_buy.request_id == "s/1/1/0"
    assert play.asked_buy.quantity == D("0.199")


def test_a_reached_target_ends_the_loop_and_a_history_that_met_it_skips_the_user() -> None:
    skipped = Play()
    skipped.reads(counted="1000")
    assert (skipped.state.phase, skipped.state.outcome) == (Phase.DONE, Outcome.SKIPPED)
    reached = Play()
    reached.begins(counted="980")
    reached.said(Seen(filled(reached.accepts())))
    reached.reads(counted="1000.4")
    assert reached.state.outcome is Outcome.REACHED
    assert reached.state.cycles == 1


def test_a_user_that_cannot_be_read_still_learns_that_the_target_is_reached() -> None:
    play = Play()
    play.said(Unread(reason="UNKNOWN_USER", message="no such user", definite=True, volume=volume("1000")))
    assert play.state.phase is Phase.DONE


@pytest.mark.parametrize(
    ("limits", "position", "ends"),
    [
        ({"max_cost_usdt": D(5)}, {"realised_cost": D(5)}, True),
        ({"max_cost_usdt": D(5)}, {"realised_cost": D("4.99")}, False),
        ({"max_cost_per_1000": D(1)}, {"realised_cost": D(2), "bought_quote": D(2000)}, True),
        ({"max_cost_per_1000": D(1)}, {"realised_cost": D(2), "bought_quote": D(2001)}, False),
        ({"max_cost_per_1000": D(1)}, {"realised_cost": D(0)}, False),
    ],
)
def test_a_cost_limit_ends_the_loop(limits: dict[str, D], position: dict[str, D], ends: bool) -> None:
    play = Play(**limits)
    play.reads(**position)
    assert (play.state.outcome is Outcome.COST_LIMIT) == ends


def test_a_cost_that_is_not_known_whole_pauses_a_user_with_a_limit_and_no_other() -> None:
    limited = Play(max_cost_usdt=D(5))
    limited.reads(cost_complete=False)
    assert limited.waits == "cost_incomplete"
    assert Play().begins(cost_complete=False)


def test_an_unread_history_places_nothing() -> None:
    play = Play()
    play.reads(complete=False)
    # The first seconds of a new account: its history is being read.
    assert (play.waits, play.state.waiting.condition) == ("history_unread", Condition.RUNNING)
    play.wait(5.1)
    play.reads(complete=False)
    assert (play.waits, play.state.waiting.condition) == ("history_unread", Condition.BLOCKED)
    play.wait(1.1)
    play.reads()
    assert play.asked_buy


def test_a_user_without_credential_needs_a_person_and_goes_on_when_there_is_one() -> None:
    play = Play()
    play.said(Unread(reason="UNKNOWN_USER", message="unknown", definite=True))
    assert (play.waits, play.state.waiting.condition) == ("no_credential", Condition.NEEDS_PERSON)
    assert play.wait(3.5) == [Read()]
    play.reads()
    assert play.asked_buy


def test_a_stopped_account_needs_a_person_until_its_condition_changes() -> None:
    play = Play()
    play.reads(user=user(UserState.STOPPED, "auth_expired"))
    assert (play.waits, play.state.waiting.condition) == ("auth_expired", Condition.NEEDS_PERSON)
    assert play.said(AskAgain()) == [Read()]
    play.reads()
    assert play.asked_buy


def test_an_order_service_that_is_gone_blocks_and_is_asked_again() -> None:
    play = Play()
    play.said(Unread(reason="UNAVAILABLE", message="connection refused", definite=False))
    assert (play.waits, play.state.waiting.condition) == ("order_unreachable", Condition.BLOCKED)
    assert play.wait(0.6) == [Read()]


def test_without_a_price_with_an_old_one_or_without_the_market_nothing_is_placed() -> None:
    play = Play()
    play.price = ""
    play.reads()
    assert play.waits == "price"
    play.price, play.confirmed = "100", 996.9
    play.wait(0.6)
    assert play.waits == "stale_price"
    play.market_up = False
    play.wait(0.6)
    assert (play.waits, play.state.waiting.condition) == ("market_unreachable", Condition.BLOCKED)
    play.market_up, play.confirmed = True, None
    play.wait(0.6)
    assert play.asked_buy


def test_a_swing_above_the_limit_pauses_and_calm_resumes_by_itself() -> None:
    play = Play()
    play.swing = D("5.01")
    play.reads()
    assert play.waits == "volatility"
    play.wait(3.0)
    assert play.state.asked is None
    play.swing = D("5.0")
    play.wait(0.6)
    assert play.asked_buy


def test_a_halted_symbol_waits() -> None:
    play = Play(rules(instrument=msgspec.structs.replace(KOGE, status=InstrumentStatus.HALTED)))
    play.reads()
    assert play.waits == "halted"


def test_a_loop_that_was_woken_late_looks_again_in_its_own_phase() -> None:
    play = Play(rules(instrument=msgspec.structs.replace(KOGE, status=InstrumentStatus.HALTED)))
    play.reads()
    due = play.state.wake_at
    assert due is not None
    play.now = due + 0.4  # with everybody else, after the process stood still
    play.said(Woke())
    assert play.state.wake_at == pytest.approx(due + 1.0)


@given(st.floats(0, 1e6), st.integers(0, 10_000))
def test_a_loop_that_looks_again_never_does_so_at_the_same_moment(slot: float, looks: int) -> None:
    """The remainder of a division of floats may be all but the divisor."""
    now = slot + 0.1 * looks
    moment = Moment(now=now, at=at(now), quote=None, swing=D(0), rise=D(0), market_up=True)
    again = Turn(rules(), State(slot=slot), moment).later(1.0)
    assert 0.09 < again - now < 1.11


def test_at_the_limit_of_open_sells_it_waits_for_one_to_fill() -> None:
    play = Play(max_open_sells=3)
    play.reads(open_sells=3)
    assert play.waits == "max_open_sells"
    assert play.wait(1.1) == [Read()]
    play.reads(open_sells=2)
    assert play.asked_buy


def test_an_amount_below_the_smallest_order_needs_a_person() -> None:
    play = Play(single_trade_amount_usdt=D(4))
    play.reads()
    assert (play.waits, play.state.waiting.condition) == ("amount_too_small", Condition.NEEDS_PERSON)


def test_a_residual_is_sold_between_rounds_at_its_average_price_and_profit() -> None:
    play = Play()
    play.begins()
    play.said(Seen(filled(play.accepts())))
    play.reads(last_cycle=1, uncovered=D("0.1234"), average_cost=D("99"))
    asked = play.asked_sell
    assert (asked.purpose, asked.quantity, asked.price) == (Purpose.RESIDUAL, D("0.123"), D("99.99"))
    assert asked.request_id == "s/1/1/1"  # the next placement of the cycle
    play.accepts()
    play.reads(last_cycle=1)
    play.wait(1.0)
    assert play.asked_buy.request_id == "s/1/2/0"


def test_dust_is_kept_and_does_not_hold_up_a_round() -> None:
    assert Play().begins(uncovered=D("0.05"), average_cost=D(100))


def test_a_residual_that_cannot_be_sold_does_not_stop_the_rounds() -> None:
    play = Play()
    play.reads(uncovered=D(1), average_cost=D(100))
    play.denies("DENIED_FILTER")
    play.reads(uncovered=D(1), average_cost=D(100))
    assert play.asked_buy


def test_a_canceled_buy_of_another_strategy_is_not_continued() -> None:
    play = Play()
    asked = Play().begins()
    other = msgspec.structs.replace(accepted(order_of(asked)), strategy_id="quick", order_id=OrderId("x"))
    play.reads(open_orders=(other,), last_cycle=4)
    assert play.state.phase is Phase.WORKING
    play.said(Seen(canceled(other)))
    assert play.state.last_round == "adopted"
    play.reads(last_cycle=4)
    play.wait(1.1)
    assert play.asked_buy.request_id == "s/1/5/0"


def test_an_old_reading_is_not_trusted_after_a_long_wait() -> None:
    play = Play(trade_interval_seconds=D(30))
    play.begins()
    play.said(Seen(filled(play.accepts())))
    play.reads(last_cycle=1)
    assert Read() in play.wait(30.5)
    assert not places(play.actions)
    play.reads(last_cycle=1)
    assert play.asked_buy


def test_times_are_aware() -> None:
    assert Play().begins().reference.confirmed_at == datetime(2026, 1, 5, 12, tzinfo=UTC)


def test_a_round_knows_how_long_after_its_place_it_began_when_nothing_but_this_machine_made_it_wait() -> None:
    play = Play()
    play.begins()
    order = play.accepts()
    play.now += 0.3
    play.said(Seen(filled(order)))
    play.reads(last_cycle=1)
    play.now = 1001.07  # its place was at 1001
    play.said(Woke())
    order = play.accepts()
    play.now += 0.1
    play.said(Seen(filled(order)))
    first, second = play.rounds
    assert first.late is None  # the first one had no place to keep
    assert second.late == pytest.approx(0.07)


def test_a_round_that_waited_for_the_buy_before_it_has_no_lateness() -> None:
    play = Play()
    play.begins()
    order = play.accepts()
    play.now += 1.4
    play.said(Seen(filled(order)))
    play.reads(last_cycle=1)
    order = play.accepts()
    play.now += 0.1
    play.said(Seen(filled(order)))
    assert [end.late for end in play.rounds] == [None, None]


def test_a_round_that_a_calm_market_was_waited_for_has_no_lateness() -> None:
    play = Play()
    play.begins()
    order = play.accepts()
    play.now += 0.3
    play.swing = D(6)
    play.said(Seen(filled(order)))
    play.reads(last_cycle=1)
    play.wait(1.2)
    assert play.waits == "volatility"
    play.swing = D(0)
    play.wait(0.6)
    order = play.accepts()
    play.now += 0.1
    play.said(Seen(filled(order)))
    assert [end.late for end in play.rounds] == [None, None]

"""Placements that were denied or came to nothing: what is waited for, what is asked again."""

from decimal import Decimal as D

import pytest

from otopilot.order import INSUFFICIENT_BALANCE, RejectionKind
from strategy_service.reasons import RoundResult
from strategy_service.state import AskAgain, Condition, Outcome, Phase, Read, Seen
from tests.strategy_service.builders import (
    accepted,
    filled,
    order_of,
    rejected,
)
from tests.strategy_service.play import Play, buys


def test_the_smallest_order_is_the_one_the_denial_names() -> None:
    play = Play()
    play.begins(counted="997", target="1000")
    play.denies("DENIED_SCOPE", left="3", smallest_quantity="0.05")
    play.wait(0.1)
    play.reads(counted="997", target="1000")
    assert play.asked_buy.quantity == D("0.05")


def test_a_filter_that_names_what_would_do_is_obeyed_at_once() -> None:
    play = Play()
    play.begins(counted="994.8", target="1000")
    play.denies("DENIED_FILTER", filter="NOTIONAL", smallest_quantity="0.053")
    play.wait(0.1)
    play.reads(counted="994.8", target="1000")
    assert (play.asked_buy.quantity, play.asked_buy.request_id) == (D("0.053"), "s/1/1/0")
    play.said(Seen(filled(play.accepts())))
    play.reads(last_cycle=1, counted="996", target="1000")
    play.wait(2.0)
    assert play.asked_buy.quantity == D("0.051")  # told for one round only


def test_an_amount_that_is_below_what_would_do_is_not_exceeded_and_asked_again() -> None:
    play = Play(single_trade_amount_usdt=D(6))
    play.begins()
    play.denies("DENIED_FILTER", filter="NOTIONAL", smallest_quantity="0.11")  # the venue asks for 11 USDT
    play.wait(0.1)
    play.reads()
    assert (play.waits, play.state.waiting.condition) == ("amount_too_small", Condition.BLOCKED)
    assert "0.11 KOGE" in play.state.waiting.text
    play.wait(3.1)
    assert play.asked_buy.quantity == D("0.059")  # its rules may have changed back


def test_a_guarded_residual_is_asked_again_and_goes_before_the_buy() -> None:
    play = Play()
    play.reads(uncovered=D(1), average_cost=D(100))
    play.denies("DENIED_GUARD", blocking_price="101")
    assert play.waits == "guard"
    play.wait(0.21)
    assert play.asked_sell.request_id == "s/1/1/0"


def test_the_guard_is_asked_again_every_half_second_with_the_same_id_and_a_fresh_price() -> None:
    play = Play()
    play.begins()
    play.denies("DENIED_GUARD", blocking_price="99")
    assert (play.waits, play.state.guard_waits) == ("guard", 1)
    play.price = "101"
    asked = buys(play.wait(0.51))
    assert [(a.request_id, a.working_price) for a in asked] == [("s/1/1/0", D("101.50"))]
    play.denies("DENIED_GUARD", blocking_price="99")
    assert play.state.guard_waits == 1  # still the same wait


def test_the_guard_is_asked_at_once_when_the_order_service_says_so() -> None:
    play = Play()
    play.begins()
    play.denies("DENIED_GUARD", blocking_price="99")
    play.now += 0.01
    assert buys(play.said(AskAgain()))


def test_a_rising_price_raises_the_lowest_price_worth_sending() -> None:
    play = Play()
    play.rise = D("0.1")
    assert play.begins().min_working_price == D("100.12")


def test_who_waited_for_a_fill_timeout_settles_for_the_reference_price() -> None:
    play = Play()
    play.begins()
    for _ in range(30):
        if play.asked_buy.min_working_price == 100:
            break
        play.denies("DENIED_GUARD", blocking_price="100.01")
        if Read() in play.wait(0.51):
            play.reads()
    assert play.now - 1000 == pytest.approx(2.1, abs=0.5)


def test_a_guard_wait_costs_no_more_than_itself() -> None:
    play = Play()
    play.begins()
    play.denies("DENIED_GUARD", blocking_price="99")
    play.wait(0.5)
    order = play.accepts()
    play.said(Seen(filled(order)))
    play.reads(last_cycle=1)
    assert play.state.wake_at == 1001.0  # the grid of the first round


def test_a_long_guard_wait_still_learns_that_the_target_is_reached() -> None:
    play = Play()
    play.begins()
    for _ in range(10):
        if play.state.asked is not None:
            play.denies("DENIED_GUARD", blocking_price="99")
        if Read() in play.wait(0.51):
            play.reads(counted="1000")
            break
    assert play.state.outcome is Outcome.REACHED


@pytest.mark.parametrize(
    ("reason", "code", "condition"),
    [
        ("DENIED_FUNDS", "funds", Condition.BLOCKED),
        ("DENIED_FINGERPRINT", "fingerprint", Condition.RUNNING),
        ("DENIED_PRICE_AGE", "stale_price", Condition.RUNNING),
        ("DENIED_FILTER", "filter", Condition.BLOCKED),
        ("STALE_OWNER", "owner", Condition.BLOCKED),
        ("RATE_LIMIT", "rate_limit", Condition.BLOCKED),
        ("UNKNOWN_USER", "no_credential", Condition.NEEDS_PERSON),
        ("SOMETHING_NEW", "other", Condition.BLOCKED),
    ],
)
def test_every_denial_is_a_wait_with_its_reason_and_the_id_is_used_again(
    reason: str, code: str, condition: Condition
) -> None:
    play = Play()
    play.begins()
    play.denies(reason)
    assert (play.waits, play.state.waiting.condition) == (code, condition)
    actions = play.wait(6.0)
    if Read() in actions:
        play.reads()
    assert play.asked_buy.request_id == "s/1/1/0"


def test_a_stopped_user_is_named_with_the_accounts_own_reason() -> None:
    play = Play()
    play.begins()
    play.denies("USER_STOPPED", reason_code="verification_required")
    assert (play.waits, play.state.waiting.condition) == ("verification_required", Condition.NEEDS_PERSON)


def test_an_open_buy_in_the_slot_is_taken_up() -> None:
    play = Play()
    asked = play.begins()
    play.denies("DENIED_SLOT", order_id="other")
    play.wait(0.3)
    play.reads(open_orders=(accepted(order_of(asked)),))
    assert (play.state.phase, play.waits) == (Phase.WORKING, "fill")


def test_a_refused_round_is_over_and_the_backoff_grows() -> None:
    play = Play()
    play.begins()
    waits = []
    for _ in range(4):
        play.said(Seen(rejected(order_of(play.asked_buy))))
        assert play.waits == "venue_refused"
        waits.append(play.state.not_before - play.now)
        play.wait(60)
        play.reads(last_cycle=play.state.cycle)
        play.wait(1)
    assert waits == [1.0, 2.0, 4.0, 8.0]
    assert play.asked_buy.request_id == "s/1/5/0"


@pytest.mark.parametrize(
    ("kind", "code", "waits", "seconds"),
    [
        (RejectionKind.VENUE, INSUFFICIENT_BALANCE, "funds", [2.0, 2.0, 4.0, 8.0]),
        (RejectionKind.VENUE, "filter", "venue_refused", [1.0, 2.0, 4.0, 8.0]),
        (RejectionKind.VENUE, "481013", "venue_refused", [1.0, 2.0, 4.0, 8.0]),
        (RejectionKind.NOT_SENT, INSUFFICIENT_BALANCE, "not_placed", [0.1, 0.1, 1.0, 0.1]),
        (RejectionKind.ABSENT, INSUFFICIENT_BALANCE, "not_placed", [0.1, 0.1, 1.0, 0.1]),
    ],
)
def test_what_came_to_nothing_is_waited_out_by_what_the_no_was(
    kind: RejectionKind, code: str, waits: str, seconds: list[float]
) -> None:
    play = Play()
    play.begins()
    waited = []
    for _ in range(4):
        play.said(Seen(rejected(order_of(play.asked_buy), kind, code)))
        assert (play.waits, play.state.waiting.condition) == (waits, Condition.BLOCKED)
        assert f"no ({code})" in play.state.waiting.text
        waited.append(play.state.not_before - play.now)
        play.wait(60)
        play.reads(last_cycle=play.state.cycle)
        play.wait(1)
    assert waited == pytest.approx(seconds)


def test_who_was_refused_for_funds_is_denied_while_short_and_goes_on_when_the_balance_suffices() -> None:
    play = Play()
    play.begins()
    play.said(Seen(rejected(order_of(play.asked_buy), code=INSUFFICIENT_BALANCE)))
    assert play.rounds[-1].result is RoundResult.REFUSED
    for _ in range(3):
        play.wait(2.1)
        play.reads(last_cycle=1)
        play.denies("DENIED_FUNDS", asset="USDT", free="0")
        assert (play.waits, play.state.not_before - play.now) == ("funds", 2.0)
    play.wait(2.1)
    play.reads(last_cycle=1)
    play.said(Seen(filled(play.accepts())))
    assert play.rounds[-1].result is RoundResult.FILLED
    assert play.rounds[-1].skipped_reason == "funds"
    assert play.state.strikes == 0


@pytest.mark.parametrize("kind", [RejectionKind.NOT_SENT, RejectionKind.ABSENT])
def test_what_never_got_on_the_book_is_tried_again_on_the_same_step(kind: RejectionKind) -> None:
    play = Play()
    play.begins()
    play.said(Seen(rejected(order_of(play.asked_buy), kind)))
    play.wait(0.2)
    play.reads(last_cycle=1)
    assert (play.asked_buy.request_id, play.asked_buy.step) == ("s/1/1/1", 0)

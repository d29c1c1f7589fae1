"""Stops: drain, cancel, flatten, in every phase; each is over in time and names what it leaves."""

from decimal import Decimal as D

import pytest

from otopilot.order import LegRole, Order, Purpose
from strategy_service.state import Action, Find, Missing, Outcome, Phase, Seen, Stop, StopMode, Unread
from tests.strategy_service.builders import accepted, canceled, filled, in_doubt, order_of, rejected
from tests.strategy_service.play import Play, buys, cancels, places


def resting(play: Play) -> Order:
    """To the interval after a filled round; its order with the SELL on the book."""
    play.begins()
    order = filled(play.accepts())
    play.said(Seen(order))
    play.reads(last_cycle=1, open_orders=(order,))
    assert play.waits == "interval"
    return order


def test_a_drain_while_it_waits_ends_at_once_and_names_the_sells_that_rest() -> None:
    play = Play()
    order = resting(play)
    assert play.stops() == []
    assert (play.state.phase, play.state.outcome) == (Phase.DONE, Outcome.STOPPED)
    assert play.state.left_open == (order.order_id,)


def test_a_drain_while_the_guard_is_waited_for_ends_at_once() -> None:
    play = Play()
    play.begins()
    play.denies("DENIED_GUARD", blocking_price="99")
    play.stops()
    assert play.state.phase is Phase.DONE


def test_a_drain_lets_the_buy_fill_until_its_timeout() -> None:
    play = Play()
    play.begins()
    order = play.accepts()
    play.wait(0.5)
    assert not cancels(play.stops())
    play.said(Seen(filled(order)))
    play.reads(last_cycle=1)
    assert play.state.outcome is Outcome.STOPPED


def test_a_drain_cancels_the_buy_at_its_timeout_and_tries_nothing_again() -> None:
    play = Play()
    play.begins()
    order = play.accepts()
    play.stops()
    actions = play.wait(2.01)
    assert cancels(actions)
    play.said(Seen(canceled(order)))
    play.reads(last_cycle=1)
    assert play.state.phase is Phase.DONE
    assert not buys(actions + play.actions)


def test_a_drain_sells_the_residual_before_it_ends() -> None:
    play = Play()
    play.begins()
    order = play.accepts()
    play.stops()
    play.wait(2.01)
    play.said(Seen(canceled(order, "0.1")))
    play.reads(last_cycle=1, uncovered=D("0.1"), average_cost=D("100.5"))
    assert play.asked_sell.purpose is Purpose.RESIDUAL
    play.accepts()
    play.reads(last_cycle=1)
    assert play.state.outcome is Outcome.STOPPED


def test_a_drain_wishes_the_order_in_doubt_gone_and_names_it() -> None:
    play = Play()
    order = in_doubt(order_of(play.begins()))
    play.said(Seen(order))
    assert [(c.order_id, c.role) for c in cancels(play.stops())] == [(order.order_id, LegRole.WORKING)]
    assert play.state.phase is Phase.DONE
    assert (play.state.left_open, play.waits) == ((order.order_id,), "in_doubt")


def test_after_a_stop_an_unanswered_buy_is_looked_up_and_never_sent_again() -> None:
    play = Play()
    asked = play.begins()
    play.loses_the_answer()
    play.stops()
    actions = play.actions + play.wait(0.3)
    assert not places(actions)
    assert Find(request_id=asked.request_id) in actions
    play.said(Missing(asked.request_id))
    play.reads()
    assert play.state.phase is Phase.DONE


def test_after_a_stop_an_unanswered_buy_that_was_placed_is_drained() -> None:
    play = Play()
    asked = play.begins()
    play.stops()
    play.loses_the_answer()
    play.wait(0.3)
    play.said(Seen(accepted(order_of(asked), play.now)))
    assert play.waits == "fill"


def in_phase(play: Play, phase: str) -> tuple[str, ...]:
    """Bring it there; the orders that are out then."""
    if phase == "resting":
        return (resting(play).order_id,)
    if phase == "selling":
        play.reads(last_cycle=1, uncovered=D("0.1"), average_cost=D("100.5"))
        assert play.asked_sell.purpose is Purpose.RESIDUAL
        return ()
    asked = play.begins()
    if phase == "unanswered":
        play.loses_the_answer()
    elif phase == "guard":
        play.denies("DENIED_GUARD", blocking_price="99")
    elif phase in ("submitting", "working", "in_doubt", "cancelling"):
        order = order_of(asked) if phase == "submitting" else accepted(order_of(asked), play.now)
        play.said(Seen(in_doubt(order) if phase == "in_doubt" else order))
        if phase == "cancelling":
            assert cancels(play.wait(float(play.rules.settings.fill_timeout_seconds)))
        return (order.order_id,)
    return ()


def until_it_is_over(play: Play, mode: StopMode) -> tuple[float, list[Action]]:
    """Stop it, and nobody answers any more: the seconds it goes on, to the moment, and what it does."""
    began, actions = play.now, play.stops(mode)
    for _ in range(100):
        if play.state.phase is Phase.DONE:
            break
        assert play.state.wake_at is not None, f"it never wakes: {play.state.waiting}"
        actions += play.wait(max(0.0, play.state.wake_at - play.now))
    assert play.state.phase is Phase.DONE
    return play.now - began, actions


PHASES = "placing unanswered guard submitting working in_doubt cancelling selling resting"


@pytest.mark.parametrize("timeout", ["0.5", "2", "10"])
@pytest.mark.parametrize("mode", list(StopMode))
@pytest.mark.parametrize("phase", PHASES.split())
def test_every_stop_is_over_within_the_fill_timeout_and_a_second(
    mode: StopMode, phase: str, timeout: str
) -> None:
    play = Play(fill_timeout_seconds=D(timeout))
    out = in_phase(play, phase)
    seconds, actions = until_it_is_over(play, mode)
    assert seconds < float(timeout) + 1
    assert not buys(actions)
    assert set(out) <= set(play.state.left_open)
    if phase in ("placing", "unanswered", "selling"):
        assert play.waits == "unanswered"


def test_a_flatten_whose_sale_nobody_answers_is_over_in_time_too() -> None:
    play = Play()
    resting(play)
    play.stops(StopMode.FLATTEN)
    play.wait(2.5)
    play.reads(last_cycle=1, uncovered=D("0.298"), inventory=D("0.298"))
    assert play.asked_sell.purpose is Purpose.FLATTEN
    seconds, _ = until_it_is_over(play, StopMode.FLATTEN)
    assert (2.5 + seconds < 3, play.waits) == (True, "unanswered")


def test_the_last_moment_is_the_fill_timeout_and_less_than_a_second() -> None:
    play = Play()
    play.begins()
    play.stops()
    play.wait(2.7)
    assert play.state.phase is not Phase.DONE
    play.wait(0.25)
    assert (play.state.phase, play.waits) == (Phase.DONE, "unanswered")


def test_a_stop_while_the_order_service_is_gone_asks_again_until_its_last_moment() -> None:
    play = Play()
    play.begins()
    play.said(Seen(filled(play.accepts())))
    play.stops()
    for _ in range(4):
        play.said(Unread(reason="UNAVAILABLE", message="gone", definite=False))
        assert play.state.phase is Phase.RESTING  # a residual may be left to sell
        play.wait(0.6)
    play.wait(0.5)
    assert play.state.phase is Phase.DONE


def test_a_stop_that_is_told_a_definite_no_ends_at_once() -> None:
    play = Play()
    play.begins()
    play.said(Seen(filled(play.accepts())))
    play.stops()
    play.said(Unread(reason="SOMETHING", message="no", definite=True))
    assert play.state.phase is Phase.DONE


@pytest.mark.parametrize("mode", list(StopMode))
def test_a_loop_that_never_read_its_account_goes_on_stopping_until_it_can_name_what_is_open(
    mode: StopMode,
) -> None:
    earlier = Play()
    order = resting(earlier)
    play = Play()
    play.stops(mode)
    for _ in range(20):
        play.said(Unread(reason="UNAVAILABLE", message="gone", definite=False))
        play.wait(1.0)
    assert (play.state.phase, play.waits) == (Phase.RESTING, "order_unreachable")
    play.reads(last_cycle=1, open_orders=(order,))
    if mode is StopMode.DRAIN:
        assert (play.state.phase, cancels(play.actions)) == (Phase.DONE, [])
    else:
        assert [(c.order_id, c.role) for c in cancels(play.actions)] == [(order.order_id, LegRole.PENDING)]
    assert play.state.left_open == (order.order_id,) or play.state.phase is Phase.RESTING


def test_a_stop_of_a_user_whose_credential_is_gone_ends() -> None:
    play = Play()
    play.stops(StopMode.CANCEL)
    play.said(Unread(reason="UNKNOWN_USER", message="no user", definite=True))
    assert play.state.phase is Phase.DONE


@pytest.mark.parametrize("mode", [StopMode.CANCEL, StopMode.FLATTEN])
def test_a_sell_nobody_read_of_yet_is_cancelled_and_named_too(mode: StopMode) -> None:
    play = Play()
    play.begins()
    order = filled(play.accepts())
    play.said(Seen(order))
    actions = play.stops(mode)
    play.said(Unread(reason="UNAVAILABLE", message="gone", definite=False))
    wished = cancels(actions + play.wait(3.0))
    assert [(c.order_id, c.role) for c in wished] == [(order.order_id, LegRole.PENDING)]
    assert play.state.left_open == (order.order_id,)


def test_a_cancel_takes_every_leg_off_the_book() -> None:
    play = Play()
    order = resting(play)
    play.said(Stop(StopMode.CANCEL))
    assert [(c.order_id, c.role) for c in cancels(play.actions)] == [(order.order_id, LegRole.PENDING)]
    assert not cancels(play.wait(0.25))  # wished once
    play.reads(last_cycle=1)
    assert (play.state.phase, play.state.left_open) == (Phase.DONE, ())


def test_a_cancel_takes_the_buy_off_without_waiting_for_its_timeout() -> None:
    play = Play()
    play.begins()
    order = play.accepts()
    assert [c.role for c in cancels(play.stops(StopMode.CANCEL))] == [LegRole.WORKING]
    play.said(Seen(canceled(order)))
    play.reads(last_cycle=1)
    assert play.state.phase is Phase.DONE


def test_a_cancel_that_is_not_confirmed_in_time_names_what_it_leaves() -> None:
    play = Play()
    order = resting(play)
    play.stops(StopMode.CANCEL)
    play.wait(0.25)
    play.reads(last_cycle=1, open_orders=(order,))
    play.wait(3)
    assert (play.state.phase, play.state.left_open) == (Phase.DONE, (order.order_id,))


def test_a_flatten_sells_the_inventory_below_the_market_when_all_is_cancelled() -> None:
    play = Play()
    order = resting(play)
    play.stops(StopMode.FLATTEN)
    play.wait(0.25)
    play.reads(last_cycle=1, uncovered=D("0.298"), inventory=D("0.298"))
    asked = play.asked_sell
    assert (asked.purpose, asked.quantity, asked.price) == (Purpose.FLATTEN, D("0.298"), D("99.50"))
    assert asked.reference is not None
    sold = play.accepts()
    play.reads(last_cycle=1, open_orders=(sold,))
    assert play.waits == "flatten"
    play.said(Seen(filled(sold)))
    play.wait(0.25)
    play.reads(last_cycle=1)
    assert (play.state.phase, play.state.left_open) == (Phase.DONE, ())
    assert order.order_id not in play.state.left_open


def test_a_harder_stop_overrules_a_drain() -> None:
    play = Play()
    play.begins()
    play.accepts()
    play.stops()
    assert cancels(play.stops(StopMode.CANCEL))


def test_a_refused_residual_does_not_keep_the_loop_alive() -> None:
    play = Play()
    play.begins()
    order = play.accepts()
    play.stops()
    play.said(Seen(canceled(order, "0.1")))
    play.reads(last_cycle=1, uncovered=D("0.1"), average_cost=D(100))
    play.said(Seen(rejected(order_of(play.asked_sell))))
    play.reads(last_cycle=1, uncovered=D("0.1"), average_cost=D(100))
    assert play.state.phase is Phase.DONE


def test_a_loop_that_is_done_says_nothing_more() -> None:
    play = Play()
    order = resting(play)
    play.stops()
    assert play.said(Seen(canceled(order))) == []
    assert play.wait(100) == []

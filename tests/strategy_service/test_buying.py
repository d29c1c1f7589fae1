"""While a BUY is out: its timeout, the ladder, what is unknown, what a crash leaves behind."""

from decimal import Decimal as D

import msgspec
import pytest

from otopilot.order import LegRole, LegStatus, Order
from strategy_service.state import Condition, Find, Missing, Phase, PlaceOto, Read, Seen, Woke
from tests.strategy_service.builders import accepted, canceled, filled, in_doubt, order_of, quote
from tests.strategy_service.play import Play, buys, cancels, finds, places


def miss(play: Play, bought: str = "0") -> Order:
    """The BUY that is asked for is taken, misses its timeout, and its cancel is confirmed."""
    order = play.accepts()
    play.wait(2.01)
    order = canceled(order, bought)
    play.said(Seen(order))
    return order


def test_the_timeout_counts_from_the_venues_acceptance() -> None:
    play = Play()
    asked = play.begins()
    play.now += 0.7  # the answer took so long; the venue accepted 0.5 s ago
    play.said(Seen(accepted(order_of(asked, seconds=1000), 1000.2)))
    assert not cancels(play.wait(1.45))
    assert [(c.role, c.reason) for c in cancels(play.wait(0.1))] == [(LegRole.WORKING, "fill timeout")]
    assert play.now - 1000.2 == pytest.approx(2.05)


def test_a_venue_whose_clock_is_behind_leaves_the_buy_its_time() -> None:
    play = Play()
    asked = play.begins()
    play.now += 0.5
    play.said(Seen(accepted(order_of(asked, seconds=1000), 995)))
    assert not cancels(play.wait(1.4))
    assert cancels(play.wait(0.2))


def test_a_missed_buy_is_tried_one_step_higher_with_a_fresh_price() -> None:
    play = Play()
    play.begins()
    miss(play)
    play.price = "100.10"
    play.reads(last_cycle=1)
    asked = play.asked_buy
    assert (asked.request_id, asked.step) == ("s/1/1/1", 1)
    assert asked.working_price == D("100.80")  # 100.10 x 1.007
    assert asked.min_working_price == D("100.51")  # a tick above the one that missed


def test_the_last_of_five_re_tries_ends_the_round_with_its_reason() -> None:
    play = Play()
    play.begins()
    steps = []
    for _ in range(6):
        steps.append(play.asked_buy.step)
        miss(play)
        play.reads(last_cycle=1)
    assert steps == [0, 1, 2, 3, 4, 5]
    assert (play.state.last_round, play.state.cycles) == ("missed", 1)
    assert play.asked_buy.request_id == "s/1/2/0"


def test_after_a_partial_fill_only_the_remainder_is_tried_again() -> None:
    play = Play()
    play.begins()
    order = miss(play, bought="0.1")
    assert order.working.filled_quote == D("10.05")
    play.reads(last_cycle=1)
    assert play.asked_buy.quantity == D("0.198")  # 19.95 USDT at 100.70
    assert play.asked_buy.step == 1


def test_partial_fills_add_up_over_the_tries_of_a_round() -> None:
    play = Play()
    play.begins()
    first = miss(play, bought="0.1")
    play.reads(last_cycle=1)
    second = miss(play, bought="0.1")
    play.reads(last_cycle=1)
    left = 30 - first.working.filled_quote - second.working.filled_quote
    assert play.asked_buy.quantity == (left / D("100.90")).quantize(D("0.001"), rounding="ROUND_DOWN")


def test_what_a_round_bought_is_told_again_when_its_trades_have_come() -> None:
    play = Play()
    play.begins()
    order = play.accepts()
    done = filled(order)
    untraded = msgspec.structs.replace(done.working, filled_quantity=D(0), filled_quote=D(0))
    early = msgspec.structs.replace(done, legs=(untraded, *done.legs[1:]))  # a push, before the trades
    play.said(Seen(early))
    assert [(end.cycle, end.bought) for end in play.rounds] == [(1, 0)]
    late = msgspec.structs.replace(done, version=early.version + 1)
    play.said(Seen(late))
    again = play.rounds[-1]
    assert (again.cycle, again.bought, again.amends) == (1, done.working.filled_quote, True)
    play.reads(last_cycle=1, cycle_orders=(late,))
    assert len(play.rounds) == 2  # once is enough


def test_a_remainder_below_the_smallest_order_ends_the_round() -> None:
    play = Play()
    play.begins()
    miss(play, bought="0.26")
    play.reads(last_cycle=1)
    assert play.state.last_round == "partial"
    play.reads(last_cycle=1)
    assert play.asked_buy.request_id == "s/1/2/0"


def test_a_remainder_whose_sell_the_filters_refuse_ends_the_round() -> None:
    play = Play()
    play.begins()
    miss(play, bought="0.1")
    play.reads(last_cycle=1)
    play.denies("DENIED_FILTER")
    play.reads(last_cycle=1)
    assert play.state.last_round == "partial"
    assert play.asked_buy.request_id == "s/1/2/0"


def test_a_partly_filled_buy_is_settled_before_anything_follows() -> None:
    play = Play()
    play.begins()
    order = play.accepts()
    play.wait(2.01)
    ended = canceled(order, "0.1")
    behind = filled_behind(ended)
    assert not places(play.said(Seen(behind)))
    assert play.waits == "settling_order"
    assert play.said(Seen(ended)) == [Read()]


def filled_behind(order: Order) -> Order:
    """The venue told of the fill, the trade is not in the ledger yet."""
    leg = msgspec.structs.replace(order.working, filled_quantity=D(0), filled_quote=D(0))
    return msgspec.structs.replace(order, legs=(leg, *order.legs[1:]))


def test_a_buy_that_fills_while_it_is_being_cancelled_is_a_filled_round() -> None:
    play = Play()
    play.begins()
    order = play.accepts()
    assert cancels(play.wait(2.01))
    play.said(Seen(filled(order)))
    assert play.state.last_round == "filled"


def test_a_cancel_is_wished_again_until_the_order_says_so() -> None:
    play = Play()
    play.begins()
    play.accepts()
    actions = play.wait(5.05)
    assert len(cancels(actions)) == 4  # at 2, 3, 4 and 5 s
    assert len(buys(actions)) == 0


def test_a_buy_nobody_tells_of_is_asked_for_every_second() -> None:
    play = Play(fill_timeout_seconds=D(10))
    play.begins()
    order = play.accepts()
    assert finds(play.wait(3.05)) == [Find(order_id=order.order_id)] * 3


def test_old_news_of_an_order_changes_nothing() -> None:
    play = Play()
    asked = play.begins()
    before = order_of(asked)
    after = filled(accepted(before))
    play.said(Seen(accepted(before)))
    play.said(Seen(after))
    state = play.state
    play.said(Seen(before))
    play.said(Seen(accepted(before)))
    assert play.state == state


def test_a_push_that_overtakes_the_answer_is_the_answer() -> None:
    play = Play()
    asked = play.begins()
    play.said(Seen(filled(accepted(order_of(asked)))))
    assert play.state.last_round == "filled"
    play.reads(last_cycle=1)
    play.said(Seen(order_of(asked)))
    assert (play.waits, play.state.cycles) == ("interval", 1)


def test_an_order_in_doubt_holds_the_loop_and_never_becomes_a_second_buy() -> None:
    play = Play()
    asked = play.begins()
    play.said(Seen(in_doubt(order_of(asked))))
    assert (play.waits, play.state.waiting.condition) == ("in_doubt", Condition.BLOCKED)
    actions = play.wait(60)
    assert not places(actions)
    assert not cancels(actions)
    play.said(Seen(filled(accepted(in_doubt(order_of(asked)), play.now))))
    assert play.state.last_round == "filled"


@pytest.mark.parametrize("times", [1, 5])
def test_a_lost_answer_is_asked_again_with_the_same_id_and_content(times: int) -> None:
    play = Play()
    asked = play.begins()
    for _ in range(times):
        play.loses_the_answer()
        assert (play.waits, play.state.waiting.condition) == ("order_unreachable", Condition.BLOCKED)
        play.price = "107"
        assert places(play.wait(0.3)) == [asked]
    play.accepts()
    assert play.state.phase is Phase.WORKING


def test_a_definite_no_after_a_lost_answer_lets_the_content_change() -> None:
    play = Play()
    first = play.begins()
    play.loses_the_answer()
    play.wait(0.3)
    play.price = "101"
    play.denies("DENIED_PRICE_AGE")
    again = buys(play.wait(0.15))
    assert [a.request_id for a in again] == [first.request_id]
    assert again[0].working_price == D("101.50")


def test_a_used_request_id_is_read_and_gone_on_with() -> None:
    play = Play()
    asked = play.begins()
    assert play.denies("REQUEST_REUSED", order_id="x") == [Find(request_id=asked.request_id)]
    play.said(Seen(accepted(order_of(asked), play.now)))
    assert (play.state.phase, play.waits) == (Phase.WORKING, "fill")


def test_a_used_request_id_that_nobody_has_is_asked_again() -> None:
    play = Play()
    asked = play.begins()
    play.denies("REQUEST_REUSED")
    assert not places(play.said(Missing(asked.request_id)))
    assert places(play.wait(0.3)) == [asked]


def test_a_guard_that_would_only_repeat_the_missed_price_ends_the_round() -> None:
    play = Play()
    play.begins()
    miss(play)
    play.reads(last_cycle=1)
    play.denies("DENIED_GUARD", blocking_price="100.51")  # a tick under it is what missed
    assert play.state.last_round == "guard"


def test_a_guard_that_leaves_room_above_the_missed_price_is_waited_for() -> None:
    play = Play()
    play.begins()
    miss(play)
    play.price = "101"
    play.reads(last_cycle=1)
    play.denies("DENIED_GUARD", blocking_price="100.60")
    assert (play.waits, play.state.round_open) == ("guard", True)


def test_a_re_try_at_or_below_the_missed_price_is_not_sent() -> None:
    play = Play()
    play.begins()
    miss(play)
    play.price = "99"
    play.reads(last_cycle=1)
    assert play.state.last_round == "price_fell"


def test_a_buy_the_venue_ended_by_itself_is_tried_again_on_the_same_step() -> None:
    play = Play()
    play.begins()
    play.said(Seen(canceled(play.accepts(), status=LegStatus.EXPIRED)))
    play.reads(last_cycle=1)
    assert (play.asked_buy.request_id, play.asked_buy.step) == ("s/1/1/1", 0)


# ------------------------------------------------------------------ after a crash


def crashed(play: Play) -> Play:
    """The same user in a new process, some time later; nothing of the old state is left."""
    after = Play(play.rules)
    after.now = play.now + 0.5
    after.state = type(after.state)(slot=after.now)
    after.said(Woke())
    return after


def test_killed_before_the_placement_was_journaled_the_cycle_is_begun_anew() -> None:
    play = Play()
    first = play.begins()
    again = crashed(play)
    again.reads()
    assert again.asked_buy.request_id == first.request_id


def test_killed_with_a_buy_on_the_book_it_waits_for_the_rest_of_its_timeout() -> None:
    play = Play()
    play.begins()
    order = play.accepts()
    again = crashed(play)
    again.reads(last_cycle=1, cycle_orders=(order,), open_orders=(order,))
    assert (again.state.phase, again.waits) == (Phase.WORKING, "fill")
    assert not cancels(again.wait(1.45))
    assert cancels(again.wait(0.1))


def test_killed_with_an_order_in_doubt_it_waits_for_that_order() -> None:
    play = Play()
    order = in_doubt(order_of(play.begins()))
    again = crashed(play)
    again.reads(last_cycle=1, cycle_orders=(order,), open_orders=(order,))
    assert again.waits == "in_doubt"
    assert not places(again.wait(30))


def test_killed_while_cancelling_the_remainder_is_tried_one_step_higher() -> None:
    play = Play()
    play.begins()
    order = play.accepts()
    play.wait(2.01)
    again = crashed(play)
    again.reads(last_cycle=1, cycle_orders=(order,), open_orders=(order,))
    assert cancels(again.actions)  # the timeout has passed
    again.said(Seen(canceled(order, "0.1")))
    again.reads(last_cycle=1, cycle_orders=(canceled(order, "0.1"),))
    assert (again.asked_buy.request_id, again.asked_buy.step) == ("s/1/1/1", 1)
    assert again.asked_buy.quantity == D("0.198")


def test_killed_between_two_tries_what_was_filled_in_the_cycle_is_remembered() -> None:
    play = Play()
    play.begins()
    first = miss(play, "0.1")
    play.reads(last_cycle=1)
    second = play.accepts()
    again = crashed(play)
    again.reads(last_cycle=1, cycle_orders=(first, second), open_orders=(second,))
    assert (again.state.spent, again.state.step) == (D("10.05"), 1)


def test_killed_after_the_end_of_a_round_the_next_cycle_follows() -> None:
    play = Play()
    play.begins()
    done = filled(play.accepts())
    again = crashed(play)
    again.reads(last_cycle=1, cycle_orders=(done,), open_orders=(done,))
    assert again.asked_buy.request_id == "s/1/2/0"


def test_every_placement_carries_a_price_that_was_fresh() -> None:
    play = Play()
    asked = play.begins()
    assert isinstance(asked, PlaceOto)
    assert asked.reference == quote("100", 1000.0)

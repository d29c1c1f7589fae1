"""What the programs before this one did wrong: each has its test, which would fail on it."""

from decimal import Decimal as D

import msgspec

from otopilot.order import LegRole
from strategy_service.reasons import Reason, RoundResult
from strategy_service.state import Phase, Seen, Unread
from tests.strategy_service.builders import canceled, filled, standing, volume
from tests.strategy_service.play import Play, cancels, places


def test_a_buy_that_timed_out_is_cancelled_before_anything_else_is_placed() -> None:
    play = Play()
    play.begins()
    order = play.accepts()
    actions = play.wait(2.1)
    assert [(c.order_id, c.role) for c in cancels(actions)] == [(order.order_id, LegRole.WORKING)]
    assert places(play.wait(30)) == []  # not before its end is certain
    play.said(Seen(canceled(order)))
    play.reads()
    assert play.asked_buy.step == 1


def test_a_first_partial_fill_is_not_taken_as_final() -> None:
    play = Play()
    asked = play.begins()
    order = play.accepts()
    leg = msgspec.structs.replace(
        order.working,
        filled_quantity=D("0.1"),
        reported_quantity=D("0.1"),
        filled_quote=D("0.1") * order.working.price,
    )
    part = msgspec.structs.replace(order, legs=(leg, *order.legs[1:]), version=order.version + 1)
    assert play.said(Seen(part)) == []
    assert (play.state.phase, play.state.round_open) == (Phase.WORKING, True)
    play.said(Seen(filled(part)))
    assert play.rounds[0].result is RoundResult.FILLED
    assert play.rounds[0].bought == asked.quantity * asked.working_price


def test_a_volume_that_could_not_be_read_is_not_zero_and_nothing_is_placed_on_it() -> None:
    play = Play()
    play.begins()
    play.said(Seen(filled(play.accepts())))
    for _ in range(5):
        play.said(Unread(reason="UNAVAILABLE", message="gone", definite=False))
        assert places(play.wait(1.0)) == []
    assert play.waits == Reason.ORDER_UNREACHABLE
    play.said(standing("990", "1000", last_cycle=1))
    play.wait(1.0)
    assert play.asked_buy.quantity * play.asked_buy.working_price <= 10  # by what was counted


def test_a_member_whose_history_is_unread_places_nothing_whatever_the_sum_says() -> None:
    play = Play()
    play.reads(counted="100", complete=False)
    assert (play.waits, play.state.asked) == (Reason.HISTORY_UNREAD, None)
    assert not volume("100", complete=False).complete

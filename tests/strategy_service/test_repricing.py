"""SELLs that did not fill in time go back one step lower, at most once, and never below their floor."""

from decimal import Decimal as D

import msgspec
import pytest

from otopilot.order import CancelWish, LegRole, LegStatus, Order, Purpose
from strategy_service.prices import repriced
from strategy_service.state import Cancel, Phase, Read, Seen
from tests.strategy_service.builders import KOGE, at, canceled, filled, user_settings
from tests.strategy_service.play import Play, cancels, places

SETTINGS = {"sell_timeout_seconds": D(10), "trade_interval_seconds": D(5)}


def sell_canceled(order: Order, seconds: float, sold: str = "0") -> Order:
    """The SELL of a filled OTO ended with that much sold."""
    sell = order.legs[-1]
    ended = msgspec.structs.replace(
        sell,
        status=LegStatus.CANCELED,
        reported_quantity=D(sold),
        filled_quantity=D(sold),
        filled_quote=D(sold) * sell.price,
    )
    wish = CancelWish(sell.role, "reprice", at(seconds))
    return msgspec.structs.replace(
        order,
        legs=(*order.legs[:-1], ended),
        wishes=(wish,),
        version=order.version + 1,
        updated_at=at(seconds),
    )


def due(play: Play) -> Order:
    """A filled round whose SELL has rested for its time; the loop stands before the next round."""
    play.begins()
    order = filled(play.accepts())
    play.said(Seen(order))
    play.now += 11
    play.reads(last_cycle=1, cycle_orders=(order,), open_orders=(order,))
    return order


def test_a_sell_that_rests_longer_than_its_time_is_cancelled_alone() -> None:
    play = Play(**SETTINGS)
    order = due(play)
    assert play.actions == [Cancel(order.order_id, LegRole.PENDING, "reprice", D("101.31"))]
    assert play.waits == "reprice"


def test_it_goes_back_one_step_lower_as_the_next_placement_of_the_cycle() -> None:
    play = Play(**SETTINGS)
    order = due(play)
    assert play.said(Seen(sell_canceled(order, play.now, "0.1"))) == [Read(with_recent=False)]
    play.reads(last_cycle=1, uncovered=D("0.198"), average_cost=D("100.5"))
    asked = play.asked_sell
    assert (asked.purpose, asked.step, asked.request_id) == (Purpose.REPRICE, 1, "s/1/1/1")
    assert (asked.quantity, asked.price) == (D("0.198"), D("101.31"))  # 101.51 less 0.2 %
    play.accepts()
    play.reads(last_cycle=1)
    assert play.asked_buy.request_id == "s/1/2/0"


def test_it_is_woken_when_the_first_sell_is_due() -> None:
    play = Play(sell_timeout_seconds=D(10), trade_interval_seconds=D(60))
    play.begins()
    order = filled(play.accepts())
    play.said(Seen(order))
    play.reads(last_cycle=1, open_orders=(order,))
    assert play.waits == "interval"
    assert play.state.wake_at == 1010.0


def test_a_sell_that_fills_while_it_is_being_cancelled_is_sold() -> None:
    play = Play(**SETTINGS)
    order = due(play)
    sold = msgspec.structs.replace(order.legs[1], status=LegStatus.FILLED)
    sold = msgspec.structs.replace(
        sold, reported_quantity=sold.quantity, filled_quantity=sold.quantity, filled_quote=D(30)
    )
    play.said(Seen(msgspec.structs.replace(order, legs=(order.legs[0], sold), version=99)))
    play.reads(last_cycle=1)
    assert play.state.repricing is None
    assert play.asked_buy


def test_an_unanswered_cancel_is_wished_again_and_no_buy_is_placed_meanwhile() -> None:
    play = Play(**SETTINGS)
    due(play)
    actions = play.wait(3.05)
    assert len(cancels(actions)) == 3
    assert not places(actions)


def test_the_guard_is_asked_again_for_the_lower_price() -> None:
    play = Play(**SETTINGS)
    order = due(play)
    play.said(Seen(sell_canceled(order, play.now)))
    play.reads(last_cycle=1, uncovered=D("0.298"), average_cost=D("100.5"))
    play.denies("DENIED_GUARD", blocking_price="101.4")
    assert [p.request_id for p in places(play.wait(0.25))] == ["s/1/1/1"]


def test_a_stop_puts_the_sell_back_before_it_ends() -> None:
    play = Play(**SETTINGS)
    order = due(play)
    play.stops()
    play.said(Seen(sell_canceled(order, play.now)))
    play.reads(last_cycle=1, uncovered=D("0.298"), average_cost=D("100.5"))
    assert play.asked_sell.purpose is Purpose.REPRICE
    play.accepts()
    play.reads(last_cycle=1)
    assert play.state.phase is Phase.DONE


def test_killed_between_cancel_and_placement_the_step_is_read_from_the_journal() -> None:
    play = Play(**SETTINGS)
    order = sell_canceled(due(play), play.now)
    again = Play(**SETTINGS)
    again.now = play.now + 1
    assert again.actions == [Read(with_recent=True)]
    where = {"last_cycle": 1, "uncovered": D("0.298"), "average_cost": D("100.5")}
    again.reads(recent=(order,), **where)
    asked = again.asked_sell
    assert (asked.purpose, asked.step, asked.price) == (Purpose.REPRICE, 1, D("101.31"))


def test_killed_after_the_placement_it_is_not_put_back_twice() -> None:
    play = Play(**SETTINGS)
    order = sell_canceled(due(play), play.now)
    play.said(Seen(order))
    play.reads(last_cycle=1, uncovered=D("0.298"), average_cost=D("100.5"))
    back = play.accepts()
    again = Play(**SETTINGS)
    again.now = play.now + 1
    again.reads(last_cycle=1, recent=(back, order), open_orders=(back,))
    assert again.state.repricing is None


@pytest.mark.parametrize(
    ("price", "expected"),
    [("101.51", D("101.31")), ("98.60", D("98.49")), ("98.49", None), ("90", None)],
)
def test_the_floor_is_the_discount_from_what_was_paid(price: str, expected: D | None) -> None:
    order = filled(bought(price))
    found = repriced(order, None, user_settings(), KOGE)
    assert (found[0] if found else None) == expected


def bought(price: str) -> Order:
    play = Play()
    play.begins()
    order = play.accepts()
    sell = msgspec.structs.replace(order.legs[1], price=D(price))
    return msgspec.structs.replace(order, legs=(order.legs[0], sell))


def test_a_cancelled_buys_sell_is_nobodys_to_reprice() -> None:
    play = Play(**SETTINGS)
    play.begins()
    order = canceled(play.accepts())
    play.said(Seen(order))
    play.now += 20
    play.reads(last_cycle=1, open_orders=(order,))
    assert not cancels(play.actions)

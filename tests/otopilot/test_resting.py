"""Orders that rest are converted once, and never told as they were when they have changed."""

import msgspec
import pytest

from otopilot import wire
from otopilot.order import Order, OrderId
from otopilot.position import Position, User, UserState
from otopilot.wire import resting
from protos import order_pb2 as pb
from tests.otopilot.orders import oto


def position(*open_orders: Order) -> Position:
    user = User(user_id=open_orders[0].user_id, venue=open_orders[0].venue, state=UserState.READY)
    return Position(user=user, open_orders=open_orders)


def test_an_order_that_did_not_change_is_the_same_object_after_every_reading() -> None:
    order = oto()
    first, second = (
        wire.position_from_pb(
            pb.Position.FromString(wire.position_to_pb(position(order)).SerializeToString())
        )
        for _ in range(2)
    )
    assert first.open_orders == (order,)
    assert second.open_orders[0] is first.open_orders[0]


def test_a_change_is_told_at_once_and_both_ways() -> None:
    order = oto()
    before = wire.position_from_pb(wire.position_to_pb(position(order)))
    changed = msgspec.structs.replace(order, step=order.step + 1)  # whatever it is, also the same version
    after = wire.position_from_pb(wire.position_to_pb(position(changed)))
    assert (before.open_orders, after.open_orders) == ((order,), (changed,))


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resting, "MOST_KEPT", 10)
    for number in range(100):
        order = msgspec.structs.replace(oto(), order_id=OrderId(f"{number:016}"))
        assert resting.resting_from_pb(resting.resting_to_pb(order)) == order
        assert len(resting._told) <= 10
        assert len(resting._read) <= 10

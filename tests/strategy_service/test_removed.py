"""Whom a reload removed: left to wind down, shown, asked about and stopped meanwhile."""

from decimal import Decimal as D

import pytest

from otopilot.order import LegRole
from otopilot.rpc import Fault
from strategy_service.config import TradingConfig
from strategy_service.state import StopMode
from strategy_service.status import UserState
from tests.strategy_service.builders import strategy, trading
from tests.strategy_service.test_supervisor import FAST, Make, states

SLOW = {"target": "100000", "fill_timeout_seconds": D(60)}


async def test_a_removed_user_is_shown_while_it_winds_down_and_its_order_is_left_alone(desk: Make) -> None:
    d = desk(strategy(users=("1", "2"), target="100000", fill_timeout_seconds=D(1)))
    d.orders.fill_seconds = None
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: len(d.orders.buys()) == 2)
    d.configure(trading(strategy(users=("1",), target="100000", fill_timeout_seconds=D(1)), revision="r2"))
    d.manager.reload = lambda: None
    d.supervisor.reload()
    status = d.supervisor.status("s")
    assert [(user.user_id, user.state, user.leaving) for user in status.users] == [
        ("1", UserState.RUNNING, False),
        ("2", UserState.STOPPING, True),
    ]
    assert list(status.seven()["user_volumes"]) == ["1"]  # type: ignore[call-overload]
    assert not d.orders.canceled  # until its timeout
    await d.until(lambda: len(d.supervisor.status("s").users) == 1)
    assert len(d.orders.buys("2")) == 1


async def test_a_strategy_that_leaves_the_file_drains(desk: Make) -> None:
    d = desk(strategy(target="100000", **FAST), strategy("t", users=("2",), target="100000", **FAST))
    await d.supervisor.open()
    await d.supervisor.start()
    await d.until(lambda: len(d.orders.buys("2")) >= 2)
    d.configure(trading(strategy(target="100000", **FAST), revision="r2"))
    await d.until(lambda: not d.supervisor.status("t").is_running)
    assert d.supervisor.status("s").is_running


@pytest.mark.parametrize(
    "kept",
    [
        pytest.param(trading(strategy(users=("1",), **SLOW), revision="r2"), id="removed from its strategy"),
        pytest.param(trading(strategy("t", users=("1",), **SLOW), revision="r2"), id="with its strategy"),
    ],
)
async def test_a_removed_user_is_stopped_without_naming_its_strategy(desk: Make, kept: TradingConfig) -> None:
    d = desk(strategy(users=("1", "2"), **SLOW))
    d.orders.fill_seconds = None
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: len(d.orders.buys()) == 2)
    d.configure(kept)
    d.manager.reload = lambda: None
    d.supervisor.reload()
    assert states(d.supervisor)["2"] is UserState.STOPPING
    (told,) = d.supervisor.explain(user_id="2")
    assert told.status.user_id == "2"
    assert [each.strategy_id for each in await d.supervisor.stop("", "2", StopMode.CANCEL)] == ["s"]
    assert [role for order_id, role, _ in d.orders.canceled if d.orders.orders[order_id].user_id == "2"] == [
        LegRole.WORKING
    ]
    assert [order.is_over for order in d.orders.orders.values() if order.user_id == "2"] == [True]
    with pytest.raises(Fault, match="no strategy lists user '9'"):
        await d.supervisor.stop("", "9")

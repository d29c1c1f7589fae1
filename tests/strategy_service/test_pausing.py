"""A pause holds back new BUYs and nothing else, and outlives the process."""

import asyncio
from decimal import Decimal as D

import grpc
import pytest

from otopilot.order import LegRole
from otopilot.rpc import Fault
from strategy_service.reasons import Reason, RoundResult
from strategy_service.state import Condition, Pause, Phase, Read, Seen
from strategy_service.status import UserState
from tests.strategy_service.builders import canceled, filled, standing, strategy
from tests.strategy_service.play import Play, buys, cancels
from tests.strategy_service.test_supervisor import FAST, Make, states

# ------------------------------------------------------------------ one loop


def test_a_paused_loop_places_nothing_and_goes_on_when_it_is_resumed() -> None:
    play = Play()
    play.said(Pause(paused=True))
    play.reads()
    assert (play.waits, play.state.waiting.condition) == (Reason.PAUSED, Condition.PAUSED)
    for _ in range(5):
        assert buys(play.wait(10.0)) == []
        play.reads()
    assert play.said(Pause(paused=False)) == [Read()]
    play.reads()
    assert play.state.phase is Phase.PLACING


def test_a_buy_that_is_out_may_fill_and_is_cancelled_at_its_timeout_but_not_tried_again() -> None:
    play = Play()
    play.begins()
    order = play.accepts()
    assert play.said(Pause(paused=True)) == []
    (cancel,) = cancels(play.wait(2.1))
    assert cancel.role is LegRole.WORKING
    play.said(Seen(canceled(order)))
    play.reads()
    play.reads()
    assert (play.waits, play.state.last_round) == (Reason.PAUSED, RoundResult.PAUSED)
    assert not play.state.round_open


def test_a_pause_keeps_no_residual_from_being_sold() -> None:
    play = Play()
    play.begins()
    order = play.accepts()
    play.said(Pause(paused=True))
    play.said(Seen(filled(order)))
    play.reads(uncovered=D("0.1"), inventory=D("0.1"), average_cost=D(100))
    assert play.asked_sell.quantity == D("0.1")


def test_the_target_ends_a_paused_loop() -> None:
    play = Play()
    play.said(Pause(paused=True))
    play.said(standing("1000", "1000"))
    assert play.state.phase is Phase.DONE


# ------------------------------------------------------------------ the service


async def test_one_user_is_paused_and_resumed_and_the_others_go_on(desk: Make) -> None:
    d = desk(strategy(users=("1", "2"), target="100000", **FAST))
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: len(d.orders.buys("1")) >= 2)
    d.supervisor.pause("s", "1", paused=True)
    await d.until(lambda: states(d.supervisor) == {"1": UserState.PAUSED, "2": UserState.RUNNING})
    one, two = len(d.orders.buys("1")), len(d.orders.buys("2"))
    await d.until(lambda: len(d.orders.buys("2")) >= two + 5)
    assert len(d.orders.buys("1")) == one
    d.supervisor.pause("s", "1", paused=False)
    await d.until(lambda: len(d.orders.buys("1")) >= one + 2)


async def test_a_pause_survives_a_restart_and_a_new_run_forgets_it(desk: Make) -> None:
    d = desk(strategy(users=("1", "2"), target="100000", **FAST))
    await d.supervisor.open()
    await d.supervisor.start("s")
    d.supervisor.pause("s", paused=True)
    await d.supervisor.aclose()
    placed = len(d.orders.buys())
    async with d.another() as again:
        await d.until(lambda: states(again) == {"1": UserState.PAUSED, "2": UserState.PAUSED})
        await asyncio.sleep(0.2)
        assert len(d.orders.buys()) == placed
        again.pause("s", "2", paused=False)  # one of those that were paused together
        await d.until(lambda: bool(d.orders.buys("2")[placed:]) or len(d.orders.buys()) > placed)
        assert states(again)["1"] is UserState.PAUSED
        await again.stop("s")
        await again.start("s")
        one = len(d.orders.buys("1"))
        await d.until(lambda: len(d.orders.buys("1")) > one)


async def test_a_paused_users_place_goes_to_one_who_waits_and_is_asked_for_at_the_resume(
    desk: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strategy_service.user_run._BLOCKED_SECONDS", 0.2)
    d = desk(strategy(users=("1", "2"), target="100000", **FAST), places=1)
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: bool(d.orders.buys("1")))
    d.supervisor.pause("s", "1", paused=True)
    await d.until(lambda: bool(d.orders.buys("2")))
    assert states(d.supervisor) == {"1": UserState.PAUSED, "2": UserState.RUNNING}
    d.supervisor.pause("s", "1", paused=False)
    assert states(d.supervisor)["1"] is UserState.QUEUED
    placed = len(d.orders.buys("1"))
    d.supervisor.pause("s", "2", paused=True)
    await d.until(lambda: len(d.orders.buys("1")) > placed)


async def test_what_does_not_run_cannot_be_paused(desk: Make) -> None:
    d = desk(strategy())
    await d.supervisor.open()
    with pytest.raises(Fault) as caught:
        d.supervisor.pause("s", paused=True)
    assert (caught.value.code, caught.value.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NOT_RUNNING")

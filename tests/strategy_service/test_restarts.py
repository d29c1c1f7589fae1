"""What a process that dies, a loop that crashes and a service that is gone leave behind."""

import asyncio
from decimal import Decimal as D

import pytest

from otopilot.order import LegRole
from strategy_service.state import PlaceOto, PlaceSell, Rules
from strategy_service.status import UserState
from tests.strategy_service.builders import strategy, trading
from tests.strategy_service.test_supervisor import FAST, Make, reasons, states


async def test_one_users_crash_never_delays_another_and_it_starts_again(desk: Make) -> None:
    d = desk(strategy(users=("1", "2"), target="100000", trade_interval_seconds=D("0.1")))
    crashes = 0

    def crash(asked: PlaceOto | PlaceSell, rules: Rules) -> None:
        nonlocal crashes
        if rules.user_id == "2" and crashes < 1:
            crashes += 1
            raise RuntimeError("boom")

    d.orders.on_place = crash
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: states(d.supervisor)["2"] is UserState.BLOCKED)
    assert reasons(d.supervisor)["2"] == "crashed"
    await d.until(lambda: len(d.orders.starts("1")) >= 8)
    starts = d.orders.starts("1")
    assert starts[7] - starts[0] == pytest.approx(0.7, abs=0.05)
    await d.until(lambda: bool(d.orders.buys("2")))


async def test_killed_and_started_again_the_run_goes_on_without_a_person(desk: Make) -> None:
    d = desk(strategy(users=("1", "2"), target="300", **FAST))
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: len(d.orders.buys()) >= 3)
    await d.supervisor.aclose()  # without a stop: as good as killed
    async with d.another() as again:
        await d.until(lambda: not again.status("s").is_running)
        ids = [asked.request_id for asked in d.orders.buys()]
        assert len(ids) == len(set(ids))
        total = d.orders.counted("1") + d.orders.counted("2")
        assert 300 <= total <= D("305.2")
    async with d.another() as third:
        await asyncio.sleep(0.3)
        assert not third.status("s").is_running  # a reached run stays finished
        assert states(third) == {"1": UserState.REACHED, "2": UserState.REACHED}


async def test_killed_while_it_drains_the_drain_is_finished_after_the_restart(desk: Make) -> None:
    d = desk(strategy(target="100000", trade_interval_seconds=D("0.05"), fill_timeout_seconds=D(1)))
    d.orders.fill_seconds = None
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: len(d.orders.buys()) == 1)
    await d.supervisor.stop("s", wait=False)
    await d.supervisor.aclose()
    async with d.another() as again:
        await d.until(lambda: states(again) == {"1": UserState.STOPPED})
    assert [(role, reason) for _, role, reason in d.orders.canceled] == [(LegRole.WORKING, "stop")]
    assert len(d.orders.buys()) == 1


async def test_a_lost_run_table_does_not_keep_a_scope_from_being_written(desk: Make) -> None:
    d = desk(strategy(target="100000", **FAST))
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.supervisor.stop("s")
    (known,) = d.orders.scopes.values()
    e = desk(strategy(target="200000", **FAST))
    e.orders.scopes[known.scope_id] = known
    await e.supervisor.open()
    await e.supervisor.start("s")
    assert (e.orders.scopes[known.scope_id].target, e.orders.scopes[known.scope_id].revision) == (200000, 2)


async def test_a_stop_while_the_services_are_down_is_done_when_they_are_back(desk: Make) -> None:
    d = desk(strategy(target="100000", trade_interval_seconds=D("0.05"), fill_timeout_seconds=D(1)))
    d.orders.fill_seconds = None
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: len(d.orders.buys()) == 1)
    await d.supervisor.aclose()
    d.orders.down = True
    async with d.another() as again:
        statuses = await again.stop("s")
        assert statuses[0].is_running  # its open BUY is still to be wound down
        assert states(again)["1"] is UserState.BLOCKED
        d.orders.down = False
        await d.until(lambda: states(again) == {"1": UserState.STOPPED}, seconds=8)
    assert [role for _, role, _ in d.orders.canceled] == [LegRole.WORKING]
    assert len(d.orders.buys()) == 1


async def test_a_user_added_to_a_finished_run_does_not_start_with_the_process(desk: Make) -> None:
    d = desk(strategy(target="60", **FAST))
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: not d.supervisor.status("s").is_running)
    await d.supervisor.aclose()
    d.configure(trading(strategy(users=("1", "2"), target="100000", **FAST)))
    async with d.another() as again:
        await d.until(lambda: len(again.status("s").users) == 2)
        await asyncio.sleep(0.3)
        assert states(again) == {"1": UserState.REACHED, "2": UserState.STOPPED}
    assert not d.orders.buys("2")


async def test_a_run_disabled_while_no_service_ran_drains_at_the_next_start(desk: Make) -> None:
    d = desk(strategy(target="100000", **FAST))
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: len(d.orders.buys()) >= 2)
    await d.supervisor.aclose()
    d.configure(trading(strategy(target="100000", enabled=False, **FAST)))
    async with d.another() as again:
        await d.until(lambda: states(again) == {"1": UserState.STOPPED})


async def test_five_crashes_need_a_person(desk: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("strategy_service.user_run._MOST_BACKOFF_SECONDS", 0.01)
    d = desk(strategy(target="100000", **FAST))

    def crash(asked: PlaceOto | PlaceSell, rules: Rules) -> None:
        raise RuntimeError("boom")

    d.orders.on_place = crash
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: states(d.supervisor)["1"] is UserState.NEEDS_PERSON)
    assert "RuntimeError: boom" in d.supervisor.status("s").users[0].reason
    d.orders.on_place = lambda asked, rules: None
    await d.supervisor.start("s")  # the person's word
    await d.until(lambda: bool(d.orders.buys()))

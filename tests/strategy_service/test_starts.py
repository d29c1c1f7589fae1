"""However a strategy is started, it has one run: a second one could not be stopped."""

from collections.abc import Callable
from decimal import Decimal as D

import msgspec

from strategy_service.config import StrategyConfig
from strategy_service.history import Ended
from strategy_service.reasons import Reason
from strategy_service.state import Outcome, Phase, State, StopMode, Waiting
from strategy_service.strategy_run import StrategyRun
from tests.strategy_service.builders import strategy, trading
from tests.strategy_service.conftest import Desk

Make = Callable[..., Desk]
OTHER = strategy("s", target="100000", trade_interval_seconds=D("0.05"))


def quick(*, enabled: bool = True) -> StrategyConfig:
    return strategy(
        "t",
        users=("2",),
        target="100000",
        enabled=enabled,
        trade_interval_seconds=D("0.05"),
        fill_timeout_seconds=D("0.1"),
    )


async def test_a_start_right_after_a_reload_that_enables_makes_one_run_which_a_stop_ends(desk: Make) -> None:
    d = desk(OTHER, quick(enabled=False))
    await d.supervisor.open()
    await d.supervisor.start("s")
    d.configure(trading(OTHER, quick(), revision="r2"))
    await d.supervisor.start("t")
    await d.until(lambda: len(d.orders.buys("2")) >= 3)
    await d.supervisor.stop("t", mode=StopMode.CANCEL)
    placed, cycles = len(d.orders.buys("2")), d.supervisor.status("t").users[0].cycles
    others = len(d.orders.buys("1"))
    await d.until(lambda: len(d.orders.buys("1")) >= others + 5)
    assert len(d.orders.buys("2")) == placed
    assert cycles == len({asked.cycle for asked in d.orders.buys("2")})


async def test_a_stop_reaches_a_run_that_still_waits_for_the_earlier_one_to_wind_down(desk: Make) -> None:
    d = desk(OTHER, quick())
    await d.supervisor.open()
    await d.supervisor.start()
    await d.until(lambda: len(d.orders.buys("2")) >= 2)
    d.manager.reload = lambda: None
    for enabled in (False, True):  # off, and on again before its loop has ended
        d.configure(trading(OTHER, quick(enabled=enabled), revision=str(enabled)))
        d.supervisor.reload()
    await d.supervisor.stop("t")
    placed = len(d.orders.buys("2"))
    others = len(d.orders.buys("1"))
    await d.until(lambda: len(d.orders.buys("1")) >= others + 5)
    assert len(d.orders.buys("2")) == placed
    assert not d.supervisor.status("t").is_running


async def test_a_start_answers_when_the_loops_of_a_reloaded_strategy_run(desk: Make) -> None:
    d = desk(OTHER, quick(enabled=False))
    await d.supervisor.open()
    d.configure(trading(OTHER, quick(), revision="r2"))
    (status,), _ = await d.supervisor.start("t")
    assert status.users[0].reason_code != "starting"


async def test_whoever_was_started_again_is_not_given_up_by_the_stop_before(desk: Make) -> None:
    d = desk(OTHER)
    await d.supervisor.open()
    await d.supervisor.start("s")
    run = d.supervisor._roster.runs["s"]
    await run.ended(run.members(), 0.01)  # as a stop does that still waits
    placed = len(d.orders.buys("1"))
    await d.until(lambda: len(d.orders.buys("1")) >= placed + 2)
    assert d.supervisor.status("s").is_running


async def test_a_start_takes_back_a_stop_that_no_loop_has_heard_of_yet(desk: Make) -> None:
    d = desk(OTHER)
    await d.supervisor.open()
    run = d.supervisor._roster.make(OTHER)
    d.supervisor._table.wish_stop("s", "1", StopMode.CANCEL)
    run.restart_stopped()
    assert not d.supervisor._table.stop_wishes("s")


async def test_a_reload_while_a_start_prepares_is_not_lost(desk: Make) -> None:
    d = desk(quick())
    await d.supervisor.open()
    d.manager.reload = lambda: None
    prepare = d.supervisor._preparation.prepare

    async def slow(run: StrategyRun) -> None:
        await prepare(run)
        d.configure(trading(strategy("t", users=("2", "3"), target="100000"), revision="r2"))
        d.supervisor.reload()

    d.supervisor._preparation.prepare = slow  # type: ignore[method-assign]
    await d.supervisor.start("t")
    await d.until(lambda: len(d.orders.buys("3")) >= 1)


async def test_whoever_is_listed_again_before_its_loop_began_starts_with_the_others(desk: Make) -> None:
    d = desk(OTHER)
    both = strategy("s", users=("1", "2"), target="100000")
    run = d.supervisor._roster.make(OTHER)
    d.runs.end_user("s", "2", Ended(Outcome.STOPPED, d.supervisor.clock.now(), ()))
    d.runs.wish_stop("s", "2", StopMode.DRAIN)
    run.apply(both)
    assert not d.runs.ended_users("s")
    assert not d.runs.stop_wishes("s")


async def test_whoever_winds_down_and_is_listed_again_is_not_wound_down_by_the_next_process(
    desk: Make,
) -> None:
    both = strategy("s", users=("1", "2"), target="100000", trade_interval_seconds=D("0.05"))
    d = desk(both)
    await d.supervisor.open()
    await d.supervisor.start("s")
    run = d.supervisor._roster.runs["s"]
    run.apply(OTHER)
    assert d.runs.stop_wishes("s") == {"2": StopMode.DRAIN}
    run.apply(both)
    assert not d.runs.stop_wishes("s")
    await d.until(lambda: run.users["2"].ended is None and not run.users["2"].stopping)


def test_a_round_that_waits_for_a_halted_symbol_takes_its_new_rules() -> None:
    waits = State(phase=Phase.RESTING, round_open=True, try_number=1, slot=0.0)
    assert not waits.between_rounds
    halted = msgspec.structs.replace(waits, waiting=Waiting(Reason.HALTED, "halted"))
    assert halted.between_rounds


async def test_who_is_still_winding_down_when_a_start_comes_takes_part_again_unless_stopped_anew(
    desk: Make,
) -> None:
    d = desk(OTHER)
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: len(d.orders.buys("1")) >= 2)
    run = d.supervisor._roster.runs["s"]
    for again in (True, False):
        run.stop(run.members(), StopMode.DRAIN)
        run.restart_stopped()  # as a start does that has waited for as long as a stop may take
        (user,) = run.members()
        assert user.stopping
        if again:
            placed = len(d.orders.buys("1"))
            await d.until(lambda placed=placed: len(d.orders.buys("1")) >= placed + 2)  # type: ignore[misc]
    await d.supervisor.stop("s")
    assert not d.supervisor.status("s").is_running

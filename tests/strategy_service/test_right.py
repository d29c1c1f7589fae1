"""One owner places at a time: who lost the right to another stands down until a person starts it again."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal as D
from types import SimpleNamespace

from otopilot.clock import SystemClock
from strategy_service.runs import Runs
from strategy_service.state import StopMode
from strategy_service.status import UserState
from strategy_service.supervisor import Supervisor
from tests.strategy_service.builders import strategy, trading
from tests.strategy_service.conftest import Desk
from tests.strategy_service.test_supervisor import FAST, Make, reasons, states

SMALL, GREAT = "1000000", "3000000"


@asynccontextmanager
async def executor(desk: Desk, target: str = SMALL) -> AsyncIterator[Supervisor]:
    """A second owner over the same journal, with a configuration and a run table of its own."""
    manager = SimpleNamespace(config=trading(strategy(target=target, **FAST)))
    runs = Runs(None)
    made = Supervisor(manager, desk.market, desk.orders, runs, SystemClock(), owner="executor")  # type: ignore[arg-type]
    async with made:
        yield made
    runs.close()


def soon(supervisor: Supervisor, code: str) -> Callable[[], bool]:
    return lambda: reasons(supervisor) == {"1": code}


async def test_two_owners_do_not_flip_the_target_and_the_loser_says_who_took_the_right(desk: Make) -> None:
    d = desk(strategy(target=GREAT, **FAST))
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: len(d.orders.buys()) >= 2)
    async with executor(d) as other:
        await other.start("s")
        await d.until(soon(d.supervisor, "other_owner"))
        written, claims = len(d.orders.written), len(d.orders.claims)
        d.orders.cut()  # the order stream comes back: no reason to take the right
        await asyncio.sleep(1.0)
        assert (len(d.orders.written), len(d.orders.claims)) == (written, claims) == (2, 2)
        assert d.orders.scopes["s"].target == D(SMALL)  # type: ignore[index]
        assert states(d.supervisor)["1"] is UserState.BLOCKED
        assert f"({d.orders.claims[-1]})" in d.supervisor.status("s").users[0].reason
        assert d.orders.claims[-1].startswith("executor/")

        await d.supervisor.start("s")  # a person takes it back
        await d.until(soon(other, "other_owner"))
        placed = len(d.orders.buys())
        await d.until(lambda: len(d.orders.buys()) >= placed + 2)
        assert d.orders.scopes["s"].target == D(GREAT)  # type: ignore[index]
        assert len(d.orders.claims) == 3


async def test_a_service_that_stood_down_can_still_be_stopped(desk: Make) -> None:
    d = desk(strategy(target=GREAT, **FAST))
    await d.supervisor.open()
    await d.supervisor.start("s")
    async with executor(d) as other:
        await other.start("s")
        await d.until(soon(d.supervisor, "other_owner"))
        await d.supervisor.stop("s", mode=StopMode.DRAIN)
        assert states(d.supervisor) == {"1": UserState.STOPPED}


async def test_a_restarted_service_goes_on_under_its_own_name(desk: Make) -> None:
    d = desk(strategy(target=GREAT, **FAST))
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.supervisor.aclose()
    placed = len(d.orders.buys())
    async with d.another() as again:
        await d.until(lambda: len(d.orders.buys()) >= placed + 2)
        assert states(again)["1"] is UserState.RUNNING
    assert len(d.orders.claims) == 2
    assert len(set(d.orders.claims)) == 1


async def test_a_restarted_service_does_not_take_the_right_from_who_took_it_meanwhile(desk: Make) -> None:
    d = desk(strategy(target=GREAT, **FAST))
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.supervisor.aclose()
    async with executor(d) as other:
        await other.start("s")
        async with d.another() as again:
            await d.until(soon(again, "other_owner"))
            assert len(d.orders.claims) == 2
            await again.start("s")
            await d.until(lambda: states(again)["1"] is UserState.RUNNING)


async def test_a_service_with_nothing_to_run_claims_nothing(desk: Make) -> None:
    d = desk(strategy(target=GREAT, **FAST))
    await d.supervisor.open()
    await asyncio.sleep(0.5)
    assert d.orders.claims == []


async def test_two_run_tables_have_two_names_and_one_keeps_its_own() -> None:
    one, two = Runs(None), Runs(None)
    assert (one.identity("a"), one.identity("b"), two.identity("b")) == ("a", "a", "b")


async def test_a_scope_that_cannot_be_written_keeps_no_other_from_trading_and_claims_nothing(
    desk: Make,
) -> None:
    d = desk(strategy("s", target=GREAT, **FAST), strategy("t", users=("2",), target=GREAT, **FAST))
    await d.supervisor.open()
    await d.supervisor.start()
    d.orders.unwritable = {"s"}
    del d.orders.scopes["s"]  # type: ignore[arg-type]
    d.orders.epoch += 1  # the right is to be claimed anew, and every scope to be written
    await asyncio.sleep(1.5)
    placed = len(d.orders.buys("2"))
    await d.until(lambda: len(d.orders.buys("2")) >= placed + 3)
    assert len(d.orders.claims) == 2
    d.orders.unwritable = set()
    mine = len(d.orders.buys("1"))
    await d.until(lambda: len(d.orders.buys("1")) > mine)

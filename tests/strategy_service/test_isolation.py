"""One user's trouble never changes another user's cycle: measured on virtual time, to the moment."""

import asyncio
import itertools
from collections.abc import Callable
from decimal import Decimal as D
from types import SimpleNamespace

import pytest

from otopilot.clock import SystemClock
from otopilot.order import Order
from strategy_service.reasons import Reason
from strategy_service.runs import Runs
from strategy_service.state import PlaceOto, PlaceSell, Rules
from strategy_service.status import UserState, UserStatus
from strategy_service.supervisor import Supervisor
from tests.strategy_service.builders import strategy, trading
from tests.strategy_service.fakes import FakeMarket, FakeOrders, denied
from tests.virtual_loop import VirtualClock, run

USERS = tuple(str(number) for number in range(1, 11))
BAD, GOOD = USERS[:2], USERS[2:]
SECONDS = 40.0

Trouble = Callable[[FakeOrders], None]


def no_trouble(orders: FakeOrders) -> None:
    """Everybody trades."""


def bad_credential(orders: FakeOrders) -> None:
    orders.users.discard("1")
    orders.stopped["2"] = "auth_expired"


def empty_balance(orders: FakeOrders) -> None:
    def check(asked: PlaceOto | PlaceSell, rules: Rules) -> None:
        if rules.user_id in BAD:
            raise denied("DENIED_FUNDS", asset="USDT", free="0")

    orders.on_place = check


def crash(orders: FakeOrders) -> None:
    def check(asked: PlaceOto | PlaceSell, rules: Rules) -> None:
        if rules.user_id in BAD:
            raise RuntimeError("boom")

    orders.on_place = check


def slow_venue(orders: FakeOrders) -> None:
    place, position = orders.place, orders.position

    async def slow_place(placement: PlaceOto | PlaceSell, rules: Rules, owner_epoch: int) -> object:
        await asyncio.sleep(3.0 if rules.user_id in BAD else 0)
        return await place(placement, rules, owner_epoch)

    async def slow_position(rules: Rules) -> object:
        await asyncio.sleep(4.0 if rules.user_id in BAD else 0)
        return await position(rules)

    orders.place, orders.position = slow_place, slow_position  # type: ignore[method-assign, assignment]


def never_fills(orders: FakeOrders) -> None:
    fill = orders.fill
    orders.fill = lambda order_id, share=D(1): (  # type: ignore[method-assign]
        None if orders.orders[order_id].user_id in BAD else fill(order_id, share)
    )


async def _play(trouble: Trouble) -> tuple[dict[str, list[float]], dict[str, UserStatus]]:
    clock, orders = VirtualClock(), FakeOrders(users=set(USERS))
    trouble(orders)
    config = trading(strategy(users=USERS, target="100000000"))
    manager = SimpleNamespace(config=config)
    runs = Runs(None)
    async with Supervisor(manager, FakeMarket(), orders, runs, clock) as supervisor:  # type: ignore[arg-type]
        await supervisor.start("s")
        await asyncio.sleep(SECONDS)
        users = {user.user_id: user for user in supervisor.status("s").users}
    runs.close()
    return {user: orders.starts(user) for user in GOOD}, users


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, list[float]]:
    starts, _ = run(_play(no_trouble))
    assert all(len(each) >= SECONDS - 2 for each in starts.values())
    return starts


@pytest.mark.parametrize(
    ("trouble", "reasons"),
    [
        (bad_credential, {Reason.NO_CREDENTIAL, Reason.AUTH_EXPIRED}),
        (empty_balance, {Reason.FUNDS}),
        (crash, {Reason.CRASHED_OFTEN}),
        (slow_venue, {Reason.PLACING, Reason.POSITION}),
        (never_fills, {Reason.FILL, Reason.CANCEL, Reason.POSITION, Reason.PLACING}),
    ],
)
def test_the_others_rounds_begin_at_the_same_moments(
    trouble: Trouble, reasons: set[Reason], undisturbed: dict[str, list[float]]
) -> None:
    starts, users = run(_play(trouble))
    assert starts == undisturbed
    assert {users[user].code for user in BAD} <= reasons
    assert {users[user].state for user in GOOD} == {UserState.RUNNING}


def test_loops_start_in_phases_that_are_spread_and_stay_on_their_grid(
    undisturbed: dict[str, list[float]],
) -> None:
    phases = sorted(starts[5] % 1.0 for starts in undisturbed.values())
    gaps = [later - earlier for earlier, later in itertools.pairwise(phases)]
    assert min(gaps) > 0.05  # ten users of one second: a tenth apart
    for starts in undisturbed.values():
        steps = [later - earlier for earlier, later in itertools.pairwise(starts)]
        assert sum(steps[5:]) == pytest.approx(len(steps[5:]), abs=0.05)  # no drift


class Immediate(FakeOrders):
    """Every answer is there at once and every BUY filled in it: no round ever waits for anything."""

    def __init__(self) -> None:
        super().__init__(fill_seconds=None)
        self.turns: list[tuple[str, int]] = []  # who placed, in which turn of the event loop
        self._turn = 0
        self._tick()

    def _tick(self) -> None:
        self._turn += 1
        asyncio.get_running_loop().call_soon(self._tick)

    async def place(self, placement: PlaceOto | PlaceSell, rules: Rules, owner_epoch: int) -> Order:
        self.turns.append((rules.user_id, self._turn))
        order = await super().place(placement, rules, owner_epoch)
        self.fill(order.order_id)
        return self.orders[order.order_id]


async def test_row_51_rounds_that_never_wait_let_everybody_else_have_a_turn() -> None:
    """The grid's next point has always passed, so that one round begins as soon as the last has ended."""
    orders = Immediate()
    hasty = strategy(users=("1", "2", "3"), target="100000000", trade_interval_seconds=D("0.000001"))
    manager = SimpleNamespace(config=trading(hasty))
    runs = Runs(None)
    async with Supervisor(manager, FakeMarket(), orders, runs, SystemClock()) as supervisor:  # type: ignore[arg-type]
        await supervisor.start("s")
        async with asyncio.timeout(60):
            while len(orders.turns) < 300:
                await asyncio.sleep(0.01)
    runs.close()
    for user in "123":
        own = [turn for who, turn in orders.turns if who == user]
        assert len(own) > 60
        assert all(earlier < later for earlier, later in itertools.pairwise(own))

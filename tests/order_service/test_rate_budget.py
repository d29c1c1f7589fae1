"""The rate budget: windows, priorities, bans, order counts and connections, over all users of an address."""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from order_service.denied import Denied
from order_service.gate import GatedTransport
from order_service.rate_budget import Priority, RateBudget
from order_service.venues import limits as venue_limits
from order_service.venues.port import (
    Limits,
    RateLimited,
    Response,
    Socket,
    VenueNotReached,
)
from order_service.window import Window
from otopilot.instrument import Venue
from otopilot.order import UserId
from tests.order_service.desk import Desk, spot_venue
from tests.virtual_loop import VirtualClock, virtual

ORDERS = Limits(orders=((4, 10.0), (8, 86_400.0)))
WEIGHED = Limits(weight=(100, 60.0), weights=dict.fromkeys(("open_orders", "order_history", "look_up"), 10))
ONE = UserId("1")


def budget_of(limits: Limits) -> RateBudget:
    return RateBudget(Venue.SPOT, VirtualClock(), limits)


def ban(budget: RateBudget, seconds: float) -> None:
    budget.close_until(RateLimited("418", "x", VirtualClock().now() + timedelta(seconds=seconds)))


# ---------------------------------------------------------------------- windows and priorities


def test_windows_are_aligned_to_the_clock_and_begin_empty() -> None:
    window = Window(10, 60.0)
    window.add(9, 119.0)
    assert not window.fits(2, 119.9)
    assert window.fits(2, 120.0)
    assert window.used(120.0) == 0
    assert window.ends_in(121.0) == 59.0


def test_what_is_greater_than_the_limit_goes_when_nothing_else_does() -> None:
    window = Window(2, 1.0)
    assert window.fits(3, 5.0)
    window.add(1, 5.0)
    assert not window.fits(3, 5.5)


@virtual
async def test_what_waits_for_the_next_minute_goes_by_priority_then_by_age() -> None:
    budget, gone = budget_of(Limits(weight=(100, 60.0))), list[str]()
    await budget.take(Priority.CANCEL, 100)

    async def ask(priority: Priority, name: str) -> None:
        await budget.take(priority, 10)
        gone.append(name)

    wanted = [("s", Priority.SWEEP), ("p", Priority.PLACE), ("d1", Priority.DOUBT)]
    wanted += [("c", Priority.CANCEL), ("d2", Priority.DOUBT)]
    tasks = [asyncio.ensure_future(ask(priority, name)) for name, priority in wanted]
    await asyncio.sleep(59)
    assert gone == []
    await asyncio.sleep(2)
    assert gone == ["c", "d1", "d2", "p", "s"]
    await asyncio.gather(*tasks)


@virtual
async def test_sweeps_use_three_tenths_and_leave_the_rest_to_others() -> None:
    budget = budget_of(Limits(weight=(100, 60.0)))
    sweeps = [asyncio.ensure_future(budget.take(Priority.SWEEP, 10)) for _ in range(10)]
    await asyncio.sleep(30)
    assert sum(task.done() for task in sweeps) == 3
    for _ in range(7):
        async with asyncio.timeout(0.1):
            await budget.take(Priority.PLACE, 10)
    await asyncio.sleep(180)
    assert all(task.done() for task in sweeps)


@virtual
async def test_one_that_gives_up_waiting_leaves_its_place_to_the_next() -> None:
    budget = budget_of(Limits(weight=(10, 60.0)))
    await budget.take(Priority.CANCEL, 10)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5):
            await budget.take(Priority.CANCEL, 10)
    async with asyncio.timeout(60):
        await budget.take(Priority.SWEEP, 1)


@virtual
async def test_the_venues_own_count_corrects_ours_in_both_directions() -> None:
    budget = budget_of(Limits(weight=(100, 60.0)))
    await budget.take(Priority.PLACE, 10)
    budget.heard_used(4)
    assert budget.used() == (4, 100)
    async with budget.request(Priority.DOUBT, 20):
        budget.heard_used(5)  # told with another answer, before ours was counted
        assert budget.used() == (25, 100)
    budget.heard_used(95)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5):
            await budget.take(Priority.PLACE, 10)


@virtual
async def test_an_answer_that_others_have_overtaken_makes_no_room() -> None:
    budget = budget_of(Limits(weight=(100, 60.0)))
    async with budget.request(Priority.DOUBT, 40):
        pass
    budget.heard_used(80)
    budget.heard_used(40)
    assert budget.used() == (80, 100)
    await asyncio.sleep(65)
    budget.heard_used(10)  # of the next window
    assert budget.used() == (10, 100)


@virtual
async def test_what_the_venue_tells_sets_nothing_free_that_was_let_go_and_is_not_sent_yet() -> None:
    """Many wait for one window: the answer to the first must not let more of them into it."""
    budget, sent = budget_of(Limits(weight=(100, 60.0))), list[int]()
    ban(budget, 10)

    async def ask(number: int) -> None:
        async with budget.request(Priority.DOUBT, 10):
            sent.append(number)
            if number == 0:
                budget.heard_used(0)
            await asyncio.sleep(1)

    asking = [asyncio.create_task(ask(number)) for number in range(30)]
    await asyncio.sleep(10.5)
    assert sent == list(range(10))
    asking[10].cancel()
    await asyncio.gather(*asking[:11], return_exceptions=True)
    budget.heard_used(0)
    assert budget.used() == (100, 100)  # the next ten went at once, and all of them are under way
    await asyncio.sleep(1.5)
    budget.heard_used(0)
    await asyncio.gather(*asking, return_exceptions=True)
    budget.heard_used(0)
    assert (budget.used(), len(sent)) == ((0, 100), 29)


@virtual
async def test_while_a_window_is_young_an_answer_that_was_overtaken_makes_no_room() -> None:
    budget = budget_of(Limits(weight=(100, 60.0)))
    await budget.take(Priority.PLACE, 100)
    await asyncio.sleep(60)
    await budget.take(Priority.PLACE, 100)
    budget.heard_used(10)
    assert budget.used() == (100, 100)
    await asyncio.sleep(4)
    budget.heard_used(90)
    assert budget.used() == (90, 100)


# ---------------------------------------------------------------------- bans


@virtual
async def test_after_a_ban_cancels_go_before_queries_before_placements_before_sweeps() -> None:
    """Reliability 5."""
    budget, gone = budget_of(Limits()), list[Priority]()
    ban(budget, 35)

    async def wait(priority: Priority) -> None:
        await budget.wait_open(priority)
        gone.append(priority)

    tasks = [asyncio.ensure_future(wait(priority)) for priority in reversed(Priority)]
    await asyncio.sleep(34.9)
    assert gone == []
    ban(budget, 10)  # pronounced again, longer
    await asyncio.sleep(5)
    assert gone == []
    await asyncio.sleep(6)
    assert gone == list(Priority)
    assert budget.counters.bans == 1
    await asyncio.gather(*tasks)


class Door:
    """A transport that counts what comes out."""

    def __init__(self, answer: Response | None = None) -> None:
        self.answer = answer or Response(status=200, headers={}, body=b"{}")
        self.out = 0

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes = b"",
        timeout_seconds: float,
        not_after: datetime | None = None,
    ) -> Response:
        self.out += 1
        return self.answer

    async def connect(self, url: str) -> Socket:
        self.out += 1
        raise VenueNotReached("connection", "a test")

    async def aclose(self) -> None:
        """Nothing to close."""


async def get(gate: GatedTransport) -> Response:
    return await gate.request("GET", "http://x/", headers={}, timeout_seconds=1)


@virtual
@pytest.mark.parametrize(("status", "code"), [(429, b'{"code":-1003}'), (418, b"{}"), (403, b"<html>")])
async def test_no_request_and_no_connect_leaves_during_a_ban_whoever_asks(status: int, code: bytes) -> None:
    """Reliability 5 and 6: a public read met it, and everything that goes by this address stops."""
    for limits in (venue_limits.spot(), venue_limits.alpha(0)):
        door = Door(Response(status=status, headers={"retry-after": "35"}, body=code))
        budget = budget_of(limits)
        gate = GatedTransport(door, budget, VirtualClock())
        await get(gate)
        for _ in range(3):
            with pytest.raises(VenueNotReached, match="banned"):
                await get(gate)
            with pytest.raises(VenueNotReached, match="banned"):
                await gate.connect("ws://x/")
            await asyncio.sleep(11)
        assert door.out == 1
        await asyncio.sleep(3)
        await get(gate)
        assert door.out == 2


@virtual
async def test_limits_that_the_venue_tells_are_adopted_and_what_was_counted_stays() -> None:
    budget = budget_of(Limits(weight=(100, 60.0), requests=(1000, 300.0), orders=((4, 10.0),)))
    await budget.take(Priority.DOUBT, 40)
    await budget.permit_placement(ONE, 2, 0.0)
    told = Limits(weight=(50, 60.0), requests=(500, 60.0), orders=((3, 10.0), (9, 86_400.0)))
    budget.adopt(told)
    assert budget.limits == told
    assert budget.used() == (41, 50)
    with pytest.raises(Denied):
        await budget.permit_placement(ONE, 2, 0.0)  # two of three are used up
    await budget.permit_placement(ONE, 1, 0.0)
    budget.adopt(None)
    assert budget.used()[1] == 50


@virtual
async def test_who_waits_for_weight_goes_when_the_venue_tells_of_more() -> None:
    budget = budget_of(Limits(weight=(10, 60.0)))
    await budget.take(Priority.DOUBT, 10)
    waiting = asyncio.create_task(budget.take(Priority.DOUBT, 10))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    budget.adopt(Limits(weight=(100, 60.0)))
    await asyncio.wait_for(waiting, 0.1)


@virtual
async def test_a_sweep_hears_what_the_venue_allows(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", spot_venue()) as desk:
        desk.venue.limits = Limits(weight=(1234, 60.0))
        await desk.add("1")
        assert desk.budgets[Venue.SPOT].used()[1] == 1234


@virtual
async def test_one_accounts_order_count_bans_nobody() -> None:
    """Reliability 7."""
    answer = Response(status=429, headers={"retry-after": "9"}, body=b'{"code":-1015,"msg":"x"}')
    budget = budget_of(venue_limits.spot())
    await get(GatedTransport(Door(answer), budget, VirtualClock()))
    assert budget.closed_until() is None


@virtual
async def test_the_used_weight_is_read_from_every_answer() -> None:
    answer = Response(status=200, headers={"x-mbx-used-weight-1m": "1234"}, body=b"{}")
    budget = budget_of(venue_limits.spot())
    await get(GatedTransport(Door(answer), budget, VirtualClock()))
    assert budget.used() == (1234, 5400)


@virtual
async def test_connections_are_at_most_two_hundred_in_any_five_minutes() -> None:
    """Reliability 27."""
    door, budget = Door(), budget_of(venue_limits.spot())
    gate = GatedTransport(door, budget, VirtualClock())
    for _ in range(1000):
        with pytest.raises(VenueNotReached):
            await gate.connect("ws://x/")
        await asyncio.sleep(0.2)
    assert door.out == 200
    await asyncio.sleep(101)
    with pytest.raises(VenueNotReached, match="a test"):
        await gate.connect("ws://x/")


@virtual
async def test_a_raw_request_beyond_the_limit_does_not_leave() -> None:
    door = Door()
    gate = GatedTransport(door, budget_of(Limits(requests=(2, 300.0))), VirtualClock())
    await get(gate)
    await get(gate)
    with pytest.raises(VenueNotReached, match="too_many_requests"):
        await get(gate)
    assert door.out == 2


@virtual
async def test_a_ban_that_is_told_again_is_news_once() -> None:
    budget = budget_of(venue_limits.spot())
    told: list[datetime] = []
    budget.on_ban(lambda _, until: told.append(until))
    ends = budget.now() + timedelta(seconds=30)
    for later in (0, 1, 2, 3):
        budget.close_until(RateLimited("429", "slow down", ends + timedelta(milliseconds=later)))
    budget.close_until(RateLimited("429", "slow down", ends - timedelta(seconds=9)))
    assert told == [ends]
    assert budget.closed_until() == ends + timedelta(milliseconds=3)
    budget.close_until(RateLimited("418", "go away", ends + timedelta(seconds=60)))
    assert told == [ends, ends + timedelta(seconds=60)]
    assert budget.counters.bans == 1

"""Sweeps take turns: few at a time, the urgent first, nobody left out, and the rotation's time is known."""

import asyncio
from pathlib import Path

from order_service.rota import Rota
from order_service.venues.port import Limits
from otopilot.instrument import Venue
from otopilot.order import UserId
from otopilot.position import UserState
from tests.order_service.desk import SECRETS, Desk, spot_venue
from tests.virtual_loop import VirtualClock, virtual


def key(user: str) -> tuple[Venue, UserId]:
    return (Venue.SPOT, UserId(user))


@virtual
async def test_so_many_at_a_time_and_the_urgent_first() -> None:
    rota, order = Rota(VirtualClock(), most=1), list[str]()

    async def sweep(user: str, *, urgent: bool) -> None:
        async with rota.turn(key(user), urgent=urgent):
            order.append(user)
            await asyncio.sleep(1)

    tasks = [asyncio.ensure_future(sweep(user, urgent=user in "cd")) for user in "abcd"]
    await asyncio.sleep(0.5)
    assert (order, rota.waiting(Venue.SPOT)) == (["a"], 3)
    await asyncio.gather(*tasks)
    assert order == ["a", "c", "d", "b"]


@virtual
async def test_one_that_goes_away_in_line_or_at_its_turn_leaves_the_place_free() -> None:
    rota = Rota(VirtualClock(), most=1)
    done = list[str]()

    async def sweep(user: str) -> None:
        async with rota.turn(key(user), urgent=False):
            await asyncio.sleep(1)
            done.append(user)

    tasks = {user: asyncio.ensure_future(sweep(user)) for user in "abc"}
    await asyncio.sleep(0.5)
    tasks["b"].cancel()
    tasks["a"].cancel()
    await asyncio.sleep(2)
    assert done == ["c"]
    await sweep("d")
    assert done == ["c", "d"]


@virtual
async def test_the_rotation_is_the_longest_time_between_a_users_sweeps() -> None:
    rota = Rota(VirtualClock())
    assert rota.rotation_seconds(Venue.SPOT) == 0
    for pause in (3, 7):
        rota.swept(key("a"))
        await asyncio.sleep(pause)
    rota.swept(key("b"))
    rota.swept(key("a"))
    assert rota.rotation_seconds(Venue.SPOT) == 7
    assert rota.rotation_seconds(Venue.ALPHA) == 0
    rota.forget(key("a"))
    assert rota.rotation_seconds(Venue.SPOT) == 0


@virtual
async def test_forty_users_are_swept_in_turn_within_the_share_of_the_budget(tmp_path: Path) -> None:
    """Reliability 10: 30 % of 1000 a minute is 30 sweeps; forty users take longer than a minute."""
    users = [str(number) for number in range(40)]
    limits = Limits(
        weight=(1000, 60.0), weights=dict.fromkeys(("open_orders", "order_history", "trades_since"), 5)
    )
    async with Desk(tmp_path / "j.db", spot_venue(), limits=limits) as desk:
        await desk.scope("1000", *users)
        kind, secret = SECRETS[Venue.SPOT]
        for user in users:
            desk.tasks.spawn(put(desk, user, kind, secret), user)
        await desk.sleep(600)
        assert all(session.state is UserState.READY for session in desk.sessions.all())
        counts = [desk.account(user).calls["open_orders"] for user in users]
        assert max(counts) - min(counts) <= 3, counts
        assert sum(counts) <= 30 * 11
        assert 60 < desk.keeper.rota.rotation_seconds(Venue.SPOT) < 130


async def put(desk: Desk, user: str, kind: str, secret: bytes) -> None:
    await desk.users.put(UserId(user), Venue.SPOT, kind, secret)


@virtual
async def test_a_user_whose_account_hangs_leaves_the_others_ready(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", spot_venue()) as desk:
        await desk.add("1", "2")
        desk.account("1").failing["open_orders"] = ConnectionError("gone")
        await desk.sleep(60)
        assert desk.session("1").state is UserState.SETTLING
        assert desk.session("2").state is UserState.READY
        del desk.account("1").failing["open_orders"]
        await desk.sleep(15)
        assert desk.session("1").state is UserState.READY

"""Runs of several users over the fakes, in real time with short intervals."""

import asyncio
import time
from collections.abc import Callable
from decimal import Decimal as D

import grpc
import msgspec
import pytest

from otopilot.rpc import Fault
from strategy_service.state import PlaceOto, PlaceSell, Rules, StopMode
from strategy_service.status import UserState
from strategy_service.supervisor import Supervisor
from tests.strategy_service.builders import KOGE, strategy, trading
from tests.strategy_service.conftest import Desk
from tests.strategy_service.fakes import denied

FAST = {"trade_interval_seconds": D("0.05"), "fill_timeout_seconds": D("0.1")}
Make = Callable[..., Desk]


def states(supervisor: Supervisor, strategy_id: str = "s") -> dict[str, UserState]:
    return {user.user_id: user.state for user in supervisor.status(strategy_id).users}


def reasons(supervisor: Supervisor, strategy_id: str = "s") -> dict[str, str]:
    return {user.user_id: user.reason_code for user in supervisor.status(strategy_id).users}


async def test_three_users_reach_a_shared_target_and_never_overshoot_by_more_than_a_smallest_order(
    desk: Make,
) -> None:
    d = desk(strategy(users=("1", "2", "3"), target="400", **FAST))
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: not d.supervisor.status("s").is_running)
    total = sum((d.orders.counted(user) for user in "123"), D(0))
    assert 400 <= total <= D("405.2")
    await asyncio.sleep(1.1)  # the figures are read once a second
    status = d.supervisor.status("s")
    assert (status.total_volume, status.progress[:4]) == (total, "100." if total < 404 else "101.")
    assert set(states(d.supervisor).values()) == {UserState.REACHED}
    assert all(user.left_open for user in status.users)  # their SELLs rest


async def test_each_user_has_its_own_target_with_per_user_scopes(desk: Make) -> None:
    d = desk(strategy(users=("1", "2"), target="100", target_scope="per_user", **FAST))
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: not d.supervisor.status("s").is_running)
    assert set(d.orders.scopes) == {"s/1", "s/2"}
    for user in "12":
        assert 100 <= d.orders.counted(user) <= D("105.2")


async def test_users_whose_history_meets_the_target_are_skipped(desk: Make) -> None:
    d = desk(strategy(users=("1", "2"), target="60", target_scope="per_user", **FAST))
    d.orders.history["1"] = D(60)
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: not d.supervisor.status("s").is_running)
    assert states(d.supervisor) == {"1": UserState.SKIPPED, "2": UserState.REACHED}
    assert not d.orders.buys("1")


async def test_rounds_start_on_their_interval_without_drift(desk: Make) -> None:
    d = desk(strategy(target="100000", trade_interval_seconds=D("0.1")))
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: len(d.orders.starts("1")) >= 11)
    starts = d.orders.starts("1")
    assert starts[10] - starts[0] == pytest.approx(1.0, abs=0.05)


async def test_a_stop_while_a_loop_waits_does_not_wait_with_it(desk: Make) -> None:
    d = desk(strategy(target="100000", trade_interval_seconds=D(30)))
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: reasons(d.supervisor)["1"] == "interval")
    began = time.monotonic()
    statuses = await d.supervisor.stop("s")
    assert time.monotonic() - began < 1
    assert statuses[0].users[0].state is UserState.STOPPED
    assert statuses[0].users[0].left_open == ("o1",)


@pytest.mark.parametrize("mode", [StopMode.CANCEL, StopMode.FLATTEN])
async def test_a_cancel_leaves_nothing_on_the_book(desk: Make, mode: StopMode) -> None:
    d = desk(strategy(target="100000", **FAST))
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: len(d.orders.log) >= 3)
    before = len(d.orders.log)
    statuses = await d.supervisor.stop("s", mode=mode)
    flattening = [asked for _, _, asked in d.orders.log[before:] if isinstance(asked, PlaceSell)]
    still_open = [order for order in d.orders.orders.values() if not order.is_over]
    if mode is StopMode.CANCEL:
        assert not flattening
        assert not still_open
        assert statuses[0].users[0].left_open == ()
    else:
        assert [order.order_id for order in still_open] == list(statuses[0].users[0].left_open)
        assert sum(asked.quantity for asked in flattening) == sum(a.quantity for a in d.orders.buys())


async def test_one_user_can_be_stopped_and_the_others_go_on(desk: Make) -> None:
    d = desk(strategy(users=("1", "2"), target="100000", **FAST))
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: len(d.orders.buys("1")) >= 2)
    (stopped,) = await d.supervisor.stop("s", "1")
    counted = sum(o.working.filled_quote for o in d.orders.orders.values() if o.user_id == "1")
    assert stopped.users[0].volume == counted  # the last round's trades too
    one, two = len(d.orders.buys("1")), len(d.orders.buys("2"))
    await d.until(lambda: len(d.orders.buys("2")) >= two + 5)
    assert len(d.orders.buys("1")) == one
    assert states(d.supervisor) == {"1": UserState.STOPPED, "2": UserState.RUNNING}


async def test_a_user_without_credential_needs_a_person_delays_nobody_and_resumes_by_itself(
    desk: Make,
) -> None:
    d = desk(strategy(users=("1", "9"), target="100000", **FAST))
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: len(d.orders.buys("1")) >= 5)
    assert states(d.supervisor) == {"1": UserState.RUNNING, "9": UserState.NEEDS_PERSON}
    assert reasons(d.supervisor)["9"] == "no_credential"
    d.orders.users.add("9")
    await d.until(lambda: bool(d.orders.buys("9")), seconds=6)


async def test_lost_requests_and_answers_never_become_second_orders(desk: Make) -> None:
    d = desk(strategy(target="150", **FAST))
    d.orders.lose_requests, d.orders.lose_answers = 2, 3
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: not d.supervisor.status("s").is_running)
    ids = [asked.request_id for asked in d.orders.buys()]
    assert len(ids) == len(set(ids))
    assert len(d.orders.sent) == len(ids) + 2
    assert 150 <= d.orders.counted("1") <= D("155.2")


async def test_an_unfilled_buy_climbs_the_ladder_and_partial_fills_count(desk: Make) -> None:
    d = desk(strategy(target="100000", **FAST))
    d.orders.fill_seconds = None
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: len(d.orders.buys()) == 1)
    d.orders.fill(d.orders.log and next(iter(d.orders.orders)), D("0.5"))
    await d.until(lambda: len(d.orders.buys()) >= 7)
    steps = [(asked.cycle, asked.try_number, asked.step) for asked in d.orders.buys()[:7]]
    assert steps[:2] == [(1, 0, 0), (1, 1, 1)]
    assert steps[5] == (1, 5, 5)
    assert d.orders.buys()[1].quantity < d.orders.buys()[0].quantity * D("0.6")
    # The half that was bought is sold as a residual before the next round.
    sells = [asked for _, _, asked in d.orders.log if isinstance(asked, PlaceSell)]
    assert len(sells) == 1
    assert d.orders.log[6][2] is sells[0]


async def test_a_guarded_user_asks_again_when_it_is_told_and_waits_are_counted(desk: Make) -> None:
    d = desk(strategy(target="100000", trade_interval_seconds=D(30)))
    blocked = True

    def guard(asked: PlaceOto | PlaceSell, rules: Rules) -> None:
        if blocked:
            raise denied("DENIED_GUARD", blocking_price="99")

    d.orders.on_place = guard
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: reasons(d.supervisor)["1"] == "guard")
    blocked = False
    d.orders.ask_again("1")
    await d.until(lambda: bool(d.orders.buys()))
    assert d.supervisor.status("s").users[0].guard_waits == 1


async def test_when_the_order_service_goes_loops_are_blocked_and_go_on_when_it_is_back(desk: Make) -> None:
    d = desk(strategy(users=("1", "2"), target="100000", **FAST))
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: len(d.orders.buys()) >= 4)
    d.orders.down = True
    d.orders.cut()
    await d.until(lambda: set(reasons(d.supervisor).values()) == {"order_unreachable"})
    assert set(states(d.supervisor).values()) == {UserState.BLOCKED}
    placed = len(d.orders.buys())
    d.orders.down = False
    await d.until(lambda: len(d.orders.buys()) >= placed + 4)
    assert len(d.orders.claims) == 1  # the journal keeps the right over its service's restarts


async def test_when_the_market_service_goes_loops_are_blocked_and_go_on_when_it_is_back(desk: Make) -> None:
    d = desk(strategy(target="100000", **FAST))
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: len(d.orders.buys()) >= 2)
    d.market.down = True
    await d.until(lambda: reasons(d.supervisor)["1"] in ("market_unreachable", "stale_price"), seconds=8)
    d.market.down = False
    placed = len(d.orders.buys())
    await d.until(lambda: len(d.orders.buys()) > placed)


async def test_a_right_that_went_stale_under_the_own_name_is_claimed_again(desk: Make) -> None:
    d = desk(strategy(target="100000", **FAST))
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: len(d.orders.buys()) >= 2)
    d.orders.epoch += 1
    placed = len(d.orders.buys())
    await d.until(lambda: len(d.orders.buys()) >= placed + 2)
    assert len(d.orders.claims) == 2
    assert len(set(d.orders.claims)) == 1


async def test_a_started_strategy_goes_on_when_it_is_started_again(desk: Make) -> None:
    d = desk(strategy(target="100000", **FAST))
    await d.supervisor.open()
    await d.supervisor.start("s", request_id="a")
    await d.until(lambda: bool(d.orders.buys()))
    began = d.supervisor.status("s").started_at
    await d.supervisor.start("s", request_id="b")
    assert d.supervisor.status("s").started_at == began
    await d.supervisor.stop("s", request_id="c")
    await d.supervisor.start("s", request_id="a")  # the same request again: the same answer
    assert not d.supervisor.status("s").is_running
    await d.supervisor.start("s", request_id="d")
    assert d.supervisor.status("s").is_running


async def test_exclusive_stops_what_else_runs(desk: Make) -> None:
    d = desk(
        strategy("a", users=("1",), target="100000", **FAST),
        strategy("b", users=("2",), target="100000", **FAST),
    )
    await d.supervisor.open()
    await d.supervisor.start("a")
    statuses, stopped = await d.supervisor.start("b", exclusive=True)
    assert ([s.strategy_id for s in statuses], stopped) == (["b"], ["a"])
    await d.until(lambda: not d.supervisor.status("a").is_running)
    assert [run.strategy_id for run in d.runs.runs() if run.desired] == ["b"]


@pytest.mark.parametrize(
    ("strategy_id", "code", "reason"),
    [
        ("nope", grpc.StatusCode.NOT_FOUND, "UNKNOWN_STRATEGY"),
        ("off", grpc.StatusCode.FAILED_PRECONDITION, "DISABLED"),
        ("odd", grpc.StatusCode.FAILED_PRECONDITION, "UNKNOWN_TOKEN"),
    ],
)
async def test_what_cannot_start_says_why(
    desk: Make, strategy_id: str, code: grpc.StatusCode, reason: str
) -> None:
    d = desk(strategy("off", enabled=False), strategy("odd", target_token="KOGEE"))
    await d.supervisor.open()
    with pytest.raises(Fault) as caught:
        await d.supervisor.start(strategy_id)
    assert (caught.value.code, caught.value.reason) == (code, reason)
    assert not d.runs.runs()


async def test_an_unknown_user_of_a_stop_is_said(desk: Make) -> None:
    d = desk(strategy())
    await d.supervisor.open()
    with pytest.raises(Fault) as caught:
        await d.supervisor.stop("s", "7")
    assert caught.value.reason == "UNKNOWN_USER"


async def test_places_are_given_first_come_first_served_and_given_back(desk: Make) -> None:
    d = desk(strategy(users=("1", "2", "3"), target="60", target_scope="per_user", **FAST), places=1)
    await d.supervisor.open()
    await d.supervisor.start("s")
    assert list(states(d.supervisor).values())[1:] == [UserState.QUEUED, UserState.QUEUED]
    await d.until(lambda: not d.supervisor.status("s").is_running)
    order = [user for _, user, _ in d.orders.log]
    assert order == sorted(order)


async def test_a_reload_acts_at_the_next_cycle_drains_the_removed_and_starts_the_added(desk: Make) -> None:
    d = desk(strategy(users=("1", "2"), target="100000", **FAST))
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: len(d.orders.buys()) >= 4)
    changed = strategy(users=("1", "3"), target="90000", single_trade_amount_usdt=D(12), **FAST)
    d.configure(trading(changed, revision="r2"))
    await d.until(lambda: bool(d.orders.buys("3")))
    await d.until(lambda: d.orders.buys("1")[-1].quantity == D("0.119"))
    await d.until(lambda: d.orders.scopes["s"].target == 90000)  # type: ignore[index]
    scope = next(iter(d.orders.scopes.values()))
    assert ([m.user_id for m in scope.members], scope.revision) == (["1", "3"], 2)
    assert d.supervisor.status("s").config_revision == "r2"
    two = len(d.orders.buys("2"))
    await asyncio.sleep(0.2)
    assert len(d.orders.buys("2")) == two


async def test_a_price_stream_serves_all_loops_of_a_symbol(desk: Make) -> None:
    d = desk(strategy(users=("1", "2", "3"), target="100000", **FAST))
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: len(d.orders.buys()) >= 6)
    assert len(d.market.watched) == 1


async def test_one_user_trades_two_tokens_in_two_strategies_at_once_over_one_price_stream(desk: Make) -> None:
    other = msgspec.structs.replace(KOGE, token="AOP", symbol="ALPHA_9USDT")
    d = desk(
        strategy("a", users=("1",), target="100000", **FAST),
        strategy("b", users=("1", "2"), target="100000", target_token="AOP", **FAST),
        places=1,
    )
    d.market.instruments.append(other)
    await d.supervisor.open()
    await d.supervisor.start()
    await d.until(lambda: len(d.orders.buys("1")) >= 12)
    traded = {(order.strategy_id, order.symbol) for order in d.orders.orders.values()}
    assert traded == {("a", "ALPHA_22USDT"), ("b", "ALPHA_9USDT")}
    assert [key.symbol for key in d.market.watched[-1]] == ["ALPHA_22USDT", "ALPHA_9USDT"]
    # One place is one user, in however many strategies it trades.
    assert states(d.supervisor, "b") == {"1": UserState.RUNNING, "2": UserState.QUEUED}


async def test_the_order_stream_resumes_by_sequence_and_starts_over_when_it_must(desk: Make) -> None:
    d = desk(strategy(target="100000", **FAST))
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: len(d.orders.buys()) >= 2)
    d.orders.cut()
    await d.until(lambda: d.supervisor.order_feed.up is False)
    await d.until(lambda: d.supervisor.order_feed.up)
    assert d.orders.snapshots == 1


async def test_a_strategy_that_needs_neither_a_person_nor_a_start_starts_with_a_reload(desk: Make) -> None:
    d = desk(strategy(target="100000", **FAST))
    await d.supervisor.open()
    await d.supervisor.start("s")
    d.configure(trading(strategy(target="100000", **FAST), strategy("t", users=("2",), target="60", **FAST)))
    await d.until(lambda: bool(d.orders.buys("2")))


async def test_a_blocked_users_place_goes_to_one_who_waits(
    desk: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strategy_service.user_run._BLOCKED_SECONDS", 0.2)
    d = desk(strategy(users=("9", "1"), target="100000", **FAST), places=1)
    await d.supervisor.open()
    await d.supervisor.start("s")
    assert list(states(d.supervisor).values())[1] is UserState.QUEUED
    await d.until(lambda: bool(d.orders.buys("1")))
    assert states(d.supervisor)["9"] is UserState.QUEUED

"""The RPCs over real gRPC on a port of the system's choice, above the fakes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import grpc
import pytest

from otopilot.clock import SystemClock
from otopilot.rpc import channel, fault_of, problems_of, serve
from otopilot.settings import Endpoint
from protos import strategy_pb2 as pb
from protos import strategy_pb2_grpc
from strategy_service import to_pb
from strategy_service.config import ConfigManager
from strategy_service.runs import Runs
from strategy_service.servicer import StrategyServicer
from strategy_service.state import StopMode
from strategy_service.status import UserState, UserStatus
from strategy_service.supervisor import Supervisor
from tests.strategy_service.fakes import FakeMarket, FakeOrders

FILE = """\
strategies:
  - strategy_id: koge
    strategy_name: KOGE demo
    target_token: KOGE
    target_chain: BSC
    target_volume: 100000
    trade_interval_seconds: 0.05
    user_ids: [1, 2]
  - strategy_id: "off"
    enabled: false
    target_token: KOGE
    target_chain: BSC
    target_volume: 10
    user_ids: [3]
"""


class Served:
    """A served supervisor, its stub and its file."""

    def __init__(self, stub: Any, path: Path, orders: FakeOrders) -> None:
        self.stub = stub
        self.path = path
        self.orders = orders


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    path = tmp_path / "trading_config.yaml"
    path.write_text(FILE)
    clock, orders = SystemClock(), FakeOrders()
    async with AsyncExitStack() as stack:
        runs = Runs(tmp_path / "runs.db")
        stack.callback(runs.close)
        supervisor = Supervisor(ConfigManager(path), FakeMarket(), orders, runs, clock)
        servicer = StrategyServicer(supervisor, clock)
        server = await stack.enter_async_context(
            serve(Endpoint(host="127.0.0.1", port=0), [servicer.registration()], grace_seconds=0.1)
        )
        await stack.enter_async_context(supervisor)
        client = channel(f"127.0.0.1:{server.port}")
        stack.push_async_callback(client.close)
        yield Served(strategy_pb2_grpc.StrategyServiceStub(client), path, orders)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.01)


async def test_start_answers_when_loops_run_and_stop_when_they_have_ended(served: Served) -> None:
    started = await served.stub.StartStrategy(pb.StartStrategyRequest(strategy_id="koge", request_id="a"))
    assert [s.is_running for s in started.strategies] == [True]
    await until(lambda: len(served.orders.buys()) >= 4)
    stopped = await served.stub.StopStrategy(pb.StopStrategyRequest(strategy_id="koge"))
    (status,) = stopped.strategies
    assert not status.is_running
    assert status.HasField("ended_at")
    assert {u.state for u in status.users} == {pb.USER_RUN_STATE_STOPPED}
    assert all(user.left_open_order_ids for user in status.users)
    placed = len(served.orders.log)
    await asyncio.sleep(0.2)
    assert len(served.orders.log) == placed


async def test_starting_all_starts_what_is_enabled(served: Served) -> None:
    answer = await served.stub.StartStrategy(pb.StartStrategyRequest())
    assert [s.strategy_id for s in answer.strategies] == ["koge"]


async def test_a_stop_without_waiting_answers_at_once(served: Served) -> None:
    await served.stub.StartStrategy(pb.StartStrategyRequest(strategy_id="koge"))
    served.orders.fill_seconds = None
    await until(lambda: bool(served.orders.buys()))
    answer = await served.stub.StopStrategy(pb.StopStrategyRequest(no_wait=True))
    assert answer.strategies[0].is_running
    assert {u.state for u in answer.strategies[0].users} <= {
        pb.USER_RUN_STATE_STOPPING,
        pb.USER_RUN_STATE_STOPPED,
    }


async def test_status_and_list_speak_of_what_never_ran_too(served: Served) -> None:
    status = await served.stub.GetStrategyStatus(pb.GetStrategyStatusRequest(strategy_id="off"))
    assert (status.enabled, status.is_running, status.total_volume, status.progress) == (
        False,
        False,
        "0",
        "0.00%",
    )
    assert [u.state for u in status.users] == [pb.USER_RUN_STATE_IDLE]
    listed = await served.stub.ListStrategies(pb.ListStrategiesRequest())
    assert [s.strategy_id for s in listed.strategies] == ["koge", "off"]


@pytest.mark.parametrize(
    ("method", "request_message", "code", "reason"),
    [
        ("StartStrategy", pb.StartStrategyRequest(strategy_id="x"), "NOT_FOUND", "UNKNOWN_STRATEGY"),
        ("StartStrategy", pb.StartStrategyRequest(strategy_id="off"), "FAILED_PRECONDITION", "DISABLED"),
        ("StopStrategy", pb.StopStrategyRequest(strategy_id="x"), "NOT_FOUND", "UNKNOWN_STRATEGY"),
        (
            "StopStrategy",
            pb.StopStrategyRequest(strategy_id="koge", user_id="9"),
            "NOT_FOUND",
            "UNKNOWN_USER",
        ),
        ("StopStrategy", pb.StopStrategyRequest(mode=17), "INVALID_ARGUMENT", "BAD_ARGUMENT"),
        ("GetStrategyStatus", pb.GetStrategyStatusRequest(), "NOT_FOUND", "UNKNOWN_STRATEGY"),
        ("PauseStrategy", pb.PauseStrategyRequest(strategy_id="x"), "NOT_FOUND", "UNKNOWN_STRATEGY"),
        ("PauseStrategy", pb.PauseStrategyRequest(user_id="9"), "NOT_FOUND", "UNKNOWN_USER"),
        ("ResumeStrategy", pb.ResumeStrategyRequest(), "FAILED_PRECONDITION", "NOT_RUNNING"),
        ("ExplainUsers", pb.ExplainUsersRequest(strategy_id="x"), "NOT_FOUND", "UNKNOWN_STRATEGY"),
        ("ListRounds", pb.ListRoundsRequest(page_size=1001), "INVALID_ARGUMENT", "BAD_ARGUMENT"),
        ("ListRounds", pb.ListRoundsRequest(page_token="²"), "INVALID_ARGUMENT", "BAD_ARGUMENT"),
    ],
)
async def test_errors_carry_their_code_and_reason(
    served: Served, method: str, request_message: Any, code: str, reason: str
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        await getattr(served.stub, method)(request_message)
    fault = fault_of(caught.value)
    assert (fault.code.name, fault.reason) == (code, reason)


async def test_watching_opens_with_a_snapshot_then_changes_then_heartbeats(served: Served) -> None:
    call = served.stub.WatchStrategies(pb.WatchStrategiesRequest(strategy_ids=["koge"], interval_ms=100))
    first = await call.read()
    assert (first.sequence, first.snapshot, len(first.strategies)) == (1, True, 1)
    heartbeat = await asyncio.wait_for(call.read(), 1.5)
    assert (heartbeat.sequence, heartbeat.snapshot, len(heartbeat.strategies)) == (2, False, 0)
    await served.stub.StartStrategy(pb.StartStrategyRequest(strategy_id="koge"))
    change = await asyncio.wait_for(call.read(), 1.5)
    assert change.strategies[0].is_running
    call.cancel()


async def test_watching_an_unknown_strategy_is_an_error(served: Served) -> None:
    call = served.stub.WatchStrategies(pb.WatchStrategiesRequest(strategy_ids=["nope"]))
    with pytest.raises(grpc.RpcError) as caught:
        await call.read()
    assert fault_of(caught.value).reason == "UNKNOWN_STRATEGY"


async def test_a_reload_tells_what_changes_and_validate_only_changes_nothing(served: Served) -> None:
    before = (await served.stub.ReloadConfig(pb.ReloadConfigRequest())).config_revision
    served.path.write_text(FILE.replace("target_volume: 100000", "target_volume: 5000"))
    preview = await served.stub.ReloadConfig(pb.ReloadConfigRequest(validate_only=True))
    assert any("target_volume 100000 -> 5000" in line for line in preview.changes)
    assert preview.config_revision == before
    answer = await served.stub.ReloadConfig(pb.ReloadConfigRequest())
    assert answer.changes == preview.changes
    assert answer.config_revision != before
    status = await served.stub.GetStrategyStatus(pb.GetStrategyStatusRequest(strategy_id="koge"))
    assert (status.target_volume, status.config_revision) == ("5000", answer.config_revision)


async def test_a_bad_file_names_every_problem_and_changes_nothing(served: Served) -> None:
    before = (await served.stub.ReloadConfig(pb.ReloadConfigRequest())).config_revision
    served.path.write_text(FILE.replace("target_volume: 100000", "target_volume: many\n    colour: red"))
    with pytest.raises(grpc.RpcError) as caught:
        await served.stub.ReloadConfig(pb.ReloadConfigRequest())
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    lines = problems_of(caught.value)
    assert len(lines) == 2
    assert all("trading_config.yaml:" in line for line in lines)
    served.path.write_text(FILE)
    assert (await served.stub.ReloadConfig(pb.ReloadConfigRequest())).config_revision == before


async def test_a_pause_is_explained_and_ended(served: Served) -> None:
    await served.stub.StartStrategy(pb.StartStrategyRequest(strategy_id="koge"))
    paused = await served.stub.PauseStrategy(pb.PauseStrategyRequest(strategy_id="koge", user_id="1"))
    assert [status.strategy_id for status in paused.strategies] == ["koge"]

    async def told() -> dict[str, Any]:
        answer = await served.stub.ExplainUsers(pb.ExplainUsersRequest(strategy_id="koge"))
        return {each.user_id: each for each in answer.users}

    async with asyncio.timeout(5):
        while (await told())["1"].code != pb.REASON_CODE_PAUSED:
            await asyncio.sleep(0.02)
    one = (await told())["1"]
    assert (one.state, one.what_to_do) == (pb.USER_RUN_STATE_PAUSED, "otopilot resume")
    assert (one.target, one.price, one.max_price_age_ms) == ("100000", "100", 3000)
    await served.stub.ResumeStrategy(pb.ResumeStrategyRequest(strategy_id="koge"))
    async with asyncio.timeout(5):
        while (await told())["1"].state != pb.USER_RUN_STATE_RUNNING:
            await asyncio.sleep(0.02)


async def test_rounds_come_in_pages_newest_first_and_runs_with_how_users_ended(served: Served) -> None:
    await served.stub.StartStrategy(pb.StartStrategyRequest(strategy_id="koge"))
    await until(lambda: len(served.orders.buys()) >= 6)
    await served.stub.StopStrategy(pb.StopStrategyRequest())
    whole = await served.stub.ListRounds(pb.ListRoundsRequest(strategy_id="koge"))
    sequences, token = [], ""
    while True:
        page = await served.stub.ListRounds(pb.ListRoundsRequest(page_size=2, page_token=token))
        sequences += [each.sequence for each in page.rounds]
        token = page.next_page_token
        if not token:
            break
    assert sequences == [each.sequence for each in whole.rounds] == sorted(sequences, reverse=True)
    assert sum(D(each.bought) for each in whole.rounds) == sum(served.orders.counted(u) for u in "12")
    (run,) = (await served.stub.ListRuns(pb.ListRunsRequest())).runs
    assert {user.outcome for user in run.users} == {pb.USER_RUN_STATE_STOPPED}
    assert run.HasField("ended_at")


async def test_a_request_id_that_was_used_for_something_else_is_refused(served: Served) -> None:
    await served.stub.StartStrategy(pb.StartStrategyRequest(strategy_id="koge", request_id="a"))
    await served.stub.PauseStrategy(pb.PauseStrategyRequest(strategy_id="koge", request_id="b"))
    await served.stub.PauseStrategy(pb.PauseStrategyRequest(strategy_id="koge", request_id="b"))
    for method, message in (
        ("StopStrategy", pb.StopStrategyRequest(strategy_id="koge", request_id="a")),
        ("ResumeStrategy", pb.ResumeStrategyRequest(strategy_id="koge", request_id="b")),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            await getattr(served.stub, method)(message)
        fault = fault_of(caught.value)
        assert (fault.code.name, fault.reason) == ("ALREADY_EXISTS", "REQUEST_REUSED")


async def test_the_users_volumes_sum_up_to_the_total(served: Served) -> None:
    await served.stub.StartStrategy(pb.StartStrategyRequest(strategy_id="koge"))
    await until(lambda: len(served.orders.buys()) >= 4)
    await asyncio.sleep(1.2)
    await served.stub.StopStrategy(pb.StopStrategyRequest())
    status = await served.stub.GetStrategyStatus(pb.GetStrategyStatusRequest(strategy_id="koge"))
    assert D(status.total_volume) == sum(D(user.volume) for user in status.users)
    assert status.symbol == "ALPHA_22USDT"


def test_every_state_of_a_user_has_its_name_on_the_wire() -> None:
    for state in UserState:
        assert to_pb.user(UserStatus(user_id="1", state=state)).state != pb.USER_RUN_STATE_UNSPECIFIED
    assert {mode.value for mode in StopMode} == {"drain", "cancel", "flatten"}

"""SIGHUP to a strategy service that trades: it reads its file again and acts, as the RPC has it do."""

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from otopilot.instrument import Venue
from otopilot.rpc import problems_of
from protos import strategy_pb2 as pb
from tests.system.fleet import Fleet, Team, trading_config

SECONDS = 60.0


def team(*users: str, target: str = "1000000", interval: str = "1") -> Team:
    keys = {"target_volume": target, "single_trade_amount_usdt": "20", "trade_interval_seconds": interval}
    return Team("koge", Venue.ALPHA, "KOGE", users, keys)


class Trading:
    """A fleet that trades, its file, and what its strategy service said."""

    def __init__(self, fleet: Fleet, root: Path) -> None:
        self.fleet = fleet
        self.file = root / "trading.yaml"
        self.log = root / "strategy_service.log"
        self.stub = fleet.strategy()

    def write(self, wanted: Team) -> None:
        """The file as it shall be."""
        trading_config(self.file, (wanted,))

    def hang_up(self) -> None:
        """What `kill -HUP` does."""
        self.fleet.processes["strategy_service"].signal(signal.SIGHUP)

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait until that is so."""
        deadline = time.monotonic() + SECONDS
        while not condition():
            assert time.monotonic() < deadline, self.fleet.processes["strategy_service"].tail()
            time.sleep(0.1)

    def said(self, event: str) -> list[dict[str, Any]]:
        """The service's log lines of that kind."""
        lines = [line for line in self.log.read_text(encoding="utf-8").splitlines() if line.startswith("{")]
        return [line for line in map(json.loads, lines) if line["event"] == event]

    def trades(self, user: str) -> bool:
        """Has it begun?"""
        return user in (now := self.fleet.statuses()) and now[user].cycles >= 1

    def status(self) -> pb.StrategyStatus:
        """The strategy's."""
        asked = pb.GetStrategyStatusRequest(strategy_id="koge")
        return self.stub.GetStrategyStatus(asked, timeout=10)  # type: ignore[no-any-return]


@pytest.mark.timeout(300)
def test_sighup_does_what_the_reload_rpc_does_and_a_bad_file_changes_nothing(tmp_path: Path) -> None:
    with Fleet(tmp_path, (team("1", "2", "3"),)) as fleet:
        fleet.enlist()
        trading = Trading(fleet, tmp_path)
        trading.write(team("1"))
        trading.stub.ReloadConfig(pb.ReloadConfigRequest(), timeout=10)
        fleet.begin()
        trading.until(lambda: trading.trades("1"))
        one_more_user_and_another_target(trading)
        a_key_nobody_knows(trading)
        one_user_comes_and_one_goes(trading)
        assert not fleet.fallen()
        fleet.stop()


def one_more_user_and_another_target(trading: Trading) -> None:
    trading.write(team("1", "2", target="900000"))
    would = trading.stub.ReloadConfig(pb.ReloadConfigRequest(validate_only=True), timeout=10).changes
    assert len(would) >= 2
    trading.hang_up()
    trading.until(lambda: len(trading.said("configuration reloaded")) == 1)
    assert trading.said("configuration reloaded")[0]["changes"] == list(would)
    trading.until(lambda: trading.trades("2"))
    assert trading.status().target_volume == "900000"


def a_key_nobody_knows(trading: Trading) -> None:
    before = trading.status()
    trading.write(team("1", "2", "3", target="800000"))
    good = trading.file.read_text(encoding="utf-8")
    trading.file.write_text(good.replace("trade_interval_sec", "trade_intervall_sec"), encoding="utf-8")
    number = 1 + next(i for i, line in enumerate(good.splitlines()) if "trade_interval_sec" in line)
    trading.hang_up()
    trading.until(lambda: len(trading.said("configuration not reloaded")) == 1)
    (problem,) = trading.said("configuration not reloaded")[0]["problems"]
    assert f"trading.yaml:{number}:" in problem
    assert "trade_intervall_seconds" in problem
    with pytest.raises(grpc.RpcError) as refused:
        trading.stub.ReloadConfig(pb.ReloadConfigRequest(), timeout=10)
    assert problems_of(refused.value) == [problem]
    cycles = before.users[0].cycles
    trading.until(lambda: trading.status().users[0].cycles > cycles + 1)
    now = trading.status()
    assert (now.target_volume, now.config_revision) == ("900000", before.config_revision)
    assert [user.user_id for user in now.users] == ["1", "2"]


def one_user_comes_and_one_goes(trading: Trading) -> None:
    trading.write(team("2", "3", target="800000"))
    trading.hang_up()
    trading.until(lambda: trading.trades("3"))
    trading.until(lambda: [user.user_id for user in trading.status().users] == ["2", "3"])
    assert trading.status().target_volume == "800000"

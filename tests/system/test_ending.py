"""After the end: nothing of a run is left open at the exchange."""

import time
from pathlib import Path

import pytest

from otopilot.instrument import Venue
from tests.system.fleet import Fleet, Team

KEYS = {"target_volume": "1000000", "single_trade_amount_usdt": "20", "trade_interval_seconds": "1"}
TEAMS = (Team("koge", Venue.ALPHA, "KOGE", ("1", "2"), KEYS), Team("bnb", Venue.SPOT, "BNB", ("3",), KEYS))
ESTABLISHED = "01"


def connections_to(port: int) -> int:
    """Established connections of this machine to that port, by the kernel's own table."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    fields = (line.split() for line in lines)
    return sum(each[2].endswith(f":{port:04X}") and each[3] == ESTABLISHED for each in fields)


@pytest.mark.timeout(180)
def test_when_the_services_end_no_connection_to_the_exchange_is_left(tmp_path: Path) -> None:
    with Fleet(tmp_path, TEAMS) as fleet:
        fleet.enlist()
        fleet.begin()
        port = int(fleet.pair.url.rpartition(":")[2])
        deadline = time.monotonic() + 60
        while any(user.cycles < 1 for user in fleet.statuses().values()):
            assert time.monotonic() < deadline, fleet.statuses()
            time.sleep(0.2)
        assert connections_to(port) > 2  # prices, orders, requests
        fleet.stop()
        for name in ("strategy_service", "market_service", "order_service"):
            fleet.processes[name].end()
            assert fleet.processes[name].exit_code == 0, fleet.processes[name].tail()
        assert connections_to(port) == 0
        assert fleet.serves("paper_exchange")

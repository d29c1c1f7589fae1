"""The real process: it says where it is, survives kill -9, and refuses in one line."""

import asyncio
import json
import os
import random
import signal
import socket
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import ROUND_DOWN, Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from paper_exchange.server import Server, now_ms
from paper_exchange.store import MemoryStore
from paper_exchange.world import World
from tests.paper_exchange.desk import ASSET, DEFI, ROOT, make_config

CONFIG = ROOT / "config" / "paper.yaml"
DEADLINE = 15


class Running:
    """A started paper exchange and a client of it."""

    def __init__(
        self, process: asyncio.subprocess.Process, port: int, world: str, web: aiohttp.ClientSession
    ) -> None:
        self.process, self.port, self.world, self.web = process, port, world, web
        self.base = f"http://127.0.0.1:{port}"
        self.headers: dict[str, str] = {}

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        async with self.web.request(method, self.base + path, json=body, headers=self.headers) as answer:
            return json.loads(await answer.read())

    async def log_in(self, user_id: str = "1") -> None:
        made = await self.ask("POST", "/control/accounts", {"user_id": user_id, "venue": "alpha"})
        self.headers = made["credential"]["headers"]

    async def place_oto(self, price: str, quantity: str, pending: str) -> Any:
        amount = (Decimal(price) * Decimal(quantity)).quantize(Decimal("1e-8"), ROUND_DOWN)
        body = {
            "baseAsset": "ALPHA_22",
            "quoteAsset": "USDT",
            "workingSide": "BUY",
            "workingPrice": price,
            "workingQuantity": quantity,
            "paymentDetails": [{"amount": str(amount), "paymentWalletType": "CARD"}],
            "pendingPrice": pending,
            "pendingType": "LIMIT",
        }
        return await self.ask("POST", f"{ASSET}/oto-order/place", body)


async def spawn(data: Path, *more: str, config: Path = CONFIG) -> asyncio.subprocess.Process:
    command = [
        sys.executable,
        "-m",
        "paper_exchange",
        "--config",
        str(config),
        "--data-dir",
        str(data),
        *more,
    ]
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe)


@asynccontextmanager
async def running(data: Path, *more: str) -> AsyncIterator[Running]:
    process = await spawn(data, "--port", "0", *more)
    assert process.stdout is not None
    first = (await asyncio.wait_for(process.stdout.readline(), DEADLINE)).decode().split()
    assert first[:2] == ["paper-exchange", "ready"], first
    said = dict(word.split("=") for word in first[2:])
    async with aiohttp.ClientSession() as web:
        try:
            yield Running(process, int(said["port"]), said["world"], web)
        finally:
            if process.returncode is None:
                process.kill()
            await asyncio.wait_for(process.communicate(), DEADLINE)


async def refusal(data: Path, *more: str, config: Path = CONFIG) -> str:
    process = await spawn(data, *more, config=config)
    out, err = await asyncio.wait_for(process.communicate(), DEADLINE)
    assert process.returncode == 4, (out, err)
    assert out == b""
    lines = err.decode().splitlines()
    assert len(lines) == 1
    return lines[0]


async def test_killed_again_and_again_it_forgets_nothing_it_told(tmp_path: Path) -> None:
    known: dict[int, str] = {}
    fills: list[Any] = []
    worlds = set()
    for _ in range(3):
        async with running(tmp_path) as px:
            worlds.add(px.world)
            await px.log_in()
            trades = (await px.ask("GET", "/control/trades"))["trades"]
            assert trades[: len(fills)] == fills
            orders = {o["order_id"]: o for o in (await px.ask("GET", "/control/orders"))["orders"]}
            assert known.keys() <= orders.keys()
            for _ in range(10):
                placed = (await px.place_oto("48.9", "0.2", "52"))["data"]
                known |= {placed["workingOrderId"]: "BUY", placed["pendingOrderId"]: "SELL"}
            await asyncio.sleep(0.35)
            fills = (await px.ask("GET", "/control/trades"))["trades"]
            px.process.send_signal(signal.SIGKILL)
            assert await asyncio.wait_for(px.process.wait(), DEADLINE) == -signal.SIGKILL
    async with running(tmp_path) as px:
        await px.log_in()
        await asyncio.sleep(0.5)
        report = await px.ask("GET", "/control/report")
        assert worlds == {px.world}
        assert report["totals"]["accepted_lists"] == 30
        assert report["totals"]["sides"]["BUY"]["trades"] == 30
        held = report["accounts"][0]["balances"]
        spent = Decimal(report["totals"]["sides"]["BUY"]["quote"])
        assert Decimal(held["USDT"]["free"]) == 20000 - spent
        assert Decimal(held["ALPHA_22"]["free"]) + Decimal(held["ALPHA_22"]["locked"]) == 6 - Decimal(
            "0.0006"
        )


async def test_order_pushes_reach_a_real_socket_and_sigterm_ends_it_cleanly(tmp_path: Path) -> None:
    async with running(tmp_path) as px:
        await px.log_in()
        key = (await px.ask("POST", f"{DEFI}/get-listen-key", {}))["data"]
        socket_ = await px.web.ws_connect(f"{px.base}/w3w/stream")
        await socket_.send_json({"method": "SUBSCRIBE", "params": [f"alpha@{key}"], "id": 2})
        assert await socket_.receive_json(timeout=DEADLINE) == {"result": None, "id": 2}
        await px.place_oto("48.9", "0.2", "52")
        seen = [(await socket_.receive_json(timeout=DEADLINE))["data"]["X"] for _ in range(4)]
        assert seen == ["NEW", "PENDING", "FILLED", "NEW"]
        px.process.terminate()
        assert await asyncio.wait_for(px.process.wait(), DEADLINE) == 0


async def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    async with running(tmp_path, "--exit-with-parent") as px:
        assert px.process.stdin is not None
        px.process.stdin.close()
        assert await asyncio.wait_for(px.process.wait(), DEADLINE) == 0


async def test_a_lost_answer_is_a_closed_connection_and_a_kept_order(tmp_path: Path) -> None:
    async with running(tmp_path) as px:
        await px.log_in()
        rule = {"kind": "drop_response", "endpoint": "place_oto", "count": 1}
        await px.ask("POST", "/control/faults", rule)
        with pytest.raises(aiohttp.ClientError):
            await px.place_oto("40", "1", "50")
        assert (await px.ask("GET", "/control/report"))["totals"]["accepted_lists"] == 1
        slow = {"kind": "engine_delay", "endpoint": "place_oto", "count": 1, "seconds": "0.4"}
        await px.ask("POST", "/control/faults", slow)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(px.place_oto("40", "1", "50"), 0.1)
        assert (await px.ask("GET", "/control/report"))["totals"]["accepted_lists"] == 1
        await asyncio.sleep(0.6)
        assert (await px.ask("GET", "/control/report"))["totals"]["accepted_lists"] == 2


async def test_it_refuses_a_data_directory_in_use(tmp_path: Path) -> None:
    async with running(tmp_path):
        assert "in use" in await refusal(tmp_path, "--port", "0")


async def test_it_refuses_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"cannot listen on 127.0.0.1:{port}" in await refusal(tmp_path, "--port", str(port))


async def test_a_disk_that_refuses_a_commit_ends_the_service_instead_of_the_truth() -> None:
    class FullDisk(MemoryStore):
        full = False

        def save(self, documents: Any) -> None:
            if self.full:
                raise sqlite3.OperationalError("database or disk is full")
            super().save(documents)

    disk = FullDisk()
    world = World(make_config(), disk, rng=random.Random(1), world_id="d" * 32, now_ms=now_ms())
    server = Server(world)
    port = await server.start("127.0.0.1", 0)
    try:
        disk.full = True
        async with aiohttp.ClientSession() as web:
            body = {"user_id": "1", "venue": "alpha"}
            async with web.post(f"http://127.0.0.1:{port}/control/accounts", json=body) as answer:
                assert answer.status == 500
        await asyncio.wait_for(server.stopped.wait(), DEADLINE)
        assert isinstance(server.failure, sqlite3.OperationalError)
    finally:
        await server.close()


@pytest.mark.parametrize("content", [None, "seed: many\n", "instruments: [\n"])
async def test_it_refuses_a_configuration_it_cannot_read(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "paper.yaml"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    assert str(file) in await refusal(tmp_path / "data", config=file)


async def test_help_says_how_to_start_it_alone() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "paper_exchange",
        "--help",
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"COLUMNS": "200"},
    )
    out, _ = await asyncio.wait_for(process.communicate(), DEADLINE)
    assert "--config config/paper.yaml --data-dir" in out.decode()

"""Rows 9, 11, 32, 33, 42, 45, 46 over real sockets and processes: cuts, silence, standing still, signals."""

import asyncio
import signal
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import pytest

from market_service.__main__ import open_service
from otopilot import rpc
from otopilot.clock import SystemClock
from otopilot.settings import MarketSettings, PaperSettings, Settings
from protos import market_pb2, market_pb2_grpc
from protos import order_pb2 as pb
from tests.contract.paper import Paper, running
from tests.faults.processes import Pair, free_port
from tests.faults.proxy import Proxy
from tests.faults.run import settle
from tests.faults.trading import ALPHA, SPOT, Crowd, Trader

KOGE = market_pb2.PriceKey(venue=market_pb2.VENUE_ALPHA, symbol="ALPHA_22USDT")


async def prices(stack: AsyncExitStack, url: str) -> Any:
    """The market service in this process, over this address; a client of it."""
    chosen = MarketSettings(silence_seconds=0.5, reconnect_seconds=1.5, port=0)
    settings = Settings(paper=PaperSettings(url=url), market=chosen)
    server, _ = await open_service(stack, settings, SystemClock())
    channel = await stack.enter_async_context(rpc.channel(f"127.0.0.1:{server.port}"))
    return market_pb2_grpc.MarketServiceStub(channel)


async def quote(stub: Any) -> Any:
    return await stub.GetPrice(market_pb2.GetPriceRequest(venue=KOGE.venue, symbol=KOGE.symbol), timeout=10)


async def test_row_09_a_half_open_line_makes_the_price_old_and_not_wrong_and_it_comes_back() -> None:
    async with AsyncExitStack() as stack:
        paper = await stack.enter_async_context(running())
        proxy = await stack.enter_async_context(Proxy(_port(paper)))
        stub = await prices(stack, f"http://127.0.0.1:{proxy.port}")
        first = await quote(stub)
        proxy.half_open()
        await asyncio.sleep(2.5)
        known = await _known(stub)
        assert known is None or known <= first.confirmed_at.ToNanoseconds() + 10**9
        proxy.half_open(on=False)
        proxy.cut()
        await _until(lambda: _fresh(stub, first.confirmed_at.ToNanoseconds()), 15)


async def test_rows_31_33_a_crossed_book_and_lost_frames_never_become_a_price() -> None:
    """Prices come from trades alone: no book is read, so none that is crossed or has a gap can mislead."""
    async with AsyncExitStack() as stack:
        paper = await stack.enter_async_context(running())
        await paper.pin("ALPHA_22USDT", "48")
        stub = await prices(stack, paper.url)
        await quote(stub)
        for kind in ("market_cross", "market_frame_drop"):
            await paper.control("POST", "faults", {"kind": kind, "probability": "0.5"})
        for _ in range(10):
            await asyncio.sleep(0.2)
            assert Decimal((await quote(stub)).price) == 48


@pytest.mark.timeout(120)
async def test_row_11_a_line_that_is_cut_again_and_again_costs_no_order_and_no_trade(tmp_path: Path) -> None:
    port = free_port()
    pair = Pair(tmp_path, paper_url=f"http://127.0.0.1:{port}", sweep_seconds=3)
    pair.start_paper()
    async with Proxy(urlsplit(pair.url).port or 0, port) as proxy:
        try:
            await asyncio.to_thread(pair.start_orders)
            async with Crowd(pair, _traders(6), seed=3) as crowd:
                await crowd.enlist()
                await crowd.ready(30)
                # Whether a cut meets a placement under way is chance; two lost answers are not.
                await asyncio.to_thread(pair.fault, "drop_response", endpoint="place_oto", count=2)
                trading = asyncio.create_task(crowd.trade(60, 30))
                while not trading.done():
                    await asyncio.sleep(0.7)
                    proxy.cut()
                    proxy.lose_answers()
                    await asyncio.sleep(0.5)
                    proxy.cut()
                    proxy.lose_answers(on=False)
                await trading
                verdict = await settle(pair, crowd)
                assert verdict.differences == []
                assert verdict.figures["ever in doubt"] > 0
                # Six user streams alone, and each of them came back after cuts.
                assert proxy.connections > 3 * 6
                assert crowd.counts["placed"] >= 20
        finally:
            await asyncio.to_thread(pair.__exit__, None, None, None)


@pytest.mark.timeout(60)
async def test_row_42_a_machine_that_stood_still_before_sending_sends_nothing(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    pair.start_paper()
    try:
        await asyncio.to_thread(pair.start_orders, OTOPILOT_FAILPOINTS="place.before_send=pause:2.5")
        async with Crowd(pair, _traders(1), seed=1) as crowd:
            await crowd.enlist()
            await crowd.ready(30)
            request = crowd.request(crowd.traders[0])
            order = await crowd.place(request, lambda: True)
            assert order is not None
            answer = await crowd.orders.GetOrder(pb.GetOrderRequest(request_id=request.request_id), timeout=5)
            assert answer.state == pb.ORDER_STATE_REJECTED
            assert answer.rejection.kind == pb.REJECTION_KIND_NOT_SENT
            assert pair.control("GET", "orders")["orders"] == []
    finally:
        await asyncio.to_thread(pair.__exit__, None, None, None)


@pytest.mark.timeout(150)
@pytest.mark.parametrize(
    "signals",
    [(signal.SIGTERM,), (signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGKILL)],
    ids=["row_45_stop", "row_46_twice", "row_46_kill"],
)
async def test_rows_45_46_signals_at_any_moment_are_got_over(
    tmp_path: Path, signals: tuple[signal.Signals, ...]
) -> None:
    with Pair(tmp_path, sweep_seconds=3) as pair:
        pair.fault("drop_response", endpoint="place_o*", probability="0.1")
        async with Crowd(pair, _traders(4), seed=2) as crowd:
            await crowd.enlist()
            await crowd.ready(30)
            done = asyncio.Event()
            trading = asyncio.create_task(crowd.trade_while(lambda: not done.is_set()))
            for after in (0.9, 1.7):
                await asyncio.sleep(after)
                for number in signals:
                    if pair.orders.exit_code is None:
                        pair.orders.signal(number)
                    await asyncio.sleep(0.05)
                await asyncio.to_thread(pair.orders.wait, 15)
                await asyncio.to_thread(pair.start_orders)
                await crowd.ready(30)
            await asyncio.sleep(1)
            done.set()
            await trading
            verdict = await settle(pair, crowd)
            assert verdict.differences == []
            assert verdict.figures["still in doubt"] == 0


def _traders(count: int) -> list[Trader]:
    return [Trader(f"u{n}", ALPHA if n % 2 else SPOT) for n in range(1, count + 1)]


def _port(paper: Paper) -> int:
    port = urlsplit(paper.url).port
    assert port is not None
    return port


async def _known(stub: Any) -> int | None:
    """When the price was confirmed, or none while it cannot be had."""
    try:
        found = await quote(stub)
    except grpc.aio.AioRpcError as error:
        if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
            raise
        return None
    confirmed: int = found.confirmed_at.ToNanoseconds()
    return confirmed


async def _fresh(stub: Any, after: int) -> bool:
    known = await _known(stub)
    return known is not None and known > after + 2 * 10**9


async def _until(holds: Any, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not await holds():
            await asyncio.sleep(0.1)

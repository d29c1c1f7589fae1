"""What is kept of a venue while reads of it hang: one waits for the failure, the others do not follow."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from order_service.venues.alpha_listing import AlphaListing
from order_service.venues.fields import Row, decode
from order_service.venues.port import VenueSilent
from order_service.venues.reading import DENIED_SECONDS, HALTED_SECONDS, Kept
from otopilot.instrument import InstrumentStatus
from tests.order_service.venues.test_alpha_writes import KOGE, exchange_info
from tests.virtual_loop import VirtualClock, virtual

HANGS_SECONDS = 15.0  # three tries of five seconds
SWEEPS = 16


class Source:
    """Counts its reads; while it hangs, they take long and fail."""

    def __init__(self) -> None:
        self.hangs = False
        self.reads = 0

    async def read(self) -> int:
        self.reads += 1
        if self.hangs:
            await asyncio.sleep(HANGS_SECONDS)
            raise VenueSilent("timeout", "x")
        return self.reads


async def kept_for_an_hour() -> tuple[Source, Kept[int]]:
    """Read half a minute ago; now it hangs."""
    source = Source()
    kept = Kept(VirtualClock(), 3600.0, source.read, keep_last=True)
    assert await kept.get() == 1
    await asyncio.sleep(DENIED_SECONDS + 1)
    source.hangs = True
    return source, kept


async def all_of(kept: Kept[int], within: float | None) -> float:
    """Seconds until as many readers have their answer."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert await asyncio.gather(*(kept.get(within) for _ in range(SWEEPS))) == [1] * SWEEPS
    return loop.time() - began


@pytest.mark.parametrize("within", [None, HALTED_SECONDS])
@pytest.mark.parametrize("doubted", [False, True])
def test_after_a_failed_read_nobody_reads_for_five_seconds(within: float | None, doubted: bool) -> None:
    @virtual
    async def story() -> None:
        source, kept = await kept_for_an_hour()
        if doubted:
            kept.doubt()
        else:
            await asyncio.sleep(3600)
        assert await all_of(kept, within) == HANGS_SECONDS
        assert source.reads == 2
        await asyncio.sleep(4.9)
        assert await all_of(kept, within) == 0
        source.hangs = False
        await asyncio.sleep(0.2)
        assert await kept.get(within) == 3

    story()


@virtual
async def test_a_value_of_a_halted_symbol_is_not_read_by_one_sweep_after_the_other() -> None:
    source, kept = await kept_for_an_hour()
    assert await all_of(kept, HALTED_SECONDS) == HANGS_SECONDS
    assert source.reads == 2
    assert await kept.get() == 1  # it is still good for everybody else
    assert source.reads == 2


@virtual
async def test_a_value_that_is_proven_wrong_is_read_at_once_although_a_read_has_just_failed() -> None:
    source, kept = await kept_for_an_hour()
    kept.doubt()
    await kept.get()
    source.hangs = False
    kept.distrust()
    assert await kept.known() == 3


@virtual
async def test_sweeps_that_queue_for_a_token_list_never_read_do_not_each_wait_for_it() -> None:
    clock, tokens = VirtualClock(), Source()
    tokens.hangs = True

    async def symbols() -> Mapping[str, Row]:
        rows: list[dict[str, Any]] = decode(json.dumps(exchange_info()))["data"]["symbols"]
        return {row["symbol"]: row for row in rows}

    async def withdrawn() -> Mapping[str, InstrumentStatus]:
        await tokens.read()
        return {}

    listing = AlphaListing(clock, symbols, withdrawn)
    found = await asyncio.gather(*(listing.instrument(KOGE) for _ in range(SWEEPS)))
    assert {one.status for one in found} == {InstrumentStatus.HALTED}
    assert (tokens.reads, clock.monotonic()) == (1, HANGS_SECONDS)
    tokens.hangs = False
    await asyncio.sleep(HALTED_SECONDS)
    assert (await listing.instrument(KOGE)).status is InstrumentStatus.TRADING
    assert tokens.reads == 2

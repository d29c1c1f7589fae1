"""GetInstrument over gRPC: found by symbol or token, never guessed, kept when the venue fails."""

import json

import grpc

from protos import market_pb2 as pb
from tests.market_service.conftest import Start, Stub, refused
from tests.market_service.imitation import KOGE, Imitation, fixture


async def test_koge_on_bsc_is_alpha_22(market: Stub) -> None:
    found = await market.GetInstrument(pb.GetInstrumentRequest(token="KOGE", chain="BSC"))
    assert found.symbol == KOGE
    assert found.venue == pb.VENUE_ALPHA
    assert (found.tick_size, found.step_size, found.min_notional) == ("0.00000001", "0.0001", "0.1")
    assert (found.buy_fee_rate, found.sell_fee_rate) == ("0.0001", "0.0001")
    assert found.max_num_orders == 200
    assert found.status == pb.INSTRUMENT_STATUS_TRADING
    assert found.HasField("fetched_at")


async def test_case_and_chain_id_do_not_matter(market: Stub) -> None:
    for token, chain in (("koge", "bsc"), ("KOGE", "56"), ("Koge", "")):
        asked = pb.GetInstrumentRequest(venue=pb.VENUE_ALPHA, token=token, chain=chain)
        assert (await market.GetInstrument(asked)).symbol == KOGE


async def test_an_unknown_token_names_close_ones(market: Stub) -> None:
    fault = await refused(market.GetInstrument(pb.GetInstrumentRequest(token="KOGO", chain="BSC")))
    assert fault.code is grpc.StatusCode.NOT_FOUND
    assert "KOGO" in fault.message
    assert "did you mean KOGE?" in fault.message


async def test_a_token_that_is_not_on_the_chain_says_where_it_is(market: Stub) -> None:
    fault = await refused(market.GetInstrument(pb.GetInstrumentRequest(token="KOGE", chain="Solana")))
    assert fault.code is grpc.StatusCode.NOT_FOUND
    assert "BSC" in fault.message


async def test_a_token_on_two_chains_wants_the_chain(venue: Imitation, start: Start) -> None:
    tokens = json.loads(fixture("alpha/public_token_list.json"))
    tokens["data"][1] |= {"symbol": "KOGE", "chainId": "8453", "chainName": "Base"}
    answer = venue._answer
    venue._answer = lambda name, query: (  # type: ignore[method-assign]
        json.dumps(tokens).encode() if name == "list" else answer(name, query)
    )
    market = await start(venue.url)
    asked = pb.GetInstrumentRequest(venue=pb.VENUE_ALPHA, token="KOGE")
    fault = await refused(market.GetInstrument(asked))
    assert fault.code is grpc.StatusCode.FAILED_PRECONDITION
    assert fault.metadata["choices"] == "BSC,Base"
    on_base = await market.GetInstrument(pb.GetInstrumentRequest(token="KOGE", chain="Base"))
    assert on_base.symbol == "ALPHA_373USDT"


async def test_rules_may_be_wanted_younger_but_not_from_the_future(market: Stub) -> None:
    asked = pb.GetInstrumentRequest(token="KOGE", chain="BSC", max_age_ms=10_000)
    assert (await market.GetInstrument(asked)).symbol == KOGE
    asked.max_age_ms = -1
    fault = await refused(market.GetInstrument(asked))
    assert (fault.code, fault.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MAX_AGE")


async def test_a_spot_symbol_needs_no_chain(market: Stub) -> None:
    found = await market.GetInstrument(pb.GetInstrumentRequest(venue=pb.VENUE_SPOT, token="btc"))
    assert (found.symbol, found.chain, found.buy_fee_rate) == ("BTCUSDT", "", "")
    assert found.opo_allowed
    same = await market.GetInstrument(pb.GetInstrumentRequest(venue=pb.VENUE_SPOT, symbol="BTCUSDT"))
    assert same.symbol == found.symbol


async def test_nothing_asked_and_no_venue_are_invalid(market: Stub) -> None:
    for asked in (
        pb.GetInstrumentRequest(venue=pb.VENUE_ALPHA),
        pb.GetInstrumentRequest(token="KOGE"),
        pb.GetInstrumentRequest(venue=pb.VENUE_SPOT, token="BTC", chain="BSC"),
    ):
        fault = await refused(market.GetInstrument(asked))
        assert fault.code is grpc.StatusCode.INVALID_ARGUMENT


async def test_instruments_are_read_once_in_five_minutes(venue: Imitation, market: Stub) -> None:
    for _ in range(5):
        await market.GetInstrument(pb.GetInstrumentRequest(token="KOGE", chain="BSC"))
    assert venue.asked["get-exchange-info"] == venue.asked["list"] == venue.asked["get-fee-rate"] == 1


async def test_an_unreachable_venue_is_named_and_kills_nothing(start: Start) -> None:
    market = await start("http://127.0.0.1:9")
    fault = await refused(market.GetInstrument(pb.GetInstrumentRequest(token="KOGE", chain="BSC")))
    assert fault.code is grpc.StatusCode.UNAVAILABLE
    assert "alpha" in fault.message
    assert "http://127.0.0.1:9" in fault.message


async def test_a_venue_that_answers_garbage_is_unavailable(venue: Imitation, market: Stub) -> None:
    for body in (b"", b"<html>", b"[]", b'{"code":"000000","data":{"symbols":7}}', b"\xff\xfe"):
        venue.body = body
        fault = await refused(market.GetInstrument(pb.GetInstrumentRequest(token="KOGE", chain="BSC")))
        assert fault.code is grpc.StatusCode.UNAVAILABLE
    venue.body = None
    await market.GetInstrument(pb.GetInstrumentRequest(token="KOGE", chain="BSC"))

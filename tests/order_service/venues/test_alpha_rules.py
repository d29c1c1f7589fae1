"""Alpha's own limits, held to before anything is sent: what it says to a breach is mostly unknown."""

import copy
import json
from decimal import Decimal
from typing import Any

import pytest

from order_service.venues import spot_rules
from order_service.venues.binance_alpha import AlphaVenue
from order_service.venues.fields import decode
from order_service.venues.port import RateLimited, VenueSilent
from otopilot.instrument import Instrument, InstrumentStatus, Side, Venue
from tests.order_service.venues import test_spot_writes as spot
from tests.order_service.venues.fakes import FakeTransport, Reply, alpha_reply, fixture, reply
from tests.order_service.venues.test_alpha_writes import KOGE, exchange_info, venue_of

D = Decimal
Lines = list[dict[str, Any]]
TOKENS = fixture("alpha/public_token_list")


def info(*filters: dict[str, Any], without: tuple[str, ...] = (), **changes: Any) -> Any:
    """Exchange info in which the first pair has other filters, or other fields."""
    told = copy.deepcopy(exchange_info())
    pair = told["data"]["symbols"][0]
    replaced = {*without, *(one["filterType"] for one in filters)}
    pair["filters"] = [one for one in pair["filters"] if one["filterType"] not in replaced] + list(filters)
    pair |= changes
    return told


def tokens(**flags: Any) -> Any:
    """The token list, with flags of KOGE's."""
    told = copy.deepcopy(TOKENS)
    for row in told["data"]:
        if row["alphaId"] == "ALPHA_22":
            row |= flags
    return told


def listing(
    rules: Any = None, token_list: Reply | list[Reply] | None = None
) -> tuple[FakeTransport, AlphaVenue]:
    transport = FakeTransport(
        {
            "get-exchange-info": reply(info() if rules is None else rules),
            "token/list": reply(TOKENS) if token_list is None else token_list,
        }
    )
    return transport, venue_of(transport)


async def rules_of(rules: Any = None, token_list: Any = None) -> Instrument:
    _, venue = listing(rules, None if token_list is None else reply(token_list))
    found = await venue.instrument(KOGE)
    assert await venue.known_instrument(KOGE) == found
    return found


@pytest.mark.parametrize(
    ("most", "notional", "expected"), [("900", "1000000", 900), ("1000000", "900", 900), ("900", None, 900)]
)
async def test_the_lesser_of_two_greatest_notionals_holds(
    most: str, notional: str | None, expected: int
) -> None:
    filters: list[dict[str, Any]] = [{"filterType": "MAX_NOTIONAL", "maxNotional": most}]
    if notional is not None:
        filters.append({"filterType": "NOTIONAL", "minNotional": "0.1", "maxNotional": notional})
    rules = await rules_of(info(*filters, without=("NOTIONAL",)))
    assert rules.max_notional == expected
    assert [one.filter for one in rules.violations(Side.BUY, D(48), D(19))] == ["NOTIONAL"]


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize(
    ("plain", "sided"), [(("0.2", "5"), ("0.00001", "100000")), (("0.00001", "100000"), ("0.2", "5"))]
)
async def test_the_narrower_of_two_price_bands_holds(
    side: Side, plain: tuple[str, str], sided: tuple[str, str]
) -> None:
    one = {"filterType": "PERCENT_PRICE", "multiplierDown": plain[0], "multiplierUp": plain[1]}
    other = {"filterType": "PERCENT_PRICE_BY_SIDE"}
    for name in ("bid", "ask"):
        other |= {f"{name}MultiplierDown": sided[0], f"{name}MultiplierUp": sided[1]}
    rules = await rules_of(info(one, other))
    for price, broken in ((D(9), True), (D(10), False), (D(250), False), (D(251), True)):
        found = [one.filter for one in rules.violations(side, price, D(2), D(50))]
        assert found == (["PERCENT_PRICE"] if broken else [])


@pytest.mark.parametrize(("kinds", "trades"), [(["MARKET"], False), ([], False), (["MARKET", "LIMIT"], True)])
async def test_a_pair_that_takes_no_limit_orders_is_halted(kinds: list[str], trades: bool) -> None:
    rules = await rules_of(info(orderTypes=kinds))
    assert rules.status is (InstrumentStatus.TRADING if trades else InstrumentStatus.HALTED)


@pytest.mark.parametrize(
    ("offline", "offsell", "status"),
    [
        (False, False, InstrumentStatus.TRADING),
        (None, None, InstrumentStatus.TRADING),
        (True, False, InstrumentStatus.HALTED),
        (False, True, InstrumentStatus.HALTED),
        (True, True, InstrumentStatus.DELISTED),
        ("yes", False, InstrumentStatus.HALTED),
    ],
)
async def test_a_token_that_is_withdrawn_does_not_trade_although_its_pair_does(
    offline: object, offsell: object, status: InstrumentStatus
) -> None:
    assert (await rules_of(None, tokens(offline=offline, offsell=offsell))).status is status


async def test_a_pair_that_is_delisted_stays_so_whatever_its_token_says() -> None:
    assert (await rules_of(info(status="DELISTED"))).status is InstrumentStatus.DELISTED


async def test_a_token_on_no_list_trades_as_its_pair_says() -> None:
    assert (await rules_of(None, {**TOKENS, "data": []})).status is InstrumentStatus.TRADING


async def test_a_withdrawn_token_is_asked_about_again_after_ten_seconds_others_after_five_minutes() -> None:
    transport, venue = listing(token_list=[reply(tokens(offline=True)), reply(TOKENS)])
    assert (await venue.instrument(KOGE)).status is InstrumentStatus.HALTED
    await venue.clock.sleep(11)
    assert (await venue.instrument(KOGE)).status is InstrumentStatus.TRADING
    read = transport.paths().count("list")
    await venue.clock.sleep(290)
    await venue.instrument(KOGE)
    assert transport.paths().count("list") == read
    await venue.clock.sleep(11)
    await venue.instrument(KOGE)
    assert transport.paths().count("list") == read + 1


async def test_without_the_token_list_nothing_trades_and_nobody_waits_for_it_twice() -> None:
    transport, venue = listing(token_list=reply({}, status=500))
    assert (await venue.instrument(KOGE)).status is InstrumentStatus.HALTED
    read = transport.paths().count("list")
    assert (await venue.known_instrument(KOGE)).status is InstrumentStatus.HALTED
    assert await venue.base_asset(KOGE) == "ALPHA_22"
    assert transport.paths().count("list") == read
    transport.replies["token/list"] = reply(TOKENS)
    await venue.clock.sleep(11)
    assert (await venue.instrument(KOGE)).status is InstrumentStatus.TRADING


async def test_a_token_list_once_read_stays_in_force_when_it_cannot_be_read_again() -> None:
    transport, venue = listing()
    await venue.instrument(KOGE)
    transport.replies["token/list"] = VenueSilent("timeout", "x")
    await venue.clock.sleep(301)
    assert (await venue.instrument(KOGE)).status is InstrumentStatus.TRADING


async def test_a_refusal_at_the_door_is_told_and_is_not_a_halt() -> None:
    _, venue = listing(token_list=reply({}, status=429))
    with pytest.raises(RateLimited):
        await venue.instrument(KOGE)


async def test_one_odd_token_takes_no_other_along() -> None:
    odd = {**TOKENS, "data": [{"offline": True}, {"alphaId": 7, "offline": [1]}, *TOKENS["data"]]}
    assert (await rules_of(None, odd)).status is InstrumentStatus.TRADING
    _, venue = listing(token_list=alpha_reply([1]))
    assert (await venue.instrument(KOGE)).status is InstrumentStatus.HALTED


@pytest.mark.parametrize("venue", list(Venue))
async def test_a_status_nobody_knows_halts_and_is_told_in_the_log(venue: Venue, aloud: Lines) -> None:
    if venue is Venue.ALPHA:
        found = await rules_of(info(status="PRE_DELISTING"))
    else:
        found = spot_rules_of("PRE_DELISTING")
    assert found.status is InstrumentStatus.HALTED
    assert [line["status"] for line in aloud if "status" in line] == ["PRE_DELISTING"]


@pytest.mark.parametrize("status", ["HALT", "BREAK", "END_OF_DAY", "CANCEL_ONLY"])
def test_a_known_status_of_spots_that_is_not_trading_halts_quietly(status: str, aloud: Lines) -> None:
    assert (spot_rules_of(status).status, aloud) == (InstrumentStatus.HALTED, [])


def spot_rules_of(status: str) -> Instrument:
    told = spot.exchange_info(status=status)
    return spot_rules.rules(decode(json.dumps(told)), spot.BTC).instrument

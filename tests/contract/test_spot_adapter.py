"""The order service's Spot adapter against the paper exchange, over sockets."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from order_service.credentials import Vault
from order_service.venues import binance
from order_service.venues.port import (
    Account,
    BalancePushed,
    CredentialRefused,
    OrderPushed,
    Placed,
    StreamDown,
    StreamNews,
    StreamUp,
    TooManyOrders,
    TradePushed,
    VenueNotReached,
    VenuePort,
    VenueRefused,
    VenueSilent,
)
from order_service.venues.transport import HttpTransport
from otopilot.clock import SystemClock
from otopilot.instrument import InstrumentStatus, Side, Venue
from otopilot.order import LegRole, LegStatus, Order, OrderId
from otopilot.settings import PaperSettings, Settings
from paper_exchange.config import Config
from tests.contract.paper import Paper, running, until
from tests.order_service.venues.fakes import an_order, leg
from tests.paper_exchange.desk import make_config

BNB = "BNBUSDT"
CLOCK = SystemClock()
VAULT = Vault(bytes(32))
ROLES = (LegRole.WORKING, LegRole.PENDING)


class Desk:
    """The adapter, and the exchange it reaches."""

    def __init__(self, paper: Paper) -> None:
        self.paper = paper
        settings = Settings(paper=PaperSettings(url=paper.url))
        self.transport: HttpTransport = binance.paper_transport(settings, CLOCK)
        self.spot: VenuePort = binance.paper_venues(settings, self.transport, CLOCK)[Venue.SPOT]

    async def account(self, user_id: str = "1", **asked: Any) -> Account:
        """A user's account with an HMAC key, by way of the vault."""
        opened = await self.paper.control("POST", "accounts", {"user_id": user_id, "venue": "spot", **asked})
        secret = opened["credential"]
        return self.open(user_id, secret.pop("kind"), secret)

    def open(self, user_id: str, kind: str, secret: dict[str, str]) -> Account:
        blob = VAULT.seal(user_id, Venue.SPOT, kind, json.dumps(secret).encode())
        return self.spot.account(user_id, VAULT.open(user_id, Venue.SPOT, blob))

    async def fault(self, kind: str, **more: Any) -> None:
        await self.paper.control("POST", "faults", {"kind": kind, "venue": "spot", **more})


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async with desk_of(make_config()) as made:
        yield made


@pytest.fixture
async def oto_desk() -> AsyncIterator[Desk]:
    """Without OPO, so that the adapter sends plain OTOs."""
    config = make_config()
    plain = [one.model_copy(update={"opo_allowed": False}) for one in config.instruments]
    async with desk_of(config.model_copy(update={"instruments": tuple(plain)})) as made:
        yield made


@asynccontextmanager
async def desk_of(config: Config) -> AsyncIterator[Desk]:
    async with running(config) as paper:
        await paper.pin(BNB, "800")
        made = Desk(paper)
        try:
            yield made
        finally:
            await made.transport.aclose()


def fresh(order: Order) -> Order:
    """The order under an id of its own, as of now."""
    order_id = secrets.token_hex(8)
    legs = tuple(
        msgspec.structs.replace(one, client_id=f"o{order_id}{letter}")
        for one, letter in zip(order.legs, "wp" if len(order.legs) > 1 else "l", strict=True)
    )
    now = CLOCK.now()
    return msgspec.structs.replace(
        order, order_id=OrderId(order_id), legs=legs, submitted_at=now, updated_at=now
    )


def an_oto(buy: str, sell: str, sold: str = "0.999") -> Order:
    order = an_order(
        BNB,
        leg(LegRole.WORKING, Side.BUY, buy, "1"),
        leg(LegRole.PENDING, Side.SELL, sell, sold),
        venue=Venue.SPOT,
    )
    return fresh(order)


def a_buy(price: str, quantity: str = "1") -> Order:
    return fresh(an_order(BNB, leg(LegRole.WORKING, Side.BUY, price, quantity), venue=Venue.SPOT))


def with_ids(order: Order, placed: Placed) -> Order:
    ids = {one.role: one.venue_order_id for one in placed.legs}
    legs = tuple(msgspec.structs.replace(one, venue_order_id=ids[one.role]) for one in order.legs)
    return msgspec.structs.replace(order, legs=legs)


async def statuses(account: Account, order: Order) -> list[LegStatus | None]:
    found = [await account.look_up(order, role) for role in ROLES[: len(order.legs)]]
    return [one.status if one else None for one in found]


async def test_the_world_the_rules_and_the_price_are_read(desk: Desk) -> None:
    assert await desk.spot.world() == "test-world"
    rules = await desk.spot.instrument(BNB)
    assert (rules.status, rules.opo_allowed) == (InstrumentStatus.TRADING, True)
    assert (rules.tick_size, rules.step_size) == (Decimal("0.01"), Decimal("0.001"))
    assert (rules.min_notional, rules.max_num_order_lists) == (Decimal(5), 20)
    assert abs(await desk.spot.last_price(BNB) - 800) < 1
    band_price = await desk.spot.band_price(BNB)  # no reference price, avgPriceMins 0 (binance-spot 2.3)
    assert band_price is not None
    assert abs(band_price - 800) < 1
    with pytest.raises(VenueRefused) as refused:
        await desk.spot.instrument("ALPHA_22USDT")
    assert refused.value.code == "unknown_symbol"


async def test_an_opo_is_placed_filled_and_sold_and_every_step_is_pushed(desk: Desk) -> None:
    account = await desk.account()
    news: list[StreamNews] = []
    stream = asyncio.create_task(account.run_stream(news.append))
    await until(lambda: StreamUp() in news)

    order = an_oto("801", "799", sold="1")
    placed = await account.place(order)
    assert [one.status for one in placed.legs] == [LegStatus.FILLED, LegStatus.PENDING]
    order = with_ids(order, placed)

    def trades() -> list[TradePushed]:
        return [one for one in news if isinstance(one, TradePushed)]

    await until(lambda: sum(one.trade.quantity for one in trades()) == Decimal("1.999"))
    await until(lambda: BalancePushed() in news)
    stream.cancel()
    assert await statuses(account, order) == [LegStatus.FILLED, LegStatus.FILLED]
    pending = await account.look_up(order, LegRole.PENDING)
    assert pending is not None
    assert pending.quantity == Decimal("0.999")
    assert {one.client_id for one in trades()} == {one.client_id for one in order.legs}

    read = [t for one in placed.legs for t in await account.trades_of(BNB, one.venue_order_id)]
    assert {one.key: one for one in read} == {one.trade.key: one.trade for one in trades()}
    since = await account.trades_since(BNB, order.submitted_at - timedelta(seconds=1))
    assert {one.key for one in since} == {one.key for one in read}
    assert {one.side for one in read} == {Side.BUY, Side.SELL}
    assert next(one.fee for one in read if one.side is Side.BUY).asset == "BNB"
    pushed = [one.order for one in news if isinstance(one, OrderPushed)]
    assert LegStatus.PENDING in {one.status for one in pushed}
    assert {one.list_id for one in pushed} == {placed.list_id}


async def test_an_oto_rests_is_found_by_client_id_and_ends_whole_when_a_leg_is_cancelled(
    oto_desk: Desk,
) -> None:
    account = await oto_desk.account()
    order = an_oto("700", "900", sold="0.9")
    placed = await account.place(order)
    assert await statuses(account, order) == [LegStatus.OPEN, LegStatus.PENDING]
    found = await account.open_orders(BNB)
    assert {one.client_id for one in found} == {one.client_id for one in order.legs}
    assert {one.list_id for one in found} == {placed.list_id}
    await account.cancel(with_ids(order, placed), LegRole.WORKING)
    assert await statuses(account, with_ids(order, placed)) == [LegStatus.CANCELED, LegStatus.CANCELED]
    assert await statuses(account, order) == [LegStatus.CANCELED, LegStatus.CANCELED]
    with pytest.raises(VenueRefused) as refused:
        await account.cancel(order, LegRole.WORKING)
    assert refused.value.code == "not_open"
    history = await account.order_history(BNB, order.submitted_at - timedelta(seconds=1))
    assert [one.status for one in history] == [LegStatus.CANCELED, LegStatus.CANCELED]


async def test_a_pending_leg_the_fee_ate_into_is_told_as_refused(oto_desk: Desk) -> None:
    account = await oto_desk.account()
    order = an_oto("801", "900", sold="1")
    await account.place(order)
    pending = await account.look_up(order, LegRole.PENDING)
    assert pending is not None
    assert (pending.status, pending.expiry_reason) == (LegStatus.EXPIRED, "REJECTED")


async def test_a_single_order_and_the_account_behind_it(desk: Desk) -> None:
    account = await desk.account(balances={"USDT": "5000"})
    order = a_buy("700")
    placed = await account.place(order)
    assert (placed.list_id, [one.status for one in placed.legs]) == (None, [LegStatus.OPEN])
    (usdt,) = await account.balances()
    assert (usdt.asset, usdt.free, usdt.locked) == ("USDT", Decimal(4300), Decimal(700))
    rates = await account.fee_rates(BNB)
    assert (rates.buy, rates.sell) == (Decimal("0.001"), Decimal("0.001"))
    assert await account.look_up(a_buy("700"), LegRole.WORKING) is None


async def test_what_an_order_of_the_account_may_be_worth_is_read_and_held_to() -> None:
    config = make_config(spot={"max_assets": {"USDT": "500", "EUR": "1"}})
    async with desk_of(config) as desk:
        account = await desk.account()
        assert await account.order_limits(BNB) == {"USDT": Decimal(500)}
        with pytest.raises(VenueRefused, match="MAX_ASSET") as refused:
            await account.place(a_buy("700"))
        assert refused.value.code == "filter"


@pytest.mark.parametrize(
    ("price", "quantity", "code"),
    [("700.001", "1", "filter"), ("700", "100", "insufficient_balance"), ("700", "0.001", "filter")],
)
async def test_a_definite_no(desk: Desk, price: str, quantity: str, code: str) -> None:
    account = await desk.account()
    with pytest.raises(VenueRefused) as refused:
        await account.place(a_buy(price, quantity))
    assert refused.value.code == code
    assert await account.open_orders(BNB) == ()


async def test_the_same_id_again_is_no_definite_no(desk: Desk) -> None:
    account = await desk.account()
    order = a_buy("700")
    await account.place(order)
    with pytest.raises(VenueSilent):
        await account.place(order)
    assert len(await account.open_orders(BNB)) == 1


@pytest.mark.parametrize(
    ("kind", "more", "exists"),
    [
        ("drop_request", {}, False),
        ("drop_response", {}, True),
        ("http_error", {"status": 503, "when": "after"}, True),
        ("business_error", {"code": "-1007", "when": "before"}, False),
    ],
)
async def test_a_lost_answer_is_silence_and_a_look_up_tells(
    desk: Desk, kind: str, more: dict[str, Any], exists: bool
) -> None:
    account = await desk.account()
    await desk.fault(kind, endpoint="place_opo", count=1, **more)
    order = an_oto("700", "900")
    with pytest.raises(VenueSilent):
        await account.place(order)
    found = await account.look_up(order, LegRole.WORKING)
    assert (found is not None) == exists


async def test_an_order_too_old_never_leaves(desk: Desk) -> None:
    account = await desk.account()
    order = a_buy("700")
    late = msgspec.structs.replace(order, submitted_at=order.submitted_at - timedelta(seconds=2))
    with pytest.raises(VenueNotReached):
        await account.place(late)


async def test_the_order_count_is_a_no_to_one_account_for_as_long_as_the_venue_says() -> None:
    async with desk_of(make_config(spot={"order_limit_10s": "1"})) as desk:
        account = await desk.account()
        with pytest.raises(TooManyOrders) as limited:
            await account.place(an_oto("700", "900"))
        assert 0 < (limited.value.until - CLOCK.now()).total_seconds() <= 10


def pem(key: Any) -> tuple[str, str]:
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private.decode(), public.decode()


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
async def test_keys_of_every_kind_sign_reads_orders_and_streams(desk: Desk, kind: str) -> None:
    key = Ed25519PrivateKey.generate() if kind == "ed25519" else generate_private_key(65537, 2048)
    private, public = pem(key)
    asked = {"user_id": "7", "venue": "spot", "key_kind": kind, "public_key": public}
    made = await desk.paper.control("POST", "accounts", asked)
    account = desk.open("7", kind, {"api_key": made["credential"]["api_key"], "private_key": private})
    news: list[StreamNews] = []
    stream = asyncio.create_task(account.run_stream(news.append))
    await until(lambda: StreamUp() in news)
    await account.place(a_buy("700"))
    await until(lambda: any(isinstance(one, OrderPushed) for one in news))
    stream.cancel()
    assert len(await account.open_orders(BNB)) == 1


async def test_a_wrong_secret_and_an_unknown_key_are_told_apart(desk: Desk) -> None:
    opened = await desk.paper.control("POST", "accounts", {"user_id": "1", "venue": "spot"})
    wrong = desk.open("1", "hmac", {"api_key": opened["credential"]["api_key"], "secret": "x"})
    with pytest.raises(VenueRefused) as refused:
        await wrong.balances()
    assert refused.value.code == "bad_signature"
    unknown = desk.open("1", "hmac", {"api_key": "k" * 64, "secret": "x"})
    with pytest.raises(CredentialRefused):
        await unknown.balances()


async def test_a_stream_that_is_cut_comes_back(desk: Desk) -> None:
    account = await desk.account()
    news: list[StreamNews] = []
    await desk.fault("drop_request", endpoint="subscribe", count=1)
    stream = asyncio.create_task(account.run_stream(news.append))
    await until(lambda: StreamUp() in news)
    stream.cancel()
    assert isinstance(news[0], StreamDown)

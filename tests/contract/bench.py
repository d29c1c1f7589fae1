"""A bench for the cards: one venue, by one of our adapters, and what can be done to it from outside.

A bench knows the venue's numbers (which symbol, how far is far), so that a card speaks of the rule only.
On the paper exchange it can also make things go wrong; a real venue's bench cannot.
"""

import asyncio
import json
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import msgspec

from order_service.credentials import Vault
from order_service.venues import binance
from order_service.venues.port import Account, Placed, StreamNews, StreamUp, VenueOrder, VenuePort
from order_service.venues.transport import HttpTransport
from otopilot.clock import SystemClock
from otopilot.instrument import Instrument, Side, Venue
from otopilot.order import LegRole, LegStatus, Order, OrderId, VenueOrderId
from otopilot.settings import OrderSettings, PaperSettings, Settings
from tests.contract.paper import Paper, running, until
from tests.order_service.venues.fakes import an_order, leg
from tests.paper_exchange.desk import make_config

CLOCK = SystemClock()
VAULT = Vault(bytes(32))
FAR = (Decimal("0.9"), Decimal("1.1"))  # of the last price: neither leg trades
CROSSING = Decimal("1.01")
NOTIONAL = Decimal(50)  # in quote, of an order
KEY, SECRET_FILE, KIND = "OTOPILOT_TESTNET_API_KEY", "OTOPILOT_TESTNET_SECRET_FILE", "OTOPILOT_TESTNET_KIND"
SYMBOL = "OTOPILOT_TESTNET_SYMBOL"


class Bench:
    """One venue. `paper` is none on a real one."""

    def __init__(
        self, port: VenuePort, transport: HttpTransport, symbol: str, paper: Paper | None = None
    ) -> None:
        self.port = port
        self.symbol = symbol
        self.paper = paper
        # Does the venue find a cancelled order by the id it had before? None: no document tells (spot 3.4).
        self.finds_renamed: bool | None = None
        self._transport = transport
        self._streams: list[asyncio.Task[None]] = []
        self.credential: tuple[str, dict[str, str]] | None = None  # a real venue's, kind and fields

    @property
    def venue(self) -> Venue:
        return self.port.venue

    # ------------------------------------------------------------------ accounts

    async def account(self, user_id: str = "1", **asked: Any) -> Account:
        """A user with money, by way of the vault."""
        if self.credential is not None:
            return self.open(user_id, *self.credential)
        assert self.paper is not None
        body = {"user_id": user_id, "venue": str(self.venue), **asked}
        secret = (await self.paper.control("POST", "accounts", body))["credential"]
        return self.open(user_id, secret.pop("kind"), secret)

    def open(self, user_id: str, kind: str, secret: dict[str, str]) -> Account:
        """The account of a credential."""
        blob = VAULT.seal(user_id, self.venue, kind, json.dumps(secret).encode())
        return self.port.account(user_id, VAULT.open(user_id, self.venue, blob))

    async def fault(self, kind: str, **more: Any) -> None:
        """Let something go wrong."""
        assert self.paper is not None
        await self.paper.control("POST", "faults", {"kind": kind, "venue": str(self.venue), **more})

    async def heal(self) -> None:
        """And right again."""
        assert self.paper is not None
        await self.paper.control("DELETE", "faults")

    async def connected(self) -> None:
        """Have Spot's sockets for orders, which open with the first stream."""
        await self.hear(await self.account("connector"))
        await asyncio.sleep(0.3)

    async def hear(self, account: Account) -> list[StreamNews]:
        """The account's news from now on."""
        news: list[StreamNews] = []
        self._streams.append(asyncio.create_task(account.run_stream(news.append)))
        await until(lambda: StreamUp() in news, 20)
        return news

    async def aclose(self) -> None:
        """Let go of everything."""
        for stream in self._streams:
            stream.cancel()
        await asyncio.gather(*self._streams, return_exceptions=True)
        await self.port.aclose()
        await self._transport.aclose()

    # ------------------------------------------------------------------ orders

    async def rules(self) -> Instrument:
        return await self.port.instrument(self.symbol)

    async def price(self, side: Side, factor: Decimal) -> Decimal:
        """The last price times so much, on the grid."""
        return (await self.rules()).round_price(side, await self.port.last_price(self.symbol) * factor)

    async def buy(self, factor: Decimal = FAR[0], quantity: Decimal | None = None) -> Order:
        """A single BUY."""
        price, rules = await self.price(Side.BUY, factor), await self.rules()
        size = rules.quantity_for(NOTIONAL, price) if quantity is None else quantity
        return self.fresh(an_order(self.symbol, leg(LegRole.WORKING, Side.BUY, str(price), str(size))))

    async def oto(self, buy: Decimal = FAR[0], sell: Decimal = FAR[1], *, net: bool = True) -> Order:
        """A BUY, and the SELL of what it leaves after the fee (`net`), or of all of it."""
        price, rules = await self.price(Side.BUY, buy), await self.rules()
        size = rules.quantity_for(NOTIONAL, price)
        fee = Decimal("0.001") if net else Decimal(0)
        sold = rules.round_quantity(size * (1 - fee))
        return self.fresh(
            an_order(
                self.symbol,
                leg(LegRole.WORKING, Side.BUY, str(price), str(size)),
                leg(LegRole.PENDING, Side.SELL, str(await self.price(Side.SELL, sell)), str(sold)),
            )
        )

    def fresh(self, order: Order) -> Order:
        """The order under an id of its own, as of now."""
        order_id = secrets.token_hex(8)
        letters = "wp" if len(order.legs) > 1 else "l"
        legs = tuple(
            msgspec.structs.replace(one, client_id=f"o{order_id}{letter}" if self.port.has_client_ids else "")
            for one, letter in zip(order.legs, letters, strict=True)
        )
        now = CLOCK.now()
        return msgspec.structs.replace(
            order, order_id=OrderId(order_id), venue=self.venue, legs=legs, submitted_at=now, updated_at=now
        )

    async def placed(self, account: Account, order: Order) -> Order:
        """The order with the venue's ids."""
        return with_ids(order, await account.place(order))


def with_ids(order: Order, placed: Placed) -> Order:
    """The order as it is known after the answer."""
    ids = {one.role: one.venue_order_id for one in placed.legs}
    legs = tuple(msgspec.structs.replace(one, venue_order_id=ids[one.role]) for one in order.legs)
    return msgspec.structs.replace(order, legs=legs)


async def found(account: Account, order: Order, role: LegRole = LegRole.WORKING) -> VenueOrder:
    """What the venue says of a leg."""
    told = await account.look_up(order, role)
    assert told is not None, f"the venue does not know the {role} leg"
    return told


def found_id(order: Order, role: LegRole) -> VenueOrderId:
    """The venue's id of a leg, which is known by now."""
    venue_order_id = order.leg(role).venue_order_id
    assert venue_order_id is not None
    return venue_order_id


async def becomes(account: Account, order: Order, role: LegRole, *statuses: LegStatus) -> VenueOrder:
    """The leg once it has one of these statuses."""
    for _ in range(100):
        told = await account.look_up(order, role)
        if told is not None and told.status in statuses:
            return told
        await asyncio.sleep(0.1)
    raise AssertionError(f"the {role} leg never was in {statuses}, it is {told}")


# ------------------------------------------------------------------ the benches

QUICK = {"fill_delay_seconds": ["0.02", "0.05"]}
Amounts = Literal["number", "string"]
PINNED = {Venue.SPOT: ("BNBUSDT", "800"), Venue.ALPHA: ("ALPHA_22USDT", "48")}


@asynccontextmanager
async def on_paper(
    venue: Venue, *, connections: int = 4, amounts: Amounts = "number", **settings: Any
) -> AsyncIterator[Bench]:
    """A fresh paper exchange behind real sockets; without connections Spot's orders go by REST."""
    own = QUICK | settings
    config = make_config(alpha=own) if venue is Venue.ALPHA else make_config(spot=own)
    async with running(config) as paper:
        symbol, price = PINNED[venue]
        await paper.pin(symbol, price)
        services = Settings(
            paper=PaperSettings(url=paper.url),
            order=OrderSettings(spot_connections=connections, alpha_amounts_as=amounts),
        )
        transport = binance.paper_transport(services, CLOCK)
        bench = Bench(binance.paper_venues(services, transport, CLOCK)[venue], transport, symbol, paper)
        bench.finds_renamed = config.spot.cancelled_found_by_old_id
        try:
            yield bench
        finally:
            await bench.aclose()


def has_testnet_key() -> bool:
    """Is there a key for the Spot testnet in the environment?"""
    return bool(os.environ.get(KEY) and os.environ.get(SECRET_FILE))


@asynccontextmanager
async def on_testnet() -> AsyncIterator[Bench]:
    """The Spot testnet, with the key of the environment."""
    services = Settings(mode="live", spot_hosts="testnet")
    transport = binance.live_transport(services, CLOCK)
    port = binance.live_venues(services, transport, CLOCK)[Venue.SPOT]
    bench = Bench(port, transport, os.environ.get(SYMBOL, "BNBUSDT"))
    kind = os.environ.get(KIND, "ed25519")
    name = "secret" if kind == "hmac" else "private_key"
    secret = Path(os.environ[SECRET_FILE]).read_text(encoding="utf-8")
    bench.credential = (
        kind,
        {"api_key": os.environ[KEY], name: secret.strip() if kind == "hmac" else secret},
    )
    try:
        yield bench
    finally:
        await bench.aclose()

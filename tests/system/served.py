"""The three services in this process, over real gRPC: what their RPCs are tried on.

order-service above imitated venues and a real journal, market-service above an imitated venue over HTTP,
strategy-service above both as fakes. Whoever opens one gives the stack that closes it.
"""

import itertools
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Protocol

import grpc

from market_service.__main__ import open_service
from order_service.admin_servicer import OrderAdminServicer
from order_service.servicer import OrderServicer
from otopilot import rpc, wire
from otopilot.clock import SystemClock
from otopilot.instrument import Venue
from otopilot.order import UserId
from otopilot.rpc import Registration
from otopilot.settings import Endpoint, MarketSettings, PaperSettings, Settings
from protos import market_pb2, market_pb2_grpc, order_pb2, order_pb2_grpc, strategy_pb2, strategy_pb2_grpc
from strategy_service.config import ConfigManager
from strategy_service.runs import Runs
from strategy_service.servicer import StrategyServicer
from strategy_service.supervisor import Supervisor
from tests.market_service.imitation import KOGE, Imitation
from tests.order_service.desk import SECRETS, Desk
from tests.order_service.fakes import FakeVenue
from tests.strategy_service.fakes import FakeMarket, FakeOrders
from tests.system.nasty import Good

ALPHA = market_pb2.VENUE_ALPHA
KIND, SECRET = SECRETS[Venue.ALPHA]
USERS = 20
SETTLE_SECONDS = 30.0
CONFIG = """\
strategies:
  - strategy_id: koge
    strategy_name: KOGE demo
    target_token: KOGE
    target_chain: BSC
    target_volume: 100000
    trade_interval_seconds: 5
    fill_timeout_seconds: 0.1
    user_ids: [1, 2]
"""


class Served(Protocol):
    """A service: where it is, what means something to it, and what it must always do."""

    channel: grpc.aio.Channel
    good: Good

    async def still_works(self) -> None:
        """A request that is right is answered."""
        ...


class Orders:
    """order-service: orders and its administration."""

    def __init__(self, desk: Desk, channel: grpc.aio.Channel) -> None:
        self.desk = desk
        self.channel = channel
        self._orders: Any = order_pb2_grpc.OrderServiceStub(channel)
        self._admin: Any = order_pb2_grpc.OrderAdminServiceStub(channel)
        self._numbers = itertools.count(1)
        self._scope = ""
        self._open = [""]  # orders that are out
        self.good: Good = self._places() | self._names()

    @classmethod
    async def open(cls, stack: AsyncExitStack, path: Path) -> "Orders":
        """Serve it."""
        clock = SystemClock()
        venues = (FakeVenue(clock, Venue.ALPHA), FakeVenue(clock, Venue.SPOT))
        desk = await stack.enter_async_context(Desk(path / "journal.db", *venues, inline=False))
        orders = OrderServicer(
            desk.manager, desk.accounts, desk.sessions, desk.journal, desk.feed, desk.clock
        )
        admin = OrderAdminServicer(
            desk.users, desk.manager, desk.sessions, desk.keeper, desk.journal, desk.budgets, desk.clock
        )
        channel = await _serve(
            stack,
            lambda server: order_pb2_grpc.add_OrderServiceServicer_to_server(orders, server),
            lambda server: order_pb2_grpc.add_OrderAdminServiceServicer_to_server(admin, server),
        )
        return cls(desk, channel)

    def _places(self) -> dict[str, Callable[[], Any]]:
        return {
            "request_id": lambda: f"r{next(self._numbers) // 2}",
            "owner_epoch": lambda: self.desk.journal.books.owner_epoch,
            "user_id": self._some_user,
            "venue": lambda: ALPHA,
            "symbol": lambda: KOGE,
            "strategy_id": lambda: "st",
            "cycle": lambda: 1,
            "scope_id": lambda: self._scope,
            "quantity": lambda: "0.15",
            "working_price": lambda: "48",
            "min_working_price": lambda: "47",
            "price": lambda: "48.6",
            "limit_price": lambda: "48.6",
            "pending_price": lambda: "48.5",
            "max_pending_price": lambda: "49",
            "reference_price": lambda: "48",
            "price_confirmed_at": lambda: wire.timestamp(self.desk.clock.now()),
            "side": lambda: order_pb2.SIDE_SELL,
            "purpose": lambda: order_pb2.PURPOSE_RESIDUAL,
            "validate_only": lambda: next(self._numbers) % 4 != 0,  # else every user soon has its BUY out
        }

    def _names(self) -> dict[str, Callable[[], Any]]:
        return {
            "owner": lambda: "test",
            "order_id": lambda: self._open[next(self._numbers) % len(self._open)],
            "role": lambda: order_pb2.LEG_ROLE_WORKING,
            "members": lambda: [_member(self._some_user())],
            "target": lambda: "100000",
            "revision": lambda: next(self._numbers),
            "kind": lambda: KIND,
            "secret": lambda: SECRET,
            "reason": lambda: "long enough to be one",
        }

    def _some_user(self) -> str:
        return f"{self._scope}-{next(self._numbers) % USERS}"

    async def still_works(self) -> None:
        """New users trade; who has an order out, who base to sell and who nothing is there for what comes."""
        scope = f"scope{next(self._numbers)}"
        users = [f"{scope}-{number}" for number in range(USERS)]
        epoch = (await self._orders.Claim(order_pb2.ClaimRequest(owner="test"))).owner_epoch
        for user in users:
            put = order_pb2.PutCredentialRequest(user_id=user, venue=ALPHA, kind=KIND, secret=SECRET)
            await self._admin.PutCredential(put)
        await self._orders.SetVolumeScope(
            order_pb2.SetVolumeScopeRequest(
                scope_id=scope,
                owner_epoch=epoch,
                members=[_member(user) for user in users],
                target="100000",
                revision=1,
            )
        )
        await self._settle(users)
        placed = [await self._orders.PlaceOto(self._oto(user, scope, epoch)) for user in users[: USERS // 2]]
        assert {order.state for order in placed} == {order_pb2.ORDER_STATE_WORKING}
        for order in placed[: USERS // 4]:
            account = self.desk.account(order.user_id)
            account.fill(account.row(self.desk.order(order.order_id)), "0.3")
            cancel = order_pb2.CancelOrderRequest(order_id=order.order_id, role=order_pb2.LEG_ROLE_WORKING)
            await self._orders.CancelOrder(cancel)
        await self._settle(users)
        self._scope, self._open = scope, [order.order_id for order in placed[USERS // 4 :]]

    def _oto(self, user: str, scope: str, epoch: int) -> order_pb2.PlaceOtoRequest:
        return order_pb2.PlaceOtoRequest(
            request_id=user,
            owner_epoch=epoch,
            user_id=user,
            venue=ALPHA,
            symbol=KOGE,
            strategy_id="st",
            cycle=1,
            scope_id=scope,
            quantity="0.5",
            working_price="48",
            pending_price="48.5",
            reference_price="48",
            price_confirmed_at=wire.timestamp(self.desk.clock.now()),
        )

    async def _settle(self, users: list[str]) -> None:
        sessions = [self.desk.sessions.require(Venue.ALPHA, UserId(user)) for user in users]
        await self.desk.keeper.settle(sessions, SETTLE_SECONDS)


class Market:
    """market-service."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self._stub: Any = market_pb2_grpc.MarketServiceStub(channel)
        self.good: Good = {
            "venue": lambda: ALPHA,
            "symbol": lambda: KOGE,
            "token": lambda: "KOGE",
            "chain": lambda: "BSC",
            "keys": lambda: [market_pb2.PriceKey(venue=ALPHA, symbol=KOGE)],
        }

    @classmethod
    async def open(cls, stack: AsyncExitStack) -> "Market":
        """Serve it."""
        imitation = await stack.enter_async_context(Imitation().running())
        await imitation.trade(KOGE, "48.5")
        chosen = Settings(paper=PaperSettings(url=imitation.url), market=MarketSettings(port=0))
        server, hub = await open_service(stack, chosen, SystemClock())
        stack.callback(hub.end_watches)
        return cls(await stack.enter_async_context(rpc.channel(f"127.0.0.1:{server.port}")))

    async def still_works(self) -> None:
        """It tells a price."""
        asked = market_pb2.GetPriceRequest(venue=ALPHA, symbol=KOGE)
        assert (await self._stub.GetPrice(asked)).price == "48.5"


class Strategies:
    """strategy-service."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self._stub: Any = strategy_pb2_grpc.StrategyServiceStub(channel)
        numbers = itertools.count(1)
        self.good: Good = {
            "request_id": lambda: f"r{next(numbers) // 2}",
            "strategy_id": lambda: "koge",
            "strategy_ids": lambda: ["koge"],
            "user_id": lambda: "1",
        }

    @classmethod
    async def open(cls, stack: AsyncExitStack, path: Path) -> "Strategies":
        """Serve it."""
        clock, file = SystemClock(), path / "trading_config.yaml"
        file.write_text(CONFIG)
        runs = Runs(path / "runs.db")
        stack.callback(runs.close)
        supervisor = Supervisor(ConfigManager(file), FakeMarket(), FakeOrders(), runs, clock)
        servicer = StrategyServicer(supervisor, clock)
        await stack.enter_async_context(supervisor)
        return cls(await _serve(stack, servicer.registration().add))

    async def still_works(self) -> None:
        """What is to run runs."""
        (status,) = (await self._stub.StartStrategy(strategy_pb2.StartStrategyRequest())).strategies
        assert (status.strategy_id, status.is_running) == ("koge", True)


def _member(user: str) -> order_pb2.ScopeMember:
    return order_pb2.ScopeMember(user_id=user, venue=ALPHA, symbol=KOGE)


async def _serve(stack: AsyncExitStack, *adders: Callable[[grpc.aio.Server], None]) -> grpc.aio.Channel:
    registrations = [Registration(f"s{number}", add) for number, add in enumerate(adders)]
    endpoint = Endpoint(host="127.0.0.1", port=0)
    server = await stack.enter_async_context(rpc.serve(endpoint, registrations, grace_seconds=0.1))
    return await stack.enter_async_context(rpc.channel(f"127.0.0.1:{server.port}"))

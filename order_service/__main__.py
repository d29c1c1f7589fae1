"""The order service's process: opens the journal, settles what was left, then serves.

Concrete classes are named here and nowhere else; one AsyncExitStack owns all of them.
"""

import asyncio
import sys
from contextlib import AsyncExitStack
from datetime import timedelta

from order_service.accounts import Accounts
from order_service.admin_servicer import OrderAdminServicer
from order_service.bans import Bans
from order_service.care import Care
from order_service.credentials import CredentialError, Vault
from order_service.feed import Feed
from order_service.gate import GatedTransport
from order_service.journal import Journal
from order_service.keeper import Keeper
from order_service.order_manager import OrderManager
from order_service.rate_budget import RateBudget
from order_service.reconciliation import Reconciliation
from order_service.resolution import ProofRules, Resolution
from order_service.servicer import OrderServicer
from order_service.sessions import Sessions
from order_service.store import SqliteStore
from order_service.users import Users
from order_service.venues import binance
from order_service.venues.port import VenueError, VenuePort
from order_service.worlds import OtherWorld, Worlds
from otopilot import log, rpc
from otopilot.clock import Clock, SystemClock
from otopilot.order import IN_FLIGHT, Doubted, OrderState
from otopilot.rpc import RefuseStart, Registration, Server
from otopilot.settings import Settings
from otopilot.tasks import TaskOwner
from protos import order_pb2_grpc

SERVICES = ("otopilot.order.v1.OrderService", "otopilot.order.v1.OrderAdminService")
FIRST_LOOK_SECONDS = 5.0
HEALTH_SECONDS = 0.5

_log = log.get("order_service")


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Place, cancel and remember orders: the only service that talks to a venue's private side."""
    _refuse_unread_terms(settings)
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        store = SqliteStore(settings.data_dir / "order.db")
        stack.callback(store.close)
        feed = Feed(store.instance_epoch)
        journal = Journal(store, clock, feed)
        tasks = await stack.enter_async_context(TaskOwner("order_service"))
        tasks.spawn(journal.write_forever(), "journal writer")
        journal.look_at_space()
        tasks.spawn(journal.watch_disk(), "journal watch")
        live = settings.mode == "live"
        transport = (
            binance.live_transport(settings, clock) if live else binance.paper_transport(settings, clock)
        )
        stack.push_async_callback(transport.aclose)
        make = binance.live_venues if live else binance.paper_venues
        limits = binance.limits(settings)
        budgets = {venue: RateBudget(venue, clock, limits[venue]) for venue in limits}
        Bans(journal, clock, tasks).keep(budgets)
        ports = make(settings, transport, clock, lambda v, way: GatedTransport(way, budgets[v], clock))
        for port in ports.values():
            stack.push_async_callback(port.aclose)
        sessions = Sessions(journal)
        worlds = Worlds(journal, sessions)
        for port in ports.values():
            await _refuse_other_world(worlds, port)
        hold = timedelta(seconds=settings.order.absence_hold_seconds)
        manager = OrderManager(journal, sessions, budgets, clock, tasks, hold)
        resolution = Resolution(manager, clock, _rules(settings))
        care = Care(manager, sessions, resolution, worlds, clock, tasks)
        reconciliation = Reconciliation(journal, manager, care, sessions, clock)
        beat = timedelta(seconds=settings.order.sweep_seconds)
        keeper = Keeper(manager, reconciliation, sessions, worlds, clock, tasks, beat)
        try:
            vault = Vault.of(settings.data_dir)
            users = Users(journal, vault, sessions, keeper, ports, budgets, clock)
            await recover(journal, manager, clock, settings.order.recv_window_ms / 1000)
            users.open_all()
        except CredentialError as error:
            raise RefuseStart(str(error)) from error
        for order in list(journal.books.live.values()):
            care.look_after(order)
        accounts = Accounts(journal, sessions, clock)
        orders = OrderServicer(manager, accounts, sessions, journal, feed, clock)
        admin = OrderAdminServicer(users, manager, sessions, keeper, journal, budgets, clock)
        served = rpc.serve(settings.order, _registrations(orders, admin))
        server = await stack.enter_async_context(served)
        tasks.spawn(_tell_health(server, journal, clock), "health")
        _log.info("serving", port=server.port, instance_epoch=store.instance_epoch, mode=settings.mode)
        await _until(stop, journal.taken_over)
        if journal.taken_over.is_set():
            raise RefuseStart("another instance has taken over this journal: this one ends")


def _refuse_unread_terms(settings: Settings) -> None:
    if settings.mode == "live" and not settings.alpha_terms_acknowledged:
        raise RefuseStart(
            "live trading on Alpha needs alpha_terms_acknowledged: true: Binance's published rules forbid "
            "automated trading for Alpha Points, it can cost points, rewards and the account"
        )


def _registrations(orders: OrderServicer, admin: OrderAdminServicer) -> list[Registration]:
    return [
        Registration(SERVICES[0], lambda s: order_pb2_grpc.add_OrderServiceServicer_to_server(orders, s)),
        Registration(SERVICES[1], lambda s: order_pb2_grpc.add_OrderAdminServiceServicer_to_server(admin, s)),
    ]


async def _tell_health(server: Server, journal: Journal, clock: Clock) -> None:
    """Not serving while the journal cannot be written: nothing is placed then (reliability 38)."""
    serving: bool | None = None
    while True:
        if serving is not journal.writable:
            serving = journal.writable
            await server.set_serving(serving)
        await clock.sleep(HEALTH_SECONDS)


async def _until(*events: asyncio.Event) -> None:
    """Return when one of them is set."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for waiter in waiting:
            waiter.cancel()


def _rules(settings: Settings) -> ProofRules:
    return ProofRules(
        recv_window=settings.order.recv_window_ms / 1000,
        absence_margin=settings.order.absence_margin_seconds,
        fingerprint_wait=settings.order.alpha_absence_seconds,
        fingerprint_gap=settings.order.alpha_read_gap_seconds,
        fingerprint_proof=settings.mode == "paper",
    )


async def _refuse_other_world(worlds: Worlds, port: VenuePort) -> None:
    """A venue that cannot be read yet is checked again before anything of it is believed (keeper)."""
    try:
        async with asyncio.timeout(FIRST_LOOK_SECONDS):
            await worlds.check(port)
    except OtherWorld as other:
        raise RefuseStart(str(other)) from other
    except (VenueError, TimeoutError) as error:
        _log.warning("venue cannot be read yet", venue=port.venue, error=str(error))


async def recover(journal: Journal, manager: OrderManager, clock: Clock, recv_window: float) -> None:
    """What was in flight when the last instance ended is in doubt; its requests may still arrive.

    None of them is accepted later than recvWindow after its own T (architecture 5.3), so a service
    that took a moment to start waits for the rest of that only.
    """
    in_flight = [order for order in journal.books.live.values() if order.state in IN_FLIGHT]
    for order in in_flight:
        if order.state is OrderState.SUBMITTING:
            await manager.learn(order.order_id, Doubted(reason="found at start", at=clock.now()))
    if in_flight:
        _log.warning("orders in doubt at start", count=len(in_flight))
        newest = max(order.submitted_at for order in in_flight)
        passed = (clock.now() - newest).total_seconds()
        await clock.sleep(min(recv_window, max(0.0, recv_window - passed)))


def main() -> int:
    """Console script `order-service`."""
    return rpc.run_service("order-service", serve)


if __name__ == "__main__":
    sys.exit(main())

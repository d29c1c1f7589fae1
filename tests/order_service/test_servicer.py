"""The order service over real gRPC on a free port: what callers see, errors and streams included."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from order_service.admin_servicer import OrderAdminServicer
from order_service.servicer import OrderServicer
from otopilot import rpc, wire
from otopilot.clock import SystemClock
from otopilot.instrument import Venue
from otopilot.order import Doubted, LegRole
from otopilot.rpc import Registration
from otopilot.settings import Endpoint
from protos import market_pb2, order_pb2_grpc
from protos import order_pb2 as pb
from tests.order_service.behaviours import request_lost, slow
from tests.order_service.desk import SECRETS, Desk
from tests.order_service.fakes import FakeVenue
from tests.order_service.row import KOGE

ALPHA = market_pb2.VENUE_ALPHA


@dataclass
class Service:
    """A served desk and stubs to it."""

    desk: Desk
    orders: Any
    admin: Any
    epoch: int

    def oto(self, request_id: str, user: str = "1", **changes: Any) -> pb.PlaceOtoRequest:
        """An OTO of 0.5 KOGE."""
        request = pb.PlaceOtoRequest(
            request_id=request_id,
            owner_epoch=self.epoch,
            user_id=user,
            venue=ALPHA,
            symbol=KOGE,
            strategy_id="st",
            cycle=1,
            scope_id="s",
            quantity="0.5",
            working_price="48",
            pending_price="48.5",
            reference_price="48",
            price_confirmed_at=wire.timestamp(self.desk.clock.now()),
        )
        request.MergeFrom(pb.PlaceOtoRequest(**changes))
        return request


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    venue = FakeVenue(SystemClock())
    async with Desk(tmp_path / "j.db", venue, inline=False) as desk:
        orders = OrderServicer(
            desk.manager, desk.accounts, desk.sessions, desk.journal, desk.feed, desk.clock
        )
        admin = OrderAdminServicer(
            desk.users, desk.manager, desk.sessions, desk.keeper, desk.journal, desk.budgets, desk.clock
        )
        registrations = [
            Registration(
                "o", lambda server: order_pb2_grpc.add_OrderServiceServicer_to_server(orders, server)
            ),
            Registration(
                "a", lambda server: order_pb2_grpc.add_OrderAdminServiceServicer_to_server(admin, server)
            ),
        ]
        async with (
            rpc.serve(Endpoint(port=0), registrations, grace_seconds=0.1) as server,
            rpc.channel(f"127.0.0.1:{server.port}") as channel,
        ):
            stubs = (order_pb2_grpc.OrderServiceStub(channel), order_pb2_grpc.OrderAdminServiceStub(channel))
            yield Service(desk, *stubs, epoch=desk.epoch)


async def trading(service: Service, *users: str, target: str = "100000") -> None:
    """Store credentials and set the scope, by RPC."""
    kind, secret = SECRETS[Venue.ALPHA]
    for user in users:
        request = pb.PutCredentialRequest(user_id=user, venue=ALPHA, kind=kind, secret=secret)
        stored = await service.admin.PutCredential(request)
        assert stored.state == pb.USER_STATE_READY
    await service.orders.SetVolumeScope(
        pb.SetVolumeScopeRequest(
            scope_id="s",
            owner_epoch=service.epoch,
            members=[pb.ScopeMember(user_id=user, venue=ALPHA, symbol=KOGE) for user in users],
            side=pb.VOLUME_SIDE_BUY,
            window=pb.VOLUME_WINDOW_DAY,
            target=target,
            revision=1,
        )
    )
    await service.admin.Settle(pb.SettleRequest())


async def fault(call: Any) -> rpc.Fault:
    """The error a call ends with."""
    with pytest.raises(grpc.RpcError) as info:
        await call
    return rpc.fault_of(info.value)


async def test_an_order_is_placed_found_listed_and_cancelled(service: Service) -> None:
    await trading(service, "1")
    order = await service.orders.PlaceOto(service.oto("a"))
    assert order.state == pb.ORDER_STATE_WORKING
    found = await service.orders.GetOrder(pb.GetOrderRequest(request_id="a"))
    assert found.order_id == order.order_id
    listed = await service.orders.ListOrders(pb.ListOrdersRequest(user_id="1", open_only=True))
    assert [o.order_id for o in listed.orders] == [order.order_id]
    cancel = pb.CancelOrderRequest(order_id=order.order_id, role=pb.LEG_ROLE_WORKING, reason="test")
    await service.orders.CancelOrder(cancel)
    for _ in range(100):
        found = await service.orders.GetOrder(pb.GetOrderRequest(order_id=order.order_id))
        if found.state == pb.ORDER_STATE_CANCELED:
            break
        await asyncio.sleep(0.02)
    assert found.state == pb.ORDER_STATE_CANCELED
    listed = await service.orders.ListOrders(pb.ListOrdersRequest(open_only=True))
    assert not listed.orders


async def test_errors_carry_code_reason_and_details(service: Service) -> None:
    await trading(service, "1")
    orders = service.orders
    request = service.oto("a")
    order = await orders.PlaceOto(request)
    assert (await orders.PlaceOto(request)).order_id == order.order_id
    code = grpc.StatusCode
    other = pb.PlaceOtoRequest()
    other.CopyFrom(request)
    other.quantity = "0.4"
    cases = [
        (orders.PlaceOto(other), code.ALREADY_EXISTS, "REQUEST_REUSED"),
        (orders.PlaceOto(service.oto("b")), code.FAILED_PRECONDITION, "DENIED_SLOT"),
        (orders.PlaceOto(service.oto("b", user="9")), code.NOT_FOUND, "UNKNOWN_USER"),
        (orders.PlaceOto(service.oto("b", symbol="X")), code.NOT_FOUND, "UNKNOWN_SYMBOL"),
        (orders.PlaceOto(service.oto("b", quantity="1e3")), code.INVALID_ARGUMENT, "BAD_ARGUMENT"),
        (orders.PlaceOto(service.oto("")), code.INVALID_ARGUMENT, "BAD_ARGUMENT"),
        (orders.PlaceOto(service.oto("x" * 1000)), code.INVALID_ARGUMENT, "BAD_ARGUMENT"),
        (orders.PlaceOto(service.oto("b", owner_epoch=99)), code.FAILED_PRECONDITION, "STALE_OWNER"),
        (orders.GetOrder(pb.GetOrderRequest()), code.INVALID_ARGUMENT, "BAD_ARGUMENT"),
        (orders.GetOrder(pb.GetOrderRequest(order_id="no")), code.NOT_FOUND, "UNKNOWN_ORDER"),
        (orders.CancelOrder(pb.CancelOrderRequest(order_id="no", role=1)), code.NOT_FOUND, "UNKNOWN_ORDER"),
        (orders.CancelOrder(pb.CancelOrderRequest(order_id="no")), code.INVALID_ARGUMENT, "BAD_ARGUMENT"),
        (orders.GetVolume(pb.GetVolumeRequest(scope_id="no")), code.NOT_FOUND, "UNKNOWN_SCOPE"),
        (orders.ListOrders(pb.ListOrdersRequest(page_token="x")), code.INVALID_ARGUMENT, "BAD_ARGUMENT"),
        (orders.GetBalances(pb.GetBalancesRequest(user_id="9", venue=1)), code.NOT_FOUND, "UNKNOWN_USER"),
        (service.admin.Settle(pb.SettleRequest(user_id="9")), code.NOT_FOUND, "UNKNOWN_USER"),
    ]
    for call, expected, reason in cases:
        error = await fault(call)
        assert (error.code, error.reason) == (expected, reason), error.message
    assert len(service.desk.account().sent) == 1


async def test_denials_bans_and_the_rotation_are_counted(service: Service) -> None:
    await trading(service, "1", "2")
    await service.orders.PlaceOto(service.oto("a"))
    under = service.oto("b", user_id="2", working_price="48.60", min_working_price="48.60")
    under.pending_price = "49.00"
    assert (await fault(service.orders.PlaceOto(under))).reason == "DENIED_GUARD"
    told = await service.admin.GetCounters(pb.GetCountersRequest())
    assert (told.guard.admitted, told.guard.denied_by_orders, told.guard.waiting) == (1, 1, 1)
    assert [budget.venue for budget in told.budgets] == [ALPHA]
    assert not told.budgets[0].HasField("closed_until")
    assert told.budgets[0].rotation_ms > 0


async def test_a_re_pricing_is_told_with_the_cancel_and_comes_back_with_the_order(service: Service) -> None:
    await trading(service, "1")
    order = await service.orders.PlaceOto(service.oto("a"))
    wish = pb.CancelOrderRequest(order_id=order.order_id, role=pb.LEG_ROLE_PENDING, reprice_to="48.20")
    told = await service.orders.CancelOrder(wish)
    assert [w.reprice_to for w in told.cancel_wishes] == ["48.2"]
    wish.role = pb.LEG_ROLE_WORKING
    error = await fault(service.orders.CancelOrder(wish))
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "NOT_A_SELL")


async def test_a_failed_commit_is_unavailable_and_the_same_id_may_be_repeated(service: Service) -> None:
    await trading(service, "1")
    request = service.oto("a")
    service.desk.store.failures = 1
    error = await fault(service.orders.PlaceOto(request))
    assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "JOURNAL")
    await service.admin.Settle(pb.SettleRequest())
    assert (await service.orders.PlaceOto(request)).state == pb.ORDER_STATE_WORKING
    assert len(service.desk.account().sent) == 1


async def test_a_client_that_disconnects_in_mid_call_stops_nothing(service: Service) -> None:
    await trading(service, "1")
    service.desk.account().placements.append(slow(0.5))
    request = service.oto("a")
    call = service.orders.PlaceOto(request, timeout=0.2)
    assert (await fault(call)).code is grpc.StatusCode.DEADLINE_EXCEEDED
    await asyncio.sleep(0.6)
    order = await service.orders.PlaceOto(request)
    assert order.state == pb.ORDER_STATE_WORKING
    assert len(service.desk.account().sent) == 1


async def test_watching_opens_with_a_snapshot_then_changes_then_heartbeats(service: Service) -> None:
    await trading(service, "1", "2")
    order = await service.orders.PlaceOto(service.oto("a"))
    await service.orders.PlaceOto(service.oto("b", user="2"))
    stream = service.orders.WatchOrders(pb.WatchOrdersRequest(user_ids=["1"]))
    news = aiter(stream)
    opening = [await anext(news) for _ in range(3)]
    assert [item.snapshot for item in opening] == [True, True, False]
    assert opening[0].user.user_id == "1"
    assert opening[1].order.order_id == order.order_id
    account = service.desk.account("1")
    account.fill(next(row for row in account.rows.values() if row.role is LegRole.WORKING))
    change = await anext(news)
    assert change.order.order_id == order.order_id
    assert change.sequence > opening[2].sequence
    while change.HasField("order"):
        change = await anext(news)
    assert change.sequence == service.desk.feed.newest  # a heartbeat
    stream.cancel()
    # Resumed where it was left: the same news again, none missing.
    resumed = service.orders.WatchOrders(pb.WatchOrdersRequest(after_sequence=opening[2].sequence))
    sequences = []
    async for item in resumed:
        sequences.append(item.sequence)
        if item.sequence == change.sequence:
            break
    resumed.cancel()
    assert sequences[0] == opening[2].sequence + 1


async def test_a_reader_that_fell_behind_is_told_to_begin_again(service: Service) -> None:
    await trading(service, "1")
    for sequence in (1, service.desk.feed.newest + 5):
        watch = aiter(service.orders.WatchOrders(pb.WatchOrdersRequest(after_sequence=sequence)))
        error = await fault(anext(watch))
        assert (error.code, error.reason) == (grpc.StatusCode.OUT_OF_RANGE, "FELL_BEHIND")


async def test_a_person_releases_an_order_in_doubt_with_a_reason(service: Service) -> None:
    await trading(service, "1")
    service.desk.account().placements.append(request_lost)
    order = await service.orders.PlaceOto(service.oto("a"))
    assert order.state == pb.ORDER_STATE_IN_DOUBT
    settled = await service.admin.Settle(pb.SettleRequest(user_id="1"))
    assert [o.order_id for o in settled.in_doubt] == [order.order_id]
    release = pb.ReleaseOrderRequest(order_id=order.order_id, reason="no")
    assert (await fault(service.admin.ReleaseOrder(release))).code is grpc.StatusCode.INVALID_ARGUMENT
    release.reason = "looked at the website: it is not there"
    released = await service.admin.ReleaseOrder(release)
    assert released.state == pb.ORDER_STATE_REJECTED
    assert released.rejection.kind == pb.REJECTION_KIND_ABSENT
    error = await fault(service.admin.ReleaseOrder(release))
    assert error.reason == "NOT_IN_DOUBT"
    volume = await service.orders.GetVolume(pb.GetVolumeRequest(scope_id="s"))
    assert volume.reserved == "24"  # the hold stays: the person may be wrong
    release.order_id = "none"
    assert (await fault(service.admin.ReleaseOrder(release))).code is grpc.StatusCode.NOT_FOUND


async def aside(call: Awaitable[Any]) -> Any:
    """A call, for a task of its own."""
    return await call


async def test_nobody_releases_an_order_whose_request_is_still_under_way(service: Service) -> None:
    await trading(service, "1")
    desk = service.desk
    desk.account().placements.append(slow(60.0))
    placing = asyncio.create_task(aside(service.orders.PlaceOto(service.oto("a"))))
    async with asyncio.timeout(10):
        while not desk.account().sent:
            await asyncio.sleep(0.01)
    order_id = desk.account().sent[0].order_id
    await desk.manager.learn(order_id, Doubted(reason="no answer yet", at=desk.clock.now()))
    release = pb.ReleaseOrderRequest(order_id=order_id, reason="looked at the website")
    error = await fault(service.admin.ReleaseOrder(release))
    assert (error.code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "UNDER_WAY")
    placing.cancel()


async def test_users_are_listed_and_removed_and_no_secret_comes_back(service: Service) -> None:
    await trading(service, "1", "2")
    users = (await service.admin.ListUsers(pb.ListUsersRequest())).users
    assert [user.user_id for user in users] == ["1", "2"]
    assert "a=b" not in str(users)
    request = pb.PutCredentialRequest(user_id="3", venue=ALPHA, kind="session", secret=b'{"cookie": "hidden"')
    error = await fault(service.admin.PutCredential(request))
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "hidden" not in error.message
    await service.admin.RemoveUser(pb.RemoveUserRequest(user_id="2", venue=ALPHA))
    assert len((await service.admin.ListUsers(pb.ListUsersRequest())).users) == 1
    gone = service.admin.RemoveUser(pb.RemoveUserRequest(user_id="2", venue=ALPHA))
    assert (await fault(gone)).code is grpc.StatusCode.NOT_FOUND
    await service.orders.PlaceOto(service.oto("a"))
    kept = await fault(service.admin.RemoveUser(pb.RemoveUserRequest(user_id="1", venue=ALPHA)))
    assert kept.reason == "USER_HAS_OPEN_ORDERS"


async def test_a_position_and_balances_are_told(service: Service) -> None:
    await trading(service, "1")
    await service.orders.PlaceOto(service.oto("a"))
    account = service.desk.account()
    account.fill(next(row for row in account.rows.values() if row.role is LegRole.WORKING))
    await asyncio.sleep(0.2)
    request = pb.GetPositionRequest(user_id="1", venue=ALPHA, symbol=KOGE, strategy_id="st")
    position = await service.orders.GetPosition(request)
    assert (position.inventory, position.last_cycle, position.open_sells) == ("0.49995", 1, 1)
    assert position.bought_quote == "24"
    balances = await service.orders.GetBalances(pb.GetBalancesRequest(user_id="1", venue=ALPHA))
    assert [(b.asset, b.free) for b in balances.balances] == [("USDT", "99976")]


async def test_a_claim_makes_the_older_owner_stale(service: Service) -> None:
    await trading(service, "1")
    claimed = await service.orders.Claim(pb.ClaimRequest(owner="another"))
    assert claimed.owner_epoch == service.epoch + 1
    assert claimed.instance_epoch == service.desk.store.instance_epoch
    assert (await fault(service.orders.PlaceOto(service.oto("a")))).reason == "STALE_OWNER"


async def test_pages_of_orders_cover_all_of_them_once(service: Service) -> None:
    await trading(service, "1", "2", "3")
    for user in ("1", "2", "3"):
        await service.orders.PlaceOto(service.oto(user, user=user))
    seen, token = [], ""
    for _ in range(5):
        page = await service.orders.ListOrders(pb.ListOrdersRequest(page_size=1, page_token=token))
        seen += [order.user_id for order in page.orders]
        token = page.next_page_token
        if not token:
            break
    assert seen == ["3", "2", "1"]


async def test_pages_and_owners_that_make_no_sense_are_refused(service: Service) -> None:
    await trading(service, "1")
    await service.orders.PlaceOto(service.oto("a"))
    orders = service.orders
    for call in (
        orders.ListOrders(pb.ListOrdersRequest(page_size=-1), timeout=10),
        orders.ListOrders(pb.ListOrdersRequest(page_token="9" * 19)),
        orders.PlaceOto(service.oto("b", max_price_age_ms=2**63 - 1)),
        orders.PlaceOto(service.oto("b", try_number=-1)),
        orders.Claim(pb.ClaimRequest(owner="x" * 201)),  # it would be told to whoever is refused for it
        orders.Claim(pb.ClaimRequest()),
    ):
        assert (await fault(call)).reason == "BAD_ARGUMENT"

"""OrderAdminService over gRPC: users, credentials, orders that need a person. Decides nothing."""

from collections.abc import Mapping

from order_service.denied import Denied, Kind
from order_service.guard import Guard
from order_service.journal import Journal
from order_service.keeper import Keeper
from order_service.order_manager import OrderManager
from order_service.rate_budget import RateBudget
from order_service.rota import Rota
from order_service.servicer import LONGEST_REASON, Context, Faults, short
from order_service.sessions import Sessions
from order_service.users import Users
from otopilot import wire
from otopilot.clock import Clock
from otopilot.instrument import Venue
from otopilot.order import IN_FLIGHT, Order, OrderId, OrderState, Refused, RejectionKind, UserId
from otopilot.position import UserState
from protos import order_pb2 as pb
from protos import order_pb2_grpc

SETTLE_SECONDS = 25.0
LEAST_REASON = 10


class OrderAdminServicer(order_pb2_grpc.OrderAdminServiceServicer):
    """See protos/order.proto."""

    def __init__(
        self,
        users: Users,
        manager: OrderManager,
        sessions: Sessions,
        keeper: Keeper,
        journal: Journal,
        budgets: Mapping[Venue, RateBudget],
        clock: Clock,
    ) -> None:
        self._users = users
        self._manager = manager
        self._sessions = sessions
        self._keeper = keeper
        self._journal = journal
        self._budgets = budgets
        self._clock = clock

    async def PutCredential(self, request: pb.PutCredentialRequest, context: Context) -> pb.User:
        async with Faults():
            venue = wire.venue_from_pb(request.venue)
            user = await self._users.put(UserId(request.user_id), venue, request.kind, request.secret)
            return wire.user_to_pb(user)

    async def ListUsers(self, request: pb.ListUsersRequest, context: Context) -> pb.ListUsersResponse:
        return pb.ListUsersResponse(users=[wire.user_to_pb(user) for user in self._users.list()])

    async def RemoveUser(self, request: pb.RemoveUserRequest, context: Context) -> pb.RemoveUserResponse:
        async with Faults():
            await self._users.remove(UserId(request.user_id), wire.venue_from_pb(request.venue))
            return pb.RemoveUserResponse()

    async def ReleaseOrder(self, request: pb.ReleaseOrderRequest, context: Context) -> pb.Order:
        async with Faults():
            reason = short(request.reason.strip(), "reason", LONGEST_REASON)
            if len(reason) < LEAST_REASON:
                raise ValueError(f"reason: say in at least {LEAST_REASON} characters why you are sure")
            order = self._manager.books.order(OrderId(request.order_id))
            if order is None:
                raise Denied(Kind.NOT_FOUND, "UNKNOWN_ORDER", f"there is no order {request.order_id}")
            if order.state is not OrderState.IN_DOUBT:
                message = (
                    f"order {order.order_id} is {order.state}, not in doubt: there is nothing to release"
                )
                raise Denied(Kind.PRECONDITION, "NOT_IN_DOUBT", message, state=order.state)
            if self._manager.awaits_answer(order.order_id):
                message = f"the request of order {order.order_id} is still under way: ask again in a while"
                raise Denied(Kind.PRECONDITION, "UNDER_WAY", message)
            absent = Refused(kind=RejectionKind.ABSENT, code="released", message=reason, at=self._clock.now())
            return wire.order_to_pb(await self._manager.learn(order.order_id, absent))

    async def Settle(self, request: pb.SettleRequest, context: Context) -> pb.SettleResponse:
        async with Faults():
            sessions = [
                s for s in self._sessions.all() if not request.user_id or s.user_id == request.user_id
            ]
            if request.user_id and not sessions:
                raise Denied(Kind.NOT_FOUND, "UNKNOWN_USER", f"there is no user {request.user_id}")
            # A second sweep reads the trades of what the first one learned.
            await self._keeper.settle(sessions, SETTLE_SECONDS / 2)
            await self._keeper.settle(sessions, SETTLE_SECONDS / 2)
            keys = {session.key for session in sessions}
            orders: list[Order] = await self._journal.run(
                lambda tx: [o for o in tx.books.live.values() if (o.venue, o.user_id) in keys]
            )
            unread = [session.user() for session in sessions if session.state is not UserState.READY]
            return pb.SettleResponse(
                in_doubt=[wire.order_to_pb(o) for o in orders if o.state in IN_FLIGHT],
                open=[wire.order_to_pb(o) for o in orders if not o.is_over and o.state not in IN_FLIGHT],
                unread=[wire.user_to_pb(user) for user in unread],
                foreign_open_orders=self._manager.books.guard.foreign_count(),
            )

    async def GetCounters(self, request: pb.GetCountersRequest, context: Context) -> pb.GetCountersResponse:
        return pb.GetCountersResponse(
            guard=_guard(self._manager.books.guard),
            budgets=[
                _budget(venue, self._budgets[venue], self._keeper.rota) for venue in sorted(self._budgets)
            ],
        )


def _guard(guard: Guard) -> pb.GuardCounters:
    counters = guard.counters
    return pb.GuardCounters(
        admitted=counters.admitted,
        lowered=counters.lowered,
        raised=counters.raised,
        denied_by_orders=counters.denied_by_orders,
        denied_by_waiters=counters.denied_by_waiters,
        waits=counters.waits,
        waited_ms=int(counters.waited_seconds * 1000),
        longest_wait_ms=int(counters.longest_wait_seconds * 1000),
        lapsed=guard.tickets.lapsed,
        waiting=guard.tickets.count(),
        expired_in_match=counters.expired_in_match,
        shared_trades=counters.shared_trades,
    )


def _budget(venue: Venue, budget: RateBudget, rota: Rota) -> pb.BudgetCounters:
    used, limit = budget.used()
    counters = budget.counters
    return pb.BudgetCounters(
        venue=wire.venue_to_pb(venue),
        used_weight=used,
        weight_limit=limit,
        waited=counters.waited,
        denied=counters.denied,
        bans=counters.bans,
        too_many_orders=counters.too_many_orders,
        closed_until=wire.timestamp(budget.closed_until()),
        rotation_ms=int(rota.rotation_seconds(venue) * 1000),
        sweeps_waiting=rota.waiting(venue),
    )

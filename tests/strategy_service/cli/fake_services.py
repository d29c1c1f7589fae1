"""Services and an exchange that know only what a test's world says, and tell it what they were asked."""

from urllib.parse import parse_qsl

import grpc

from protos import market_pb2, order_pb2_grpc, strategy_pb2_grpc
from protos import order_pb2 as orders
from protos import strategy_pb2 as strategies

RUNNING = strategies.USER_RUN_STATE_RUNNING
REACHED = strategies.USER_RUN_STATE_REACHED
STOPPED = strategies.USER_RUN_STATE_STOPPED


class World:
    """What the fakes know, and what was asked of them, in order."""

    def __init__(self):
        self.calls = []
        self.state = RUNNING
        self.bought = {"1": "60.5", "2": "40"}
        self.target = "100"
        self.known_users = ["1"]
        self.refuse_starts = 0
        self.left_out = ""
        self.unknown_user = ""
        self.exchange_knows = ("1", "2")
        self.by_hand = []
        self.on_watch = lambda: None
        self.joined = None  # the state of a strategy that a reload enabled meanwhile

    def status(self):
        users = [
            strategies.UserStatus(user_id=user, state=self.state, volume=volume, volume_complete=True)
            for user, volume in self.bought.items()
        ]
        return strategies.StrategyStatus(
            strategy_id="koge",
            target_volume=self.target,
            total_volume="100.5",
            target_scope="shared",
            is_running=self.state == RUNNING,
            symbol="ALPHA_22USDT",
            venue=market_pb2.VENUE_ALPHA,
            users=users,
        )

    def statuses(self):
        found = [self.status()]
        if self.joined is not None:
            other = self.status()
            other.strategy_id, other.is_running = "koge2", self.joined == RUNNING
            for user in other.users:
                user.state = self.joined
            found.append(other)
        return found

    def exchange(self, what, body):
        """The control API."""
        what, _, query = what.partition("?")
        self.calls.append(what)
        if what == "accounts":
            return {"credential": {"kind": "session", "headers": {"cookie": f"of-{body['user_id']}"}}}
        if what == "trades":
            user = dict(parse_qsl(query))["user_id"]
            trade = {"order_id": int(user), "symbol": "ALPHA_22USDT", "side": "BUY"}
            bought = "60.5" if user == "1" else "40"
            own = [trade | {"quote": bought}] if user in self.exchange_knows else []
            return {"trades": own + [trade | {"order_id": 99, "quote": each} for each in self.by_hand]}
        if what == "orders":
            return {"orders": []}
        if what == "report":
            return {"users": [], "self_matches": 0}
        return {}


class Strategy(strategy_pb2_grpc.StrategyServiceServicer):
    def __init__(self, world):
        self.world = world

    def StartStrategy(self, request, context):
        self.world.calls.append(f"start {request.strategy_id or 'all'} exclusive={request.exclusive}")
        if self.world.refuse_starts:
            self.world.refuse_starts -= 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "order service cannot be reached")
        found = [self.world.status()]
        if self.world.left_out:
            if request.strategy_id == self.world.left_out:
                context.abort(grpc.StatusCode.FAILED_PRECONDITION, "strategy koge2: no token NOPE")
            idle = strategies.UserStatus(user_id="1", state=strategies.USER_RUN_STATE_IDLE)
            found.append(strategies.StrategyStatus(strategy_id=self.world.left_out, users=[idle]))
        return strategies.StartStrategyResponse(strategies=found)

    def WatchStrategies(self, request, context):
        yield strategies.WatchStrategiesResponse(sequence=1, snapshot=True, strategies=self._wanted(request))
        self.world.on_watch()
        yield strategies.WatchStrategiesResponse(sequence=2, strategies=self._wanted(request))

    def _wanted(self, request):
        wanted = request.strategy_ids
        return [each for each in self.world.statuses() if not wanted or each.strategy_id in wanted]

    def StopStrategy(self, request, context):
        self.world.calls.append(f"stop mode={strategies.StopMode.Name(request.mode)}")
        self.world.state = STOPPED
        return strategies.StopStrategyResponse(strategies=[self.world.status()])

    def ListStrategies(self, request, context):
        return strategies.ListStrategiesResponse(strategies=self.world.statuses())


class Orders(order_pb2_grpc.OrderServiceServicer):
    def __init__(self, world):
        self.world = world

    def GetVolume(self, request, context):
        members = [orders.MemberVolume(user_id=u, counted=v) for u, v in self.world.bought.items()]
        return orders.VolumeScope(scope_id=request.scope_id, members=members)

    def GetPosition(self, request, context):
        if request.user_id == self.world.unknown_user:
            context.abort(grpc.StatusCode.NOT_FOUND, "user 2 has no credential")
        return orders.Position(bought_quote=self.world.bought[request.user_id], sold_quote="0")

    def ListOrders(self, request, context):
        leg = orders.Leg(venue_order_id=request.user_id)
        return orders.ListOrdersResponse(orders=[orders.Order(venue=market_pb2.VENUE_ALPHA, legs=[leg])])


class Admin(order_pb2_grpc.OrderAdminServiceServicer):
    def __init__(self, world):
        self.world = world

    def ListUsers(self, request, context):
        users = [orders.User(user_id=user, venue=market_pb2.VENUE_ALPHA) for user in self.world.known_users]
        return orders.ListUsersResponse(users=users)

    def PutCredential(self, request, context):
        self.world.calls.append(f"credential {request.user_id} {request.kind} {request.secret.decode()}")
        return orders.User(user_id=request.user_id)

    def Settle(self, request, context):
        self.world.calls.append("settle")
        return orders.SettleResponse()

"""How much room is left in each volume scope, kept up to date order by order and trade by trade.

The figures that walking over all members and orders would give, without the walk: every placing
decision and every reading of a scope needs them, over any number of users. The books own one
instance. Pure.
"""

from collections import Counter, defaultdict
from datetime import datetime
from decimal import Decimal

from order_service.ledger import AccountKey, Ledger, window_start
from otopilot.instrument import Side
from otopilot.money import ZERO
from otopilot.order import Order, OrderId, ScopeId
from otopilot.position import ScopeMember, VolumeScope, VolumeSide

Reserved = tuple[Decimal, Decimal]  # by BUYs alone, by both sides
NOTHING: Reserved = (ZERO, ZERO)


def account_of_member(member: ScopeMember) -> AccountKey:
    """The account and symbol a member trades on."""
    return AccountKey(member.user_id, member.venue, member.symbol)


def reserved_by(order: Order) -> Reserved:
    """What an order that is open, or held, may still add to a volume, in quote."""
    buys = both = ZERO
    for leg in order.legs:
        amount = leg.unfilled * leg.price
        both += amount
        if leg.side is Side.BUY:
            buys += amount
    return buys, both


class Room:
    """Every scope's members, reserved and counted volume."""

    def __init__(self) -> None:
        self._scopes: dict[ScopeId, VolumeScope] = {}
        self._members: dict[ScopeId, dict[AccountKey, ScopeMember]] = {}
        self._scopes_of: dict[AccountKey, Counter[ScopeId]] = defaultdict(Counter)
        self._orders: dict[OrderId, Reserved] = {}
        self._accounts: dict[AccountKey, Reserved] = {}
        self._reserved: dict[ScopeId, Decimal] = {}
        self._counted: dict[ScopeId, tuple[datetime | None, Decimal]] = {}

    def set(self, scope: VolumeScope) -> None:
        """A scope is there, or became another."""
        scope_id = scope.scope_id
        for account in self._members.get(scope_id, ()):
            del self._scopes_of[account][scope_id]
        self._scopes[scope_id] = scope
        self._members[scope_id] = {account_of_member(member): member for member in scope.members}
        side = _side(scope)
        reserved = ZERO
        for member in scope.members:
            account = account_of_member(member)
            self._scopes_of[account][scope_id] += 1
            reserved += self._accounts.get(account, NOTHING)[side]
        self._reserved[scope_id] = reserved
        self._counted.pop(scope_id, None)

    def order_changed(self, account: AccountKey, order_id: OrderId, now: Reserved) -> None:
        """An order reserves so much from now on."""
        before = self._orders.pop(order_id, NOTHING)
        if now != NOTHING:
            self._orders[order_id] = now
        if before == now:
            return
        change = (now[0] - before[0], now[1] - before[1])
        buys, both = self._accounts.get(account, NOTHING)
        self._accounts[account] = (buys + change[0], both + change[1])
        for scope_id, times in self._scopes_of[account].items():
            self._reserved[scope_id] += times * change[_side(self._scopes[scope_id])]

    def volume_changed(self, account: AccountKey) -> None:
        """A trade of the account was counted."""
        for scope_id in self._scopes_of.get(account, ()):
            self._counted.pop(scope_id, None)

    def member(self, scope_id: ScopeId, account: AccountKey) -> ScopeMember | None:
        """The scope's member on that account."""
        return self._members[scope_id].get(account)

    def reserved(self, scope_id: ScopeId) -> Decimal:
        """What open and held orders of the scope may still add to its volume, in quote."""
        return self._reserved[scope_id]

    def counted(self, scope_id: ScopeId, now: datetime, ledger: Ledger) -> Decimal:
        """What counts in the window that now lies in."""
        scope = self._scopes[scope_id]
        window = window_start(scope, now)
        known = self._counted.get(scope_id)
        if known is None or known[0] != window:
            whole = sum((ledger.counted(scope, member, now) for member in scope.members), ZERO)
            known = self._counted[scope_id] = (window, whole)
        return known[1]


def _side(scope: VolumeScope) -> int:
    return 1 if scope.side is VolumeSide.BOTH else 0

"""The ledger: trades in, volume, fees, cost and inventory out.

Every figure follows from trades that were read from the venue's books, each counted once by
its key (architecture 4). Volume counts every trade of an account; cost and inventory count own
trades only (product 2). The figures do not depend on the order in which trades were learned:
own trades are folded by their venue time. Pure; the journal writes the rows.
"""

import bisect
from collections import defaultdict
from collections.abc import Collection
from datetime import UTC, date, datetime
from decimal import Decimal

import msgspec

from otopilot import money
from otopilot.instrument import Side, Venue
from otopilot.money import ZERO
from otopilot.order import OrderId, Trade, TradeKey, UserId
from otopilot.position import ScopeMember, VolumeScope, VolumeSide, VolumeWindow

# No venue has trades before this; a history read from here on is whole.
FIRST_MOMENT = datetime(2017, 1, 1, tzinfo=UTC)
QUOTIENT_PLACES = 18  # of averages and shares, which may have no end; sums stay exact
TAIL = 256  # own trades kept apart, so that a late one can be put in its place


class AccountKey(msgspec.Struct, frozen=True, order=True):
    """An account's book of one symbol."""

    user_id: UserId
    venue: Venue
    symbol: str


class LedgerRow(msgspec.Struct, frozen=True, kw_only=True):
    """A trade as the ledger keeps it: whose order it was, and its fee's worth in quote."""

    account: AccountKey
    trade: Trade
    order_id: OrderId | None  # none: not an order of ours
    fee_value: Decimal | None  # in quote; none when there was no price to value it by


class Inventory(msgspec.Struct, frozen=True, kw_only=True):
    """Own trades of one account and symbol, folded.

    An OPO's SELL takes the whole of what was bought where the account had other base to pay the fee
    from (binance-spot 4.8): so much is sold beyond what was received, and is no loss of inventory.
    """

    base: Decimal = ZERO  # bought less sold less fees
    made_up: Decimal = ZERO  # of those fees, what came from other base of the account
    fees_in_base: Decimal = ZERO
    cost: Decimal = ZERO  # of what is held, in quote
    realised_cost: Decimal = ZERO
    cost_complete: bool = True
    bought_quote: Decimal = ZERO
    sold_quote: Decimal = ZERO

    @property
    def average_cost(self) -> Decimal | None:
        """Quote paid per base held."""
        return money.truncate(self.cost / self.held, QUOTIENT_PLACES) if self.held > 0 else None

    @property
    def held(self) -> Decimal:
        """The base that the cost stands for."""
        return self.base + self.made_up


def fold(inventory: Inventory, row: LedgerRow, base_asset: str) -> Inventory:
    """The inventory after one more own trade.

    Cost = fees + (average buy cost - sale price) x quantity sold. A fee taken from the base bought is
    a cost at that trade's price and never enters the inventory.
    """
    trade = row.trade
    fee_base = trade.fee.amount if trade.fee.asset == base_asset else ZERO
    realised = inventory.realised_cost + (row.fee_value or ZERO)
    complete = inventory.cost_complete and row.fee_value is not None
    if trade.side is Side.BUY:
        received = trade.quantity - fee_base
        return Inventory(
            base=inventory.base + received,
            made_up=inventory.made_up,
            fees_in_base=inventory.fees_in_base + fee_base,
            cost=inventory.cost + received * trade.price,
            realised_cost=realised,
            cost_complete=complete,
            bought_quote=inventory.bought_quote + trade.quote,
            sold_quote=inventory.sold_quote,
        )
    given = trade.quantity + fee_base
    # What was sold beyond the inventory has no known cost: it counts at its own price.
    covered = min(given, max(ZERO, inventory.held))
    share = inventory.cost * covered / inventory.held if covered else ZERO
    cost = money.truncate(share, QUOTIENT_PLACES)
    if covered == inventory.held:
        cost = inventory.cost
    made_up = min(given - covered, inventory.fees_in_base - inventory.made_up)
    return Inventory(
        base=inventory.base - given,
        made_up=inventory.made_up + made_up,
        fees_in_base=inventory.fees_in_base,
        cost=inventory.cost - cost,
        realised_cost=realised + cost - covered * trade.price,
        cost_complete=complete and covered + made_up == given,
        bought_quote=inventory.bought_quote,
        sold_quote=inventory.sold_quote + trade.quote,
    )


class _Fold:
    """An inventory as a checkpoint and the newest rows after it, sorted by time."""

    def __init__(self) -> None:
        self.base = Inventory()
        self.rows: list[tuple[tuple[datetime, bool, TradeKey], LedgerRow]] = []
        self.result = Inventory()

    def add(self, row: LedgerRow, base_asset: str) -> None:
        """Put the row in its place; a BUY goes before a SELL of the same moment."""
        trade = row.trade
        entry = ((trade.traded_at, trade.side is Side.SELL, trade.key), row)
        place = bisect.bisect(self.rows, entry[0], key=lambda known: known[0])
        self.rows.insert(place, entry)
        if place == len(self.rows) - 1:
            self.result = fold(self.result, row, base_asset)
        else:
            self.result = self.base
            for _, known in self.rows:
                self.result = fold(self.result, known, base_asset)
        while len(self.rows) > TAIL:
            _, oldest = self.rows.pop(0)
            self.base = fold(self.base, oldest, base_asset)


def day_of(moment: datetime) -> date:
    """The UTC day of a venue trade time: half-open, a trade at 00:00 belongs to the new day."""
    return moment.astimezone(UTC).date()


TotalKey = tuple[AccountKey, Side, date]


class Ledger:
    """Totals and inventories; the keys of trades live in the journal's table."""

    def __init__(self) -> None:
        self._totals: dict[TotalKey, tuple[Decimal, Decimal]] = {}
        self._lifetime: dict[tuple[AccountKey, Side], Decimal] = defaultdict(lambda: ZERO)
        self._folds: dict[AccountKey, _Fold] = {}
        self._since: dict[tuple[VolumeScope, ScopeMember], Decimal] = {}

    def count(self, row: LedgerRow) -> tuple[TotalKey, tuple[Decimal, Decimal]]:
        """Add a new trade to its day's total; returns the total row to write."""
        trade = row.trade
        key = (row.account, trade.side, day_of(trade.traded_at))
        quantity, quote = self._totals.get(key, (ZERO, ZERO))
        total = (quantity + trade.quantity, quote + trade.quote)
        self.set_total(key, total)
        for (scope, member), partial in list(self._since.items()):
            if _counts_in_since(scope, member, row):
                self._since[scope, member] = partial + trade.quote
        return key, total

    def set_total(self, key: TotalKey, total: tuple[Decimal, Decimal]) -> None:
        """Put a day's (quantity, quote) in place."""
        account, side, _ = key
        _, before = self._totals.get(key, (ZERO, ZERO))
        self._totals[key] = total
        self._lifetime[account, side] += total[1] - before

    def forget(self, accounts: Collection[AccountKey]) -> None:
        """Nothing is known of these accounts, nor of any SINCE scope."""
        for key in [key for key in self._totals if key[0] in accounts]:
            del self._totals[key]
        for account in accounts:
            self._folds.pop(account, None)
            for side in Side:
                self._lifetime.pop((account, side), None)
        self._since.clear()

    def own(self, row: LedgerRow, base_asset: str) -> None:
        """Add an own trade to the inventory of its account."""
        self._folds.setdefault(row.account, _Fold()).add(row, base_asset)

    def inventory(self, account: AccountKey) -> Inventory:
        """The account's own inventory of the symbol."""
        known = self._folds.get(account)
        return known.result if known else Inventory()

    def watch_since(self, scope: VolumeScope, rows: list[LedgerRow]) -> None:
        """Begin a SINCE scope from the rows of its first day (whole days come from the totals)."""
        for key in [key for key in self._since if key[0].scope_id == scope.scope_id]:
            del self._since[key]
        for member in scope.members:
            matching = (row.trade.quote for row in rows if _counts_in_since(scope, member, row))
            self._since[scope, member] = sum(matching, ZERO)

    def counted(self, scope: VolumeScope, member: ScopeMember, now: datetime) -> Decimal:
        """The member's counted volume in the scope's window, in quote."""
        account = AccountKey(member.user_id, member.venue, member.symbol)
        sides = (Side.BUY, Side.SELL) if scope.side is VolumeSide.BOTH else (Side.BUY,)
        match scope.window:
            case VolumeWindow.ALL:
                return sum((self._lifetime.get((account, side), ZERO) for side in sides), ZERO)
            case VolumeWindow.DAY:
                today = day_of(now)
                return sum((self._quote(account, side, today) for side in sides), ZERO)
            case VolumeWindow.SINCE:
                assert scope.since is not None
                first = day_of(scope.since)
                whole = sum(
                    (
                        quote
                        for (known, side, day), (_, quote) in self._totals.items()
                        if known == account and side in sides and day > first
                    ),
                    ZERO,
                )
                return whole + self._since.get((scope, member), ZERO)

    def _quote(self, account: AccountKey, side: Side, day: date) -> Decimal:
        return self._totals.get((account, side, day), (ZERO, ZERO))[1]


def window_start(scope: VolumeScope, now: datetime) -> datetime | None:
    """The start of the window that now lies in; none for ALL."""
    match scope.window:
        case VolumeWindow.ALL:
            return None
        case VolumeWindow.DAY:
            return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        case VolumeWindow.SINCE:
            return scope.since


def _counts_in_since(scope: VolumeScope, member: ScopeMember, row: LedgerRow) -> bool:
    """Does the row belong to the partial first day of a SINCE scope?"""
    account, trade = row.account, row.trade
    if (account.user_id, account.venue, account.symbol) != (member.user_id, member.venue, member.symbol):
        return False
    if scope.side is VolumeSide.BUY and trade.side is not Side.BUY:
        return False
    assert scope.since is not None
    return trade.traded_at >= scope.since and day_of(trade.traded_at) == day_of(scope.since)

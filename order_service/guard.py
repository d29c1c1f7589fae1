"""The self-match guard: no two orders of managed users may ever trade with each other.

A limit BUY at b trades at or below b, a limit SELL at s at or above s. As long as, per
symbol, every claimed BUY is priced below every claimed SELL of every other order, no two can
match (architecture 6). Claims cover both legs from the placing transaction until a confirmed
end; known foreign orders of managed accounts count as far as they were seen. Pure.
"""

from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal

from otopilot.instrument import Side, Venue
from otopilot.order import Order, OrderId, UserId

Market = tuple[Venue, str]  # a venue's symbol


@dataclass(frozen=True)
class Claim:
    """The prices at which an order may trade: its BUY at or below bid, its SELL at or above ask."""

    holder: str  # our order id, or foreign:<user>:<venue's id>
    user_id: UserId
    bid: Decimal | None
    ask: Decimal | None


@dataclass(frozen=True)
class Verdict:
    """The prices an order may have; none where it has no such leg."""

    bid: Decimal | None
    ask: Decimal | None


class Blocked(Exception):
    """Another managed order stands in the way at that price."""

    def __init__(self, price: Decimal, holder: str) -> None:
        super().__init__(f"blocked by {holder} at {price}")
        self.price = price
        self.holder = holder


def claim_of(order: Order, held: bool) -> Claim | None:
    """What an order claims now; a held one (absence proven, not yet released) claims all of it."""
    bid = ask = None
    for leg in order.legs:
        if (order.is_over and not held) or leg.is_over:
            continue
        if leg.side is Side.BUY:
            bid = leg.price
        else:
            ask = leg.price
    if bid is None and ask is None:
        return None
    return Claim(order.order_id, order.user_id, bid, ask)


class Guard:
    """The claims of every symbol."""

    def __init__(self) -> None:
        self._claims: dict[Market, dict[str, Claim]] = defaultdict(dict)

    def set(self, market: Market, holder: OrderId, claim: Claim | None) -> bool:
        """Write an order's claim; none drops it. True when something became freer."""
        claims = self._claims[market]
        before = claims.pop(holder, None)
        if claim is not None:
            claims[holder] = claim
        return before is not None and before != claim

    def set_foreign(self, market: Market, user_id: UserId, claims: list[Claim]) -> bool:
        """Replace what is known of a managed account's open orders that are not ours.

        True when something became freer.
        """
        held = self._claims[market]
        prefix = f"foreign:{user_id}:"
        before = {holder: held.pop(holder) for holder in list(held) if holder.startswith(prefix)}
        for claim in claims:
            held[claim.holder] = claim
        return any(held.get(holder) != claim for holder, claim in before.items())

    def keep_foreign(self, other: "Guard") -> None:
        """Take over what another guard knows of orders that are not ours: no journal has them."""
        for market, claims in other._claims.items():
            for holder, claim in claims.items():
                if holder.startswith("foreign:"):
                    self._claims[market][holder] = claim

    def foreign_sells(self, market: Market, user_id: UserId) -> int:
        """Open SELLs of the account that are not ours, as far as seen."""
        prefix = f"foreign:{user_id}:"
        claims = self._claims[market].values()
        return sum(1 for claim in claims if claim.ask is not None and claim.holder.startswith(prefix))

    def foreign_count(self) -> int:
        """Open orders of managed accounts that are not ours, as far as seen."""
        return sum(holder.startswith("foreign:") for claims in self._claims.values() for holder in claims)

    def decide(
        self,
        market: Market,
        *,
        bid: Decimal | None,
        min_bid: Decimal | None,
        ask: Decimal | None,
        max_ask: Decimal | None,
        tick: Decimal,
    ) -> Verdict:
        """The prices a new order gets: as asked, or moved within its room. Raises Blocked."""
        claims = self._claims[market].values()
        if bid is not None:
            lowest = min((c for c in claims if c.ask is not None), key=_ask, default=None)
            if lowest is not None and bid >= _ask(lowest):
                bid = _ask(lowest) - tick
                if min_bid is None or bid < min_bid:
                    raise Blocked(_ask(lowest), lowest.holder)
        if ask is not None:
            highest = max((c for c in claims if c.bid is not None), key=_bid, default=None)
            if highest is not None and ask <= _bid(highest):
                ask = _bid(highest) + tick
                if max_ask is None or ask > max_ask:
                    raise Blocked(_bid(highest), highest.holder)
        return Verdict(bid, ask)


def _ask(claim: Claim) -> Decimal:
    assert claim.ask is not None
    return claim.ask


def _bid(claim: Claim) -> Decimal:
    assert claim.bid is not None
    return claim.bid

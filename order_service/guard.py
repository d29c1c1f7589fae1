"""The self-match guard: no two orders of managed users may ever trade with each other.

A limit BUY at b trades at or below b, a limit SELL at s at or above s. As long as, per
symbol, every claimed BUY is priced below every claimed SELL of every other order, no two can
match (architecture 6). Claims cover both legs from the placing transaction until a confirmed
end; known foreign orders of managed accounts count as far as they were seen; a SELL that is being
re-priced bars its new price too; and whoever waits holds others back as tickets.py says. Pure.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

import msgspec

from order_service.claims import Claim, Market, claim_of, is_freer
from order_service.tickets import Asker, Tickets
from otopilot.instrument import Venue
from otopilot.order import OrderId, UserId

__all__ = ["Blocked", "Claim", "Counters", "Guard", "Market", "Verdict", "claim_of"]

REPRICED_FOR = timedelta(seconds=30)  # a re-pricing that nobody goes on with is given up


class Verdict(msgspec.Struct, frozen=True):
    """The prices an order may have; none where it has no such leg."""

    bid: Decimal | None
    ask: Decimal | None


@dataclass
class Counters:
    """What the guard did since the process started."""

    admitted: int = 0
    lowered: int = 0  # BUYs
    raised: int = 0  # SELLs
    denied_by_orders: int = 0
    denied_by_waiters: int = 0
    waits: int = 0  # that ended with an admission
    waited_seconds: float = 0.0
    longest_wait_seconds: float = 0.0
    expired_in_match: int = 0  # the venue's own prevention had to act: an alarm
    shared_trades: int = 0  # one trade in two managed accounts: an alarm that stops everything


Edges = tuple[Claim | None, Claim | None]  # the lowest ask, the highest bid


class Blocked(Exception):
    """Another managed order, or one that waits longer, stands in the way at that price."""

    def __init__(self, price: Decimal, holder: str) -> None:
        super().__init__(f"blocked by {holder} at {price}")
        self.price = price
        self.holder = holder


class Guard:
    """The claims of every symbol."""

    def __init__(self) -> None:
        self._claims: dict[Market, dict[str, Claim]] = defaultdict(dict)
        self._foreign: dict[Market, dict[UserId, list[Claim]]] = defaultdict(dict)  # part of the claims
        self._edges: dict[Market, Edges] = {}  # of the claims; made when asked for, dropped when in doubt
        self._repriced: dict[Market, dict[str, tuple[Claim, datetime | None]]] = defaultdict(dict)
        self.tickets = Tickets()
        self.counters = Counters()

    # ------------------------------------------------------------------ claims

    def set(self, market: Market, holder: OrderId, claim: Claim | None) -> bool:
        """Write an order's claim; none drops it. True when something became freer."""
        claims = self._claims[market]
        before = claims.pop(holder, None)
        if claim is not None:
            claims[holder] = claim
        edges = self._edges.get(market)
        if edges is not None:
            if before is not None and before in edges:
                del self._edges[market]
            elif claim is not None:
                self._edges[market] = _wider(edges, claim)
        return before is not None and is_freer(before, claim)

    def set_foreign(self, market: Market, user_id: UserId, claims: list[Claim]) -> bool:
        """Replace what is known of a managed account's open orders that are not ours.

        True when something became freer.
        """
        before = self._foreign[market].pop(user_id, [])
        if not before and not claims:
            return False
        held = self._claims[market]
        for claim in before:
            del held[claim.holder]
        for claim in claims:
            held[claim.holder] = claim
        if claims:
            self._foreign[market][user_id] = claims
        self._edges.pop(market, None)
        return any(is_freer(claim, held.get(claim.holder)) for claim in before)

    def forget_foreign(self, venue: Venue, user_id: UserId) -> list[Market]:
        """The account is managed no more, and nobody sees how its orders end; the markets that are freer."""
        markets = [market for market in self._foreign if market[0] is venue]
        return [market for market in markets if self.set_foreign(market, user_id, [])]

    def keep_unwritten(self, other: "Guard") -> None:
        """Take over what another guard knows and no journal has: foreign orders, who waits, the counts."""
        for market, users in other._foreign.items():
            for user_id, claims in users.items():
                self.set_foreign(market, user_id, claims)
        self.tickets, self.counters = other.tickets, other.counters

    def foreign_of(self, market: Market, user_id: UserId) -> Sequence[Claim]:
        """Open orders of the account that are not ours, as far as seen."""
        users = self._foreign.get(market)
        return users.get(user_id, ()) if users else ()

    def foreign_markets(self, venue: Venue, user_id: UserId) -> list[Market]:
        """Where the user has such orders."""
        return [
            market for market, users in self._foreign.items() if market[0] is venue and users.get(user_id)
        ]

    def foreign_sells(self, market: Market, user_id: UserId) -> int:
        """Open SELLs of the account that are not ours, as far as seen."""
        return sum(claim.ask is not None for claim in self.foreign_of(market, user_id))

    def foreign_count(self) -> int:
        """Open orders of managed accounts that are not ours, as far as seen."""
        return sum(len(claims) for users in self._foreign.values() for claims in users.values())

    # ------------------------------------------------------------------ re-pricing

    def reprice(
        self, market: Market, order_id: OrderId, user_id: UserId, price: Decimal, until: datetime | None
    ) -> None:
        """An order's SELL is to go back at that price: no BUY comes to it until then."""
        claim = Claim(f"reprice:{order_id}", user_id, None, price)
        self._repriced[market][order_id] = (claim, until)

    def end_repricing(self, market: Market, order_id: OrderId) -> None:
        """The order's SELL will not go back."""
        self._repriced[market].pop(order_id, None)

    def take_over(self, market: Market, user_id: UserId) -> None:
        """The SELL was put back and has a claim of its own (a user re-prices one at a time)."""
        repriced = self._repriced[market]
        for order_id in [key for key, (claim, _) in repriced.items() if claim.user_id == user_id]:
            del repriced[order_id]

    def keep_repricing(self, market: Market, user_id: UserId, now: datetime) -> None:
        """The user goes on with it: it was denied just now."""
        for order_id, (claim, until) in list(self._repriced[market].items()):
            if claim.user_id == user_id and until is not None:
                self._repriced[market][order_id] = (claim, now + REPRICED_FOR)

    # ------------------------------------------------------------------ deciding

    def decide(
        self,
        market: Market,
        *,
        bid: Decimal | None,
        min_bid: Decimal | None,
        ask: Decimal | None,
        max_ask: Decimal | None,
        tick: Decimal,
        asker: Asker | None = None,
        now: datetime | None = None,
    ) -> Verdict:
        """The prices a new order gets: as asked, or moved within its room. Raises Blocked.

        With an asker, those who wait and go before it are in its way, too.
        """
        lowest, highest = self._edges_for(market, asker, now)
        if bid is not None and lowest is not None and bid >= _ask(lowest):
            bid = _ask(lowest) - tick
            if min_bid is None or bid < min_bid:
                raise Blocked(_ask(lowest), lowest.holder)
        if ask is not None and highest is not None and ask <= _bid(highest):
            ask = _bid(highest) + tick
            if max_ask is None or ask > max_ask:
                raise Blocked(_bid(highest), highest.holder)
        return Verdict(bid, ask)

    def denied(self, market: Market, asker: Asker, least: Verdict, blocked: Blocked, now: datetime) -> None:
        """A request was denied; `least`: the prices it could at most concede. It waits from now on."""
        if blocked.holder.startswith("ticket:"):
            self.counters.denied_by_waiters += 1
        else:
            self.counters.denied_by_orders += 1
        self.tickets.leave(market, asker, least.bid, least.ask, now)

    def admitted(self, market: Market, asker: Asker, asked: Verdict, got: Verdict, now: datetime) -> None:
        """A request was admitted: it waits no more."""
        counters = self.counters
        counters.admitted += 1
        counters.lowered += asked.bid != got.bid
        counters.raised += asked.ask != got.ask
        ticket = self.tickets.take(market, asker)
        if ticket is not None:
            waited = (now - ticket.since).total_seconds()
            counters.waits += 1
            counters.waited_seconds += waited
            counters.longest_wait_seconds = max(counters.longest_wait_seconds, waited)

    def to_ask(self, market: Market, now: datetime) -> tuple[UserId, ...]:
        """Who waits and would be admitted now, in the order in which they go."""
        return self.tickets.to_ask(market, self._in_force(market, now), now)

    def _edges_for(self, market: Market, asker: Asker | None, now: datetime | None) -> Edges:
        """The lowest ask and the highest bid that a request of the asker meets."""
        if self._repriced.get(market) or self.tickets.anybody(market):
            claims = list(self._in_force(market, now))
            if asker is not None and now is not None:
                claims.extend(list(self.tickets.ahead_of(market, asker, claims, now)))
            return edges_of(claims)
        edges = self._edges.get(market)
        if edges is None:
            edges = self._edges[market] = edges_of(self._claims[market].values())
        return edges

    def _in_force(self, market: Market, now: datetime | None) -> Iterator[Claim]:
        yield from self._claims[market].values()
        repriced = self._repriced[market]
        for order_id, (claim, until) in list(repriced.items()):
            if now is not None and until is not None and until <= now:
                del repriced[order_id]
            else:
                yield claim


def edges_of(claims: Iterable[Claim]) -> Edges:
    """The lowest ask and the highest bid; of equal ones the first."""
    edges: Edges = (None, None)
    for claim in claims:
        edges = _wider(edges, claim)
    return edges


def _wider(edges: Edges, claim: Claim) -> Edges:
    lowest, highest = edges
    if claim.ask is not None and (lowest is None or claim.ask < _ask(lowest)):
        lowest = claim
    if claim.bid is not None and (highest is None or claim.bid > _bid(highest)):
        highest = claim
    return lowest, highest


def _ask(claim: Claim) -> Decimal:
    assert claim.ask is not None
    return claim.ask


def _bid(claim: Claim) -> Decimal:
    assert claim.bid is not None
    return claim.bid

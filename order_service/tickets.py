"""Who waits for the guard, and whom they hold back meanwhile (architecture 6). Pure.

A denial leaves a ticket, which lapses two seconds after its last ask. It holds back requests that
conflict with it only while it could be admitted itself, or while nothing but BUYs in flight is in its
way; one that a resting, held or in-doubt order blocks holds back nobody. Waiting SELLs go before BUYs,
and among equals whoever asked first.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from order_service.claims import Claim, Market
from otopilot.instrument import Side
from otopilot.order import UserId

LAPSES_AFTER = timedelta(seconds=2)

Asker = tuple[UserId, Side]  # the side of the working leg


@dataclass(frozen=True)
class Ticket:
    """A denied request, at the prices it could at most concede."""

    claim: Claim
    side: Side
    number: int  # in order of first asks
    since: datetime
    asked_at: datetime
    told: bool = False  # to ask again, since it last asked

    @property
    def rank(self) -> tuple[bool, int]:
        """The smaller goes first."""
        return (self.side is not Side.SELL, self.number)


class Tickets:
    """Everybody who waits, by symbol."""

    def __init__(self) -> None:
        self._waiting: dict[Market, dict[Asker, Ticket]] = defaultdict(dict)
        self._number = 0
        self.lapsed = 0

    def leave(
        self, market: Market, asker: Asker, bid: Decimal | None, ask: Decimal | None, now: datetime
    ) -> None:
        """A request was denied; a ticket it has already keeps its place."""
        self._forget_lapsed(market, now)
        user_id, side = asker
        claim = Claim(f"ticket:{user_id}:{side}", user_id, bid, ask)
        known = self._waiting[market].get(asker)
        if known is None:
            self._number += 1
            known = Ticket(claim, side, self._number, now, now)
        self._waiting[market][asker] = replace(known, claim=claim, asked_at=now, told=False)

    def take(self, market: Market, asker: Asker) -> Ticket | None:
        """The asker waits no longer."""
        return self._waiting[market].pop(asker, None)

    def anybody(self, market: Market) -> bool:
        """May somebody be waiting?"""
        return bool(self._waiting.get(market))

    def ahead_of(
        self, market: Market, asker: Asker, claims: Iterable[Claim], now: datetime
    ) -> Iterator[Claim]:
        """What those ask for who go before the asker and hold it back."""
        self._forget_lapsed(market, now)
        waiting = self._waiting[market]
        if not waiting:
            return
        own = waiting.get(asker)
        rank = own.rank if own is not None else (asker[1] is not Side.SELL, self._number + 1)
        known = list(claims)
        for ticket in waiting.values():
            if ticket.rank < rank and _in_the_way(ticket, known) <= {True}:
                yield ticket.claim

    def to_ask(self, market: Market, claims: Iterable[Claim], now: datetime) -> tuple[UserId, ...]:
        """Those who would be admitted if they asked now, in the order in which they go; each told once."""
        self._forget_lapsed(market, now)
        waiting = self._waiting[market]
        if not waiting:
            return ()
        known, ahead, told = list(claims), list[Claim](), list[UserId]()
        for asker, ticket in sorted(waiting.items(), key=lambda item: item[1].rank):
            blockers = _in_the_way(ticket, known)
            if not blockers <= {True}:
                continue
            free = not blockers and not any(ticket.claim.conflicts(other) for other in ahead)
            if free and not ticket.told:
                told.append(ticket.claim.user_id)
                waiting[asker] = replace(ticket, told=True)
            ahead.append(ticket.claim)
        return tuple(dict.fromkeys(told))

    def count(self) -> int:
        """How many wait, as far as is known."""
        return sum(len(waiting) for waiting in self._waiting.values())

    def _forget_lapsed(self, market: Market, now: datetime) -> None:
        waiting = self._waiting[market]
        for asker in [asker for asker, ticket in waiting.items() if now - ticket.asked_at > LAPSES_AFTER]:
            del waiting[asker]
            self.lapsed += 1


def _in_the_way(ticket: Ticket, claims: list[Claim]) -> set[bool]:
    """For each thing that blocks it: is it merely a BUY in flight?"""
    found = set()
    for claim in claims:
        if ticket.claim.conflicts(claim):
            by_ask = ticket.claim.bid is not None and claim.ask is not None and ticket.claim.bid >= claim.ask
            found.add(claim.passing and not by_ask)
    return found

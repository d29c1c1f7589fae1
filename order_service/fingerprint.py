"""Fingerprints: how an order is known at a venue that takes no id of ours (architecture 5.6).

(user, symbol, side, price, quantity) is made unique among the orders still open or in doubt
or ended less than ten minutes ago, by lowering the BUY a few ticks or the quantity a few steps.
Pure; the books own one instance.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

import msgspec

from otopilot.instrument import FINGERPRINT_TICKS, Instrument, Side, Venue
from otopilot.order import UserId

MEMORY = timedelta(minutes=10)
MOST_STEPS_OF_A_SELL = 9
LEAST_SHARE = Decimal("0.999")  # of the amount that was asked for


class Fingerprint(msgspec.Struct, frozen=True, order=True):
    """What tells one leg from every other where there are no ids."""

    venue: Venue
    symbol: str
    user_id: UserId
    side: Side
    price: Decimal
    quantity: Decimal
    in_list: bool


@dataclass(frozen=True)
class NoneFree(Exception):
    """Every fingerprint near what was asked is taken; one frees at that time (none: when an order ends)."""

    free_at: datetime | None


class Fingerprints:
    """Which are taken, by whom, and until when."""

    def __init__(self) -> None:
        self._taken: dict[Fingerprint, dict[str, datetime | None]] = {}
        self._ends: list[tuple[datetime, str, Fingerprint]] = []  # a heap, by time

    def take(self, print_: Fingerprint, holder: str, until: datetime | None) -> None:
        """Mark it taken by a holder; without a time until it is marked again."""
        holders = self._taken.setdefault(print_, {})
        if until is not None and holders.get(holder) != until:
            heapq.heappush(self._ends, (until, holder, print_))
        holders[holder] = until

    def forget_expired(self, now: datetime) -> None:
        """Drop what ended more than ten minutes ago: the memory is bounded by the orders of that time."""
        while self._ends and self._ends[0][0] <= now:
            until, holder, print_ = heapq.heappop(self._ends)
            holders = self._taken.get(print_, {})
            if holder in holders and holders[holder] == until:
                del holders[holder]
                if not holders:
                    del self._taken[print_]

    def holders(self, print_: Fingerprint) -> list[str]:
        """Who has, or lately had, that fingerprint."""
        return list(self._taken.get(print_, ()))

    def taken(self) -> dict[Fingerprint, dict[str, datetime | None]]:
        """Every fingerprint that is taken, its holders and until when."""
        return {print_: dict(holders) for print_, holders in self._taken.items()}

    def choose(self, wanted: Fingerprint, instrument: Instrument, now: datetime) -> Fingerprint:
        """The nearest free one. Raises NoneFree."""
        if self._taken_until(wanted, now) is None:
            return wanted
        times: list[datetime] = []
        for candidate in _candidates(wanted, instrument):
            until = self._taken_until(candidate, now)
            if until is None:
                return candidate
            times.extend(moment for moment in until if moment is not None)
        raise NoneFree(min(times, default=None))

    def _taken_until(self, print_: Fingerprint, now: datetime) -> list[datetime | None] | None:
        holders = self._taken.get(print_)
        if not holders:
            return None
        return [until for until in holders.values() if until is None or until > now] or None


def _candidates(wanted: Fingerprint, instrument: Instrument) -> Iterator[Fingerprint]:
    """As asked first; a BUY then by ticks before steps, a SELL by steps only."""
    step = 0
    while True:
        quantity = wanted.quantity - step * instrument.step_size
        if quantity <= 0:
            return
        ticks = range(FINGERPRINT_TICKS + 1) if wanted.side is Side.BUY else range(1)
        for tick in ticks:
            price = wanted.price - tick * instrument.tick_size
            enough = price * quantity >= LEAST_SHARE * wanted.price * wanted.quantity
            if wanted.side is Side.SELL:
                enough = step <= MOST_STEPS_OF_A_SELL
            if price <= 0 or not enough:
                if tick == 0:
                    return
                break
            yield msgspec.structs.replace(wanted, price=price, quantity=quantity)
        step += 1

"""Spot's counters: request weight by address, unfilled orders by account (binance-spot 8).

Windows are fixed and aligned to the clock. The counts live as long as the process: a restart
forgives, as a venue's restart would.
"""

from collections import Counter
from collections.abc import Hashable

import msgspec

from paper_exchange.config import SpotSettings
from paper_exchange.model import Event, OrderEvent
from paper_exchange.spot_errors import SpotError
from paper_exchange.spot_wire import Row

MINUTE_MS = 60_000
TEN_SECONDS_MS = 10_000
FIVE_MINUTES_MS = 300_000
DAY_MS = 86_400_000
KEYS_KEPT = 10_000
_STREAMS = "Please use WebSocket Streams for live updates to avoid"


class _Window:
    """Counts by key within the current slot of a fixed length."""

    def __init__(self, length_ms: int) -> None:
        self.length_ms = length_ms
        self._counts: dict[Hashable, tuple[int, int]] = {}

    def count(self, key: Hashable, now_ms: int) -> int:
        slot, count = self._counts.get(key, (0, 0))
        return count if slot == now_ms // self.length_ms else 0

    def add(self, key: Hashable, amount: int, now_ms: int) -> int:
        """Add (or take off), never below zero; the count now."""
        slot = now_ms // self.length_ms
        if len(self._counts) >= KEYS_KEPT:
            self._counts = {k: found for k, found in self._counts.items() if found[0] == slot}
        count = max(0, self.count(key, now_ms) + amount)
        self._counts[key] = (slot, count)
        return count

    def end_ms(self, now_ms: int) -> int:
        return (now_ms // self.length_ms + 1) * self.length_ms


class _Limit(msgspec.Struct, frozen=True):
    """How many orders an account may have unfilled in one kind of window."""

    window: _Window
    limit: int
    name: str
    interval: str
    number: int


class SpotLimits:
    """Owns all counters of the Spot surface."""

    def __init__(self, settings: SpotSettings) -> None:
        self._settings = settings
        self._weights = _Window(MINUTE_MS)
        self._refusals = _Window(MINUTE_MS)
        self._raw = _Window(FIVE_MINUTES_MS)
        self._disconnects = _Window(FIVE_MINUTES_MS)
        self._banned_until: dict[str, int] = {}
        self._bans: dict[str, tuple[int, int]] = {}  # how often, and when the newest ends
        self.refused: Counter[int] = Counter()  # by status, for the report; bans on purpose are not in it
        self.most_weight = 0  # of one address in one minute
        self._orders = (
            _Limit(_Window(TEN_SECONDS_MS), settings.order_limit_10s, "10 SECOND", "SECOND", 10),
            _Limit(_Window(DAY_MS), settings.order_limit_day, "1 DAY", "DAY", 1),
        )

    # Weight.

    def charge(self, remote: str, weight: int, now_ms: int) -> None:
        """Count a call's weight; SpotError 429, or 418 for an address that does not stop."""
        self.check_ban(remote, now_ms)
        limit = self._settings.weight_limit_per_minute
        used = self._weights.add(remote, weight, now_ms)
        self.most_weight = max(self.most_weight, used)
        if used <= limit:
            return
        if self._refusals.add(remote, 1, now_ms) > self._settings.ban_after_refusals:
            raise self._ban(self._banish(remote, now_ms))
        text = f"Too much request weight used; current limit is {limit} request weight per 1 MINUTE. "
        raise self._too_much(-1003, f"{text}{_STREAMS} polling the API.", self._weights.end_ms(now_ms))

    def check_ban(self, remote: str, now_ms: int) -> None:
        """SpotError 418 to an address that is shut out, by whatever door it comes."""
        until = self._banned_until.get(remote, 0)
        if now_ms < until:
            raise self._ban(until)
        self._banned_until.pop(remote, None)

    def count_raw(self, remote: str, now_ms: int) -> None:
        """Count a REST request, whatever it is; SpotError 429 (binance-spot 8)."""
        limit = self._settings.raw_limit_5m
        if self._raw.add(remote, 1, now_ms) > limit:
            # The text is not documented for this limit.
            text = f"Too many requests; current limit is {limit} raw requests per 5 MINUTE."
            raise self._too_much(-1003, text, self._raw.end_ms(now_ms))

    def disconnected(self, remote: str, now_ms: int) -> None:
        """A market stream was ended because its client talked too much: repeated, the address is banned
        (binance-spot 5)."""
        if self._disconnects.add(remote, 1, now_ms) > self._settings.ban_after_disconnects:
            self._banish(remote, now_ms)

    def _banish(self, remote: str, now_ms: int) -> int:
        """Shut an address out, for longer each time it comes back to be so within a day."""
        if len(self._bans) >= KEYS_KEPT:
            self._bans = {one: ban for one, ban in self._bans.items() if now_ms < ban[1] + DAY_MS}
        times, ended_ms = self._bans.get(remote, (0, 0))
        times = times + 1 if now_ms < ended_ms + DAY_MS else 1
        settings = self._settings
        seconds = min(settings.ban_seconds << min(times - 1, 20), settings.longest_ban_seconds)
        until = now_ms + seconds * 1000
        self._bans[remote] = (times, until)
        self._banned_until[remote] = until
        return until

    def _ban(self, until: int) -> SpotError:
        text = f"Way too much request weight used; IP banned until {until}. {_STREAMS} bans."
        return self._too_much(-1003, text, until, status=418)

    def _too_much(self, code: int, text: str, retry_ms: int, status: int = 429) -> SpotError:
        self.refused[status] += 1
        return SpotError(code, text, status=status, retry_ms=retry_ms)

    def weigh(self, remote: str, weight: int, now_ms: int) -> None:
        """Count weight that nothing is refused for."""
        self._weights.add(remote, weight, now_ms)

    def refund(self, remote: str, weight: int, now_ms: int) -> None:
        """A placement or cancel that succeeded costs nothing."""
        self._weights.add(remote, -weight, now_ms)

    def used(self, remote: str, now_ms: int) -> int:
        return self._weights.count(remote, now_ms)

    # Orders.

    def take(self, account: str, orders: int, now_ms: int, most: int | None = None) -> None:
        """Count orders before they are placed, because a fill takes them off at once.

        `most` is a lower limit for this account (a fault)."""
        for limit in self._orders:
            allowed = limit.limit if most is None else min(most, limit.limit)
            if limit.window.count(account, now_ms) + orders > allowed:
                text = f"Too many new orders; current limit is {allowed} orders per {limit.name}."
                raise self._too_much(-1015, text, limit.window.end_ms(now_ms))
        self._add(account, orders, now_ms)

    def give_back(self, account: str, orders: int, now_ms: int) -> None:
        """They were refused."""
        self._add(account, -orders, now_ms)

    def see(self, events: list[Event]) -> None:
        """An order's first fill takes it off the current windows."""
        for event in events:
            if not isinstance(event, OrderEvent) or event.fill is None:
                continue
            if event.order.executed == event.fill.quantity:
                settings = self._settings
                credit = settings.maker_fill_credit if event.fill.maker else settings.taker_fill_credit
                self._add(event.order.account, -credit, event.time_ms)

    def _add(self, account: str, orders: int, now_ms: int) -> None:
        for limit in self._orders:
            limit.window.add(account, orders, now_ms)

    # As told.

    def order_headers(self, account: str, now_ms: int) -> dict[str, str]:
        ten_seconds, day = (str(limit.window.count(account, now_ms)) for limit in self._orders)
        return {"x-mbx-order-count-10s": ten_seconds, "x-mbx-order-count-1d": day}

    def order_rows(self, account: str | None, now_ms: int) -> list[Row]:
        """The order limits, with an account's counts if one is given."""
        rows: list[Row] = []
        for limit in self._orders:
            row: Row = {
                "rateLimitType": "ORDERS",
                "interval": limit.interval,
                "intervalNum": limit.number,
                "limit": limit.limit,
            }
            rows.append(row if account is None else row | {"count": limit.window.count(account, now_ms)})
        return rows

    def raw_row(self) -> Row:
        return {
            "rateLimitType": "RAW_REQUESTS",
            "interval": "MINUTE",
            "intervalNum": 5,
            "limit": self._settings.raw_limit_5m,
        }

    def connections_row(self) -> Row:
        limit = self._settings.connections_per_5_minutes
        return {"rateLimitType": "CONNECTIONS", "interval": "MINUTE", "intervalNum": 5, "limit": limit}

    def weight_row(self) -> Row:
        return {
            "rateLimitType": "REQUEST_WEIGHT",
            "interval": "MINUTE",
            "intervalNum": 1,
            "limit": self._settings.weight_limit_per_minute,
        }

"""Seeded faults: what goes wrong, for whom, how often.

A rule names a kind and narrows it by venue, user, symbol and endpoint. The surfaces ask before
they act and before they answer; the streams ask for each frame; the exchange asks at each step of an
order. The dice are passed in, so one seed gives one course of faults. The reference page on faults
says which kind stands for which row of the catalogue.
"""

import json
import random
from collections import deque
from collections.abc import Iterable, Iterator
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Annotated, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field, model_validator

from paper_exchange.model import VenueName

FaultKind = Literal[
    "drop_request",
    "drop_response",
    "delay_response",
    "engine_delay",
    "broker_delay",
    "http_error",
    "business_error",
    "verification_required",
    "order_frame_drop",
    "order_frame_duplicate",
    "order_frame_reorder",
    "order_stall",
    "market_stall",
    "delist",
    "offsell",
    # At the door.
    "ban",
    "revoke",
    "garbage",
    "mutate",
    "clock_skew",
    "order_limit",
    "trades_lag",
    # On sockets.
    "connect_refused",
    "hang_up",
    "shutdown",
    "order_terminate",
    # In the market.
    "market_freeze",
    "market_spike",
    "market_cross",
    "market_frame_drop",
    "trading_status",
    "filters",
    "vanish",
    # In the life of an order.
    "partial_fill",
    "fill_before_cancel",
    "reject_pending",
    "expire",
]
FilterName = Literal[
    "min_price",
    "max_price",
    "tick_size",
    "min_quantity",
    "max_quantity",
    "step_size",
    "min_notional",
    "max_notional",
    "percent_down",
    "percent_up",
]
ENDED_KEPT = 100
# Without these a rule of the kind says nothing.
NEEDED: dict[str, tuple[str, ...]] = {
    "mutate": ("field",),
    "order_limit": ("limit",),
    "market_spike": ("percent",),
    "trading_status": ("code",),
    "filters": ("set",),
}


class FaultRule(BaseModel):
    """One switch. `endpoint` is a pattern over the surface's endpoint names, e.g. `place*`; `stream`
    one over the names of market streams.

    `when` says whether an error strikes before the exchange accepted or after, an expiry as the order
    reaches the book or while it rests; `count` is how often it may still strike (none: without limit);
    `after_seconds` and `lasts_seconds` begin and end the rule by time; `seconds` is how long a delay
    is. Kinds that are a condition (stalls, bans, withdrawn symbols) stand for as long as their rule.
    `field` is a path into a payload (`symbols.*.filters.+`), `value` the JSON to put there; without
    a value the field goes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: FaultKind
    venue: VenueName | None = None
    user_id: str | None = None
    symbol: str | None = None
    endpoint: str | None = None
    stream: str | None = None
    probability: Annotated[Decimal, Field(ge=0, le=1)] = Decimal(1)
    count: Annotated[int, Field(gt=0)] | None = None
    after_seconds: Annotated[Decimal, Field(ge=0)] = Decimal(0)
    lasts_seconds: Annotated[Decimal, Field(gt=0)] | None = None
    when: Literal["before", "after"] = "before"
    seconds: Annotated[Decimal, Field(ge=-3600, le=3600)] = Decimal(1)
    status: Annotated[int, Field(ge=400, le=599)] = 503
    retry_after_seconds: Annotated[int, Field(ge=0)] | None = None
    code: str = ""
    message: str = ""
    percent: Annotated[Decimal, Field(gt=-100, le=1000)] | None = None
    limit: Annotated[int, Field(ge=0)] | None = None
    field: str = ""
    value: str | None = None
    set: dict[FilterName, Annotated[Decimal, Field(gt=0)]] = {}

    @model_validator(mode="after")
    def it_says_enough(self) -> "FaultRule":
        missing = [name for name in NEEDED.get(self.kind, ()) if getattr(self, name) in (None, "", {})]
        if missing:
            raise ValueError(f"{self.kind} needs {' and '.join(missing)}")
        if self.seconds < 0 and self.kind != "clock_skew":
            raise ValueError("seconds: only a clock can be behind")
        if self.value is not None:
            json.loads(self.value)
        return self


class Scope(msgspec.Struct, frozen=True):
    """Whom and what a request or frame concerns."""

    venue: VenueName
    endpoint: str = ""
    user_id: str | None = None
    symbol: str | None = None
    stream: str = ""


class Faults:
    """The active rules and how often each may still strike."""

    def __init__(self, rules: Iterable[FaultRule], dice: random.Random, now_ms: int) -> None:
        self._dice = dice
        self._next_id = 1
        self._rules: dict[int, FaultRule] = {}
        self._kinds: frozenset[FaultKind] = frozenset()  # of the rules there are: most calls ask for others
        self._left: dict[int, int] = {}
        self._struck: dict[int, int] = {}
        self._from_ms: dict[int, int] = {}
        self._until_ms: dict[int, int] = {}
        self._ended: deque[dict[str, object]] = deque(maxlen=ENDED_KEPT)
        self.now_ms = now_ms
        for rule in rules:
            self.add(rule)

    def add(self, rule: FaultRule) -> int:
        fault_id = self._next_id
        self._next_id += 1
        self._rules[fault_id] = rule
        self._kinds |= {rule.kind}
        self._struck[fault_id] = 0
        if rule.count is not None:
            self._left[fault_id] = rule.count
        self._from_ms[fault_id] = self.now_ms + int(rule.after_seconds * 1000)
        if rule.lasts_seconds is not None:
            self._until_ms[fault_id] = self._from_ms[fault_id] + int(rule.lasts_seconds * 1000)
        return fault_id

    def advance(self, now_ms: int) -> None:
        """Drop the rules whose time is over."""
        self.now_ms = max(self.now_ms, now_ms)
        for fault_id in [i for i, until in self._until_ms.items() if until <= now_ms]:
            self._ended.append(self._row(fault_id))
            self.remove(fault_id)

    def remove(self, fault_id: int) -> bool:
        self._left.pop(fault_id, None)
        self._struck.pop(fault_id, None)
        self._from_ms.pop(fault_id, None)
        self._until_ms.pop(fault_id, None)
        known = self._rules.pop(fault_id, None) is not None
        self._kinds = frozenset(rule.kind for rule in self._rules.values())
        return known

    def clear(self) -> None:
        for fault_id in list(self._rules):
            self.remove(fault_id)

    def active(self) -> list[dict[str, object]]:
        return [self._row(fault_id) for fault_id in self._rules]

    def ended(self) -> list[dict[str, object]]:
        """The newest of those whose time is over."""
        return list(self._ended)

    def _row(self, fault_id: int) -> dict[str, object]:
        counts = {"id": fault_id, "struck": self._struck[fault_id], "left": self._left.get(fault_id)}
        return counts | self._rules[fault_id].model_dump(mode="json")

    def strike(
        self, scope: Scope, *kinds: FaultKind, when: Literal["before", "after"] | None = None
    ) -> FaultRule | None:
        """The first rule of these kinds that fits and whose dice fall so; it is used up by one."""
        if self._kinds.isdisjoint(kinds):
            return None
        for fault_id, rule in self._standing(scope, kinds):
            if when in (None, rule.when) and self._falls_so(fault_id, rule):
                return rule
        return None

    def strike_all(self, scope: Scope, kind: FaultKind) -> list[FaultRule]:
        """Every rule of the kind that fits and whose dice fall so."""
        return [rule for i, rule in self._standing(scope, (kind,)) if self._falls_so(i, rule)]

    def _falls_so(self, fault_id: int, rule: FaultRule) -> bool:
        if rule.probability < 1 and Decimal(self._dice.randrange(10**6)) >= rule.probability * 10**6:
            return False
        self._struck[fault_id] += 1
        if fault_id in self._left:
            self._left[fault_id] -= 1
        return True

    def standing(self, kind: FaultKind, scope: Scope) -> list[FaultRule]:
        """The condition-like rules that stand, without using them up."""
        if kind not in self._kinds:
            return []
        return [rule for _, rule in self._standing(scope, (kind,))]

    def has(self, kind: FaultKind) -> bool:
        """Whether there is any rule of the kind: who looks for one everywhere need not look otherwise."""
        return kind in self._kinds

    def holds(self, kind: FaultKind, scope: Scope) -> bool:
        """Whether a condition (delist, offsell, a stall) stands, without using it up."""
        return kind in self._kinds and any(True for _ in self._standing(scope, (kind,)))

    def until_ms(self, rule: FaultRule) -> int:
        """When a condition ends by itself; as its `retry_after_seconds` says, where it does not."""
        ends = [self._until_ms[i] for i, one in self._rules.items() if one is rule and i in self._until_ms]
        return ends[0] if ends else self.now_ms + (rule.retry_after_seconds or 0) * 1000

    def _standing(self, scope: Scope, kinds: tuple[FaultKind, ...]) -> Iterator[tuple[int, FaultRule]]:
        for fault_id, rule in self._rules.items():
            if rule.kind not in kinds or not _fits(rule, scope) or self._left.get(fault_id) == 0:
                continue
            if self._from_ms[fault_id] <= self.now_ms:
                yield fault_id, rule


def _fits(rule: FaultRule, scope: Scope) -> bool:
    return (
        rule.venue in (None, scope.venue)
        and rule.user_id in (None, scope.user_id)
        and rule.symbol in (None, scope.symbol)
        and (rule.endpoint is None or fnmatchcase(scope.endpoint, rule.endpoint))
        and (rule.stream is None or fnmatchcase(scope.stream, rule.stream))
    )

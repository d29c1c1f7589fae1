"""Seeded faults: what goes wrong, for whom, how often.

A rule names a kind and narrows it by venue, user, symbol and endpoint. The surfaces ask before
they act and before they answer; the stream hub asks for each frame; the exchange asks whether a
symbol is withdrawn. The dice are passed in, so one seed gives one course of faults.
"""

import random
from collections.abc import Iterable
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Annotated, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from paper_exchange.model import VenueName

FaultKind = Literal[
    "drop_request",
    "drop_response",
    "delay_response",
    "engine_delay",
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
]


class FaultRule(BaseModel):
    """One switch. `endpoint` is a pattern over the surface's endpoint names, e.g. `place*`.

    `when` says whether an error strikes before the exchange accepted or after; `count` is how
    often it may still strike (none: without limit); `lasts_seconds` ends the rule by time; `seconds`
    is how long a delay is. Stalls, delist and offsell stand for as long as their rule does.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: FaultKind
    venue: VenueName | None = None
    user_id: str | None = None
    symbol: str | None = None
    endpoint: str | None = None
    probability: Annotated[Decimal, Field(ge=0, le=1)] = Decimal(1)
    count: Annotated[int, Field(gt=0)] | None = None
    lasts_seconds: Annotated[Decimal, Field(gt=0)] | None = None
    when: Literal["before", "after"] = "before"
    seconds: Annotated[Decimal, Field(ge=0, le=3600)] = Decimal(1)
    status: Annotated[int, Field(ge=400, le=599)] = 503
    retry_after_seconds: Annotated[int, Field(ge=0)] | None = None
    code: str = ""
    message: str = ""


class Scope(msgspec.Struct, frozen=True):
    """Whom and what a request or frame concerns."""

    venue: VenueName
    endpoint: str = ""
    user_id: str | None = None
    symbol: str | None = None


class Faults:
    """The active rules and how often each may still strike."""

    def __init__(self, rules: Iterable[FaultRule], dice: random.Random, now_ms: int) -> None:
        self._dice = dice
        self._next_id = 1
        self._rules: dict[int, FaultRule] = {}
        self._left: dict[int, int] = {}
        self._struck: dict[int, int] = {}
        self._until_ms: dict[int, int] = {}
        self.now_ms = now_ms
        for rule in rules:
            self.add(rule)

    def add(self, rule: FaultRule) -> int:
        fault_id = self._next_id
        self._next_id += 1
        self._rules[fault_id] = rule
        self._struck[fault_id] = 0
        if rule.count is not None:
            self._left[fault_id] = rule.count
        if rule.lasts_seconds is not None:
            self._until_ms[fault_id] = self.now_ms + int(rule.lasts_seconds * 1000)
        return fault_id

    def advance(self, now_ms: int) -> None:
        """Drop the rules whose time is over."""
        self.now_ms = max(self.now_ms, now_ms)
        for fault_id in [i for i, until in self._until_ms.items() if until <= now_ms]:
            self.remove(fault_id)

    def remove(self, fault_id: int) -> bool:
        self._left.pop(fault_id, None)
        self._struck.pop(fault_id, None)
        self._until_ms.pop(fault_id, None)
        return self._rules.pop(fault_id, None) is not None

    def clear(self) -> None:
        for fault_id in list(self._rules):
            self.remove(fault_id)

    def active(self) -> list[dict[str, object]]:
        return [
            {"id": i, "struck": self._struck[i], "left": self._left.get(i)} | rule.model_dump(mode="json")
            for i, rule in self._rules.items()
        ]

    def strike(
        self, scope: Scope, *kinds: FaultKind, when: Literal["before", "after"] | None = None
    ) -> FaultRule | None:
        """The first rule of these kinds that fits and whose dice fall so; it is used up by one."""
        for fault_id, rule in self._rules.items():
            if rule.kind not in kinds or not _fits(rule, scope) or self._left.get(fault_id) == 0:
                continue
            if when is not None and rule.when != when:
                continue
            if rule.probability < 1 and Decimal(self._dice.randrange(10**6)) >= rule.probability * 10**6:
                continue
            self._struck[fault_id] += 1
            if fault_id in self._left:
                self._left[fault_id] -= 1
            return rule
        return None

    def holds(self, kind: FaultKind, scope: Scope) -> bool:
        """Whether a state-like rule (delist, offsell, a stall) stands, without using it up."""
        return any(rule.kind == kind and _fits(rule, scope) for rule in self._rules.values())


def _fits(rule: FaultRule, scope: Scope) -> bool:
    return (
        rule.venue in (None, scope.venue)
        and rule.user_id in (None, scope.user_id)
        and rule.symbol in (None, scope.symbol)
        and (rule.endpoint is None or fnmatchcase(scope.endpoint, rule.endpoint))
    )

"""What a reload changes and when each change acts (product section 2).

Running loops take new values at their next cycle, removed users drain, added users start.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from strategy_service.config import keys
from strategy_service.config.model import StrategyConfig, TradingConfig, UserSettings, Value, value_text

NEXT_CYCLE = "next cycle"
STARTS = "starts"
DRAINS = "drains"
AT_ONCE = "at once"
NOT_ENABLED = "not enabled"
# The total is the sum over the users of now, whoever traded before.
LEAVES_TOTAL = "; what it has traded leaves the shared total"
JOINS_TOTAL = "; what it has traded in the window joins the shared total"
MARKET_MOVES = "drains, then starts on the new market"

_MARKET = ("venue", "target_token", "target_chain")
_OF_NEXT_CYCLE = ("target_volume", "target_scope", "volume_side", "volume_window")


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. No strategy: the whole configuration; no users: the whole strategy."""

    what: Literal["strategy", "user", "key"]
    kind: Literal["added", "removed", "changed"]
    acts: str
    strategy_id: str | None = None
    user_ids: tuple[str, ...] = ()
    key: str | None = None
    old: str | None = None
    new: str | None = None

    def __str__(self) -> str:
        place = f"strategy {self.strategy_id}" if self.strategy_id else "global_settings"
        if self.user_ids:
            place += f", user {', '.join(self.user_ids)}"
        change = f": {self.key} {self.old} -> {self.new}" if self.what == "key" else f" {self.kind}"
        return f"{place}{change} ({self.acts})"


@dataclass(frozen=True, slots=True)
class Diff:
    """All differences between two revisions; false when nothing that matters changed."""

    old_revision: str
    new_revision: str
    changes: tuple[Change, ...]

    def __bool__(self) -> bool:
        return bool(self.changes)

    @property
    def lines(self) -> tuple[str, ...]:
        """One line a change, for people."""
        return tuple(str(change) for change in self.changes)


def diff(old: TradingConfig, new: TradingConfig) -> Diff:
    """The differences, in the order of the new file, what is gone last."""
    return Diff(old.revision, new.revision, tuple(_changes(old, new)))


def _changes(old: TradingConfig, new: TradingConfig) -> Iterator[Change]:
    if old.max_concurrent_users != new.max_concurrent_users:
        yield Change(
            "key",
            "changed",
            _places(old.max_concurrent_users, new.max_concurrent_users),
            key=keys.MAX_CONCURRENT_USERS,
            old=str(old.max_concurrent_users),
            new=str(new.max_concurrent_users),
        )
    before = {strategy.strategy_id: strategy for strategy in old.strategies}
    for strategy in new.strategies:
        if earlier := before.pop(strategy.strategy_id, None):
            yield from _strategy_changes(earlier, strategy)
        else:
            acts = STARTS if strategy.enabled else NOT_ENABLED
            yield Change("strategy", "added", acts, strategy.strategy_id)
    for gone in before.values():
        yield Change("strategy", "removed", DRAINS if gone.enabled else NOT_ENABLED, gone.strategy_id)


def _places(old: int, new: int) -> str:
    return AT_ONCE if new > old else "as places become free: nobody loses its own"


def _strategy_changes(old: StrategyConfig, new: StrategyConfig) -> Iterator[Change]:
    for key in keys.OF_STRATEGY:
        before: Value = getattr(old, key.name)
        after: Value = getattr(new, key.name)
        if before != after:
            yield _key_change(new, key.name, before, after, _acts(key.name, old, new))
    running = old.enabled and new.enabled
    earlier, later = set(old.user_ids), set(new.user_ids)
    added = tuple(user for user in new.user_ids if user not in earlier)
    removed = tuple(user for user in old.user_ids if user not in later)
    if added:
        acts = STARTS if new.enabled else NOT_ENABLED
        if old.target_scope == new.target_scope == "shared":
            acts += JOINS_TOTAL
        yield Change("user", "added", acts, new.strategy_id, added)
    if removed:
        acts = DRAINS if old.enabled else NOT_ENABLED
        if old.target_scope == new.target_scope == "shared":
            acts += LEAVES_TOTAL
        yield Change("user", "removed", acts, new.strategy_id, removed)
    kept = [(old.user(user), new.user(user)) for user in new.user_ids if user in earlier]
    yield from _user_changes(new, kept, NEXT_CYCLE if running else _idle(new))


def _acts(key: str, old: StrategyConfig, new: StrategyConfig) -> str:
    if key == "enabled":
        return STARTS if new.enabled else DRAINS
    if key == "strategy_name":
        return AT_ONCE
    if not (old.enabled and new.enabled):
        return _idle(new)
    return MARKET_MOVES if key in _MARKET else NEXT_CYCLE


def _idle(new: StrategyConfig) -> str:
    return STARTS if new.enabled else NOT_ENABLED


def _user_changes(
    strategy: StrategyConfig, kept: Iterable[tuple[UserSettings, UserSettings]], acts: str
) -> Iterator[Change]:
    """Changed per-user keys; users with the same change share a line."""
    pairs = list(kept)
    for key in keys.PER_USER:
        groups: dict[tuple[Value, Value], list[str]] = {}
        for old, new in pairs:
            before, after = getattr(old, key.name), getattr(new, key.name)
            if before != after:
                groups.setdefault((before, after), []).append(new.user_id)
        for (before, after), users in groups.items():
            everybody = len(users) == len(strategy.user_ids)
            named = () if everybody else tuple(users)
            yield _key_change(strategy, key.name, before, after, acts, named)


def _key_change(
    strategy: StrategyConfig, key: str, old: Value, new: Value, acts: str, users: tuple[str, ...] = ()
) -> Change:
    return Change("key", "changed", acts, strategy.strategy_id, users, key, value_text(old), value_text(new))

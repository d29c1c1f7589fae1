"""The rules that bind several values of the file (product section 2).

Each check runs on whatever could be read and keeps silent about what was complained about
already, so that one mistake makes one line.
"""

from decimal import Decimal
from typing import cast

from otopilot.money import ONE, text
from strategy_service.config import keys
from strategy_service.config.layers import in_force, venue_of
from strategy_service.config.model import Sourced
from strategy_service.config.problems import Origin, Problems, did_you_mean
from strategy_service.config.sections import RawOverride, RawStrategy, Sections

MAX_REACH = Decimal(50)  # per cent above the price that the last re-try may bid


def check(sections: Sections, problems: Problems) -> tuple[str, ...]:
    """Note every broken rule in problems; returns what is allowed but worth a word."""
    by_id: dict[str, RawStrategy] = {}
    for raw in sections.strategies:
        _check_required(raw, problems)
        _check_unique(raw, by_id, problems)
    notices: dict[str, None] = {}  # ordered, each once
    for raw in sections.strategies:
        _check_venue(sections, raw, problems, notices)
    for override in sections.overrides:
        _check_override(sections, override, by_id, problems)
    _check_conflicts(sections, problems)
    _check_paces(sections, problems, notices)
    return tuple(notices)


def _check_required(raw: RawStrategy, problems: Problems) -> None:
    for name in ("strategy_id", *keys.REQUIRED, keys.USER_IDS):
        if name not in raw.given:
            problems.add(raw.origin, f"{name} is missing")


def _check_unique(raw: RawStrategy, by_id: dict[str, RawStrategy], problems: Problems) -> None:
    if raw.strategy_id is None:
        return
    if first := by_id.get(raw.strategy_id):
        problems.add(
            raw.layer["strategy_id"].origin,
            f"strategy {raw.strategy_id} stands already in line {first.origin.line}",
        )
    by_id.setdefault(raw.strategy_id, raw)


def _check_venue(sections: Sections, raw: RawStrategy, problems: Problems, notices: dict[str, None]) -> None:
    if "venue" in raw.given and "venue" not in raw.layer:
        return  # unreadable, and said so
    venue = venue_of(sections, raw)
    if "target_chain" not in raw.given:
        if venue is None:
            problems.add(
                raw.origin, "venue is missing: write venue: spot, or target_chain for a token on alpha"
            )
        elif venue == "alpha":
            problems.add(raw.origin, "target_chain is missing: a token on alpha stands on a chain")
    elif venue == "spot" and (chain := raw.layer.get("target_chain")):
        if "venue" in raw.given:
            notices[_line(chain.origin, "spot has no chains: this value is not used")] = None
        else:
            problems.add(
                chain.origin, "a chain means alpha, but default_venue is spot: write venue in this strategy"
            )


def _check_override(
    sections: Sections, override: RawOverride, by_id: dict[str, RawStrategy], problems: Problems
) -> None:
    raw = by_id.get(override.strategy_id)
    if raw is None:
        if not sections.unread_strategy_ids:
            hint = did_you_mean(override.strategy_id, by_id)
            problems.add(override.strategy_origin, f"there is no strategy {override.strategy_id}{hint}")
    elif override.user_id not in raw.users:
        if keys.USER_IDS not in raw.given or override.strategy_id in sections.unread_users:
            return  # the list itself is wrong, and said so
        hint = did_you_mean(override.user_id, raw.users)
        problems.add(
            override.user_origin,
            f"user {override.user_id} is not among the user_ids of strategy {override.strategy_id}{hint}",
        )


def _check_conflicts(sections: Sections, problems: Problems) -> None:
    """One user trades one symbol of one venue in one enabled strategy only."""
    taken: dict[tuple[str, ...], RawStrategy] = {}
    for raw in sections.strategies:
        enabled = raw.layer.get("enabled")
        venue, token = venue_of(sections, raw), raw.layer.get("target_token")
        unread = any(
            name in raw.given and name not in raw.layer for name in ("enabled", "venue", "target_chain")
        )
        if unread or (enabled and not enabled.value) or venue is None or token is None:
            continue
        chain = raw.layer.get("target_chain") if venue == "alpha" else None
        market = (venue, _folded(token), _folded(chain))
        clashes: dict[str, list[str]] = {}
        for user_id in raw.users:
            other = taken.setdefault((*market, user_id), raw)
            if other is not raw:
                clashes.setdefault(str(other.strategy_id), []).append(user_id)
        for other_id, users in clashes.items():
            more = f" (and {len(users) - 5} more)" if len(users) > 5 else ""
            problems.add(
                raw.users[users[0]],
                f"user {', '.join(users[:5])}{more} trades {token.value} on {venue} in the enabled strategy"
                f" {other_id} already: a user and a symbol belong to one enabled strategy",
            )


def _folded(sourced: Sourced | None) -> str:
    return str(sourced.value).casefold() if sourced else ""


def _check_paces(sections: Sections, problems: Problems, notices: dict[str, None]) -> None:
    """The ladder's highest bid stays in bounds; a short interval is allowed but named."""
    said: set[Origin] = set()
    for raw in sections.strategies:
        own = [o.layer for o in sections.overrides if o.strategy_id == raw.strategy_id and o.layer]
        for override in ({}, *own):
            settings = in_force(sections, raw, override)
            interval = settings["trade_interval_seconds"]
            if cast(Decimal, interval.value) < ONE:
                words = f"{text(cast(Decimal, interval.value))} s is below 1 s: the venue may limit the rate"
                notices[_line(interval.origin, words)] = None
            ladder = [
                settings[name]
                for name in ("buy_offset_percentage", "slippage_step_percentage", "max_slippage_steps")
            ]
            offset, step, steps = (cast(Decimal, sourced.value) for sourced in ladder)
            blamed = max((sourced.origin for sourced in ladder), key=lambda origin: origin.line)
            if offset + step * steps > MAX_REACH and blamed not in said:
                said.add(blamed)
                problems.add(
                    blamed,
                    f"the last re-try would bid {text(offset + step * steps)} % above the price"
                    f" (offset + steps x step): at most {text(MAX_REACH)} %",
                )


def _line(origin: Origin, words: str) -> str:
    return f"{origin}  {origin.path}: {words}"

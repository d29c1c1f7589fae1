"""From the layers as written to the frozen configuration. Only a file without mistakes gets here."""

from types import MappingProxyType
from typing import Any, cast

from otopilot.instrument import Venue
from strategy_service.config import keys
from strategy_service.config.layers import Stack, stack
from strategy_service.config.model import (
    DEFAULT_MAX_CONCURRENT_USERS,
    Sourced,
    StrategyConfig,
    TradingConfig,
    UserSettings,
)
from strategy_service.config.problems import BUILT_IN
from strategy_service.config.sections import Layer, RawStrategy, Sections


def resolve(sections: Sections, *, path: str, revision: str, notices: tuple[str, ...]) -> TradingConfig:
    """Every strategy and every user with the values in force."""
    overrides: dict[str, dict[str, Layer]] = {}
    for override in sections.overrides:
        overrides.setdefault(override.strategy_id, {})[override.user_id] = override.layer
    built_in = Sourced(DEFAULT_MAX_CONCURRENT_USERS, BUILT_IN)
    given = sections.max_concurrent_users
    concurrent: Stack = (built_in, given) if given else (built_in,)
    return TradingConfig(
        path=path,
        revision=revision,
        max_concurrent_users=cast(int, concurrent[-1].value),
        strategies=tuple(
            _strategy(sections, raw, overrides.get(str(raw.strategy_id), {})) for raw in sections.strategies
        ),
        notices=notices,
        layers=MappingProxyType({keys.MAX_CONCURRENT_USERS: concurrent}),
    )


def _strategy(sections: Sections, raw: RawStrategy, overrides: dict[str, Layer]) -> StrategyConfig:
    layers = {key.name: stack(sections, raw, key) for key in (*keys.OF_STRATEGY, *keys.PER_USER)}
    own: dict[str, Any] = {key.name: layers[key.name][-1].value for key in keys.OF_STRATEGY}
    shared: dict[str, Any] = {key.name: layers[key.name][-1].value for key in keys.PER_USER}
    own["venue"] = Venue(own["venue"])
    if own["venue"] is Venue.SPOT:
        own["target_chain"] = None  # checks.py has said that it is not used
    return StrategyConfig(
        **own,
        user_ids=tuple(raw.users),
        users=tuple(
            _user(str(raw.strategy_id), user_id, shared, overrides.get(user_id, {})) for user_id in raw.users
        ),
        layers=MappingProxyType(layers | {keys.USER_IDS: (Sourced(tuple(raw.users), raw.users_origin),)}),
    )


def _user(strategy_id: str, user_id: str, shared: dict[str, Any], own: Layer) -> UserSettings:
    values = shared | {name: sourced.value for name, sourced in own.items()}
    return UserSettings(user_id, strategy_id, **values, overrides=MappingProxyType(own))

"""The answers of `otopilot config explain` and `config show`.

explain() says which layer set a value and what it shadows; as_dict() is the resolved
configuration as plain data, every amount as text.
"""

from dataclasses import dataclass

from strategy_service.config import keys
from strategy_service.config.model import Sourced, StrategyConfig, TradingConfig, Value, value_text
from strategy_service.config.problems import UnknownName


@dataclass(frozen=True, slots=True)
class Explained:
    """A key, its value in force, the place that set it, and the values below it, nearest first."""

    key: str
    value_text: str
    origin: str
    shadowed: tuple[tuple[str, str], ...]  # (value, origin)


def explain(
    config: TradingConfig, strategy_id: str, user_id: str | None = None, key: str | None = None
) -> list[Explained]:
    """Every key of a user in a strategy (of the strategy alone without a user), or the one asked for.

    Raises UnknownName (a KeyError) for an unknown strategy, user or key.
    """
    strategy = config.strategy(strategy_id)
    overrides = strategy.user(user_id).overrides if user_id is not None else {}
    stacks = {**strategy.layers, **config.layers}
    if key is not None:
        bare = key.removeprefix("default_")
        if bare not in stacks:
            raise UnknownName("key", key, tuple(stacks))
        stacks = {bare: stacks[bare]}
    return [
        _explained(name, (*stack, overrides[name]) if name in overrides else stack)
        for name, stack in stacks.items()
        if stack
    ]


def _explained(name: str, stack: tuple[Sourced, ...]) -> Explained:
    *below, top = stack
    return Explained(
        name,
        value_text(top.value),
        str(top.origin),
        tuple((value_text(sourced.value), str(sourced.origin)) for sourced in reversed(below)),
    )


def as_dict(config: TradingConfig) -> dict[str, object]:
    """The configuration in force, fit for JSON: amounts as text, counts and flags as they are."""
    return {
        "path": config.path,
        "revision": config.revision,
        keys.MAX_CONCURRENT_USERS: config.max_concurrent_users,
        "strategies": [_strategy_dict(strategy) for strategy in config.strategies],
        "notices": list(config.notices),
    }


def _strategy_dict(strategy: StrategyConfig) -> dict[str, object]:
    own: dict[str, object] = {key.name: _json(getattr(strategy, key.name)) for key in keys.OF_STRATEGY}
    own["users"] = [
        {"user_id": user.user_id} | {key.name: _json(getattr(user, key.name)) for key in keys.PER_USER}
        for user in strategy.users
    ]
    return own


def _json(value: Value) -> object:
    return value if value is None or isinstance(value, int) else value_text(value)

"""Which strategies or runs a request means, or the Fault that says why it means none."""

from collections.abc import Mapping

import grpc

from otopilot.rpc import Fault
from strategy_service.config import StrategyConfig, TradingConfig, UnknownName
from strategy_service.strategy_run import StrategyRun


def find(config: TradingConfig, strategy_id: str) -> StrategyConfig | None:
    """The strategy of that id, if the configuration has it."""
    try:
        return config.strategy(strategy_id)
    except UnknownName:
        return None


def need(config: TradingConfig, strategy_id: str) -> StrategyConfig:
    """The strategy of that id. Raises Fault NOT_FOUND."""
    try:
        return config.strategy(strategy_id)
    except UnknownName as error:
        raise Fault(grpc.StatusCode.NOT_FOUND, "UNKNOWN_STRATEGY", str(error)) from None


def startable(config: TradingConfig, strategy_id: str) -> list[StrategyConfig]:
    """That strategy, or all that are enabled. Raises Fault (UNKNOWN_STRATEGY, DISABLED)."""
    if not strategy_id:
        return list(config.enabled())
    chosen = need(config, strategy_id)
    if not chosen.enabled:
        raise Fault(
            grpc.StatusCode.FAILED_PRECONDITION,
            "DISABLED",
            f"strategy {strategy_id} is disabled: set enabled: true in {config.path} and reload",
        )
    return [chosen]


def runs_of(
    config: TradingConfig, runs: Mapping[str, StrategyRun], strategy_id: str, user_id: str
) -> list[StrategyRun]:
    """The runs of all strategies or one (empty: all), with that user. Raises Fault NOT_FOUND."""
    if not strategy_id:
        found = [run for run in runs.values() if not user_id or run.knows(user_id)]
        # A reload may have removed who still winds down, or a whole strategy with its users.
        if user_id and not found and not any(user_id in each.user_ids for each in config.strategies):
            raise Fault(grpc.StatusCode.NOT_FOUND, "UNKNOWN_USER", f"no strategy lists user {user_id!r}")
        return found
    run = runs.get(strategy_id)
    known = run.config if run is not None else need(config, strategy_id)
    if user_id and user_id not in known.user_ids and (run is None or not run.knows(user_id)):
        text = f"strategy {strategy_id} has no user {user_id!r}: it has {', '.join(known.user_ids)}"
        raise Fault(grpc.StatusCode.NOT_FOUND, "UNKNOWN_USER", text)
    return [run] if run is not None else []

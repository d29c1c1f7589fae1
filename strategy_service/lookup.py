"""Which strategies a request means, or the Fault that says why it means none."""

import grpc

from otopilot.rpc import Fault
from strategy_service.config import StrategyConfig, TradingConfig, UnknownName


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

"""Decides what is traded, when and at which price: the strategy service and its Python API."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from strategy_service.executor import StrategyExecutor

__all__ = ["StrategyExecutor"]


def __getattr__(name: str) -> Any:
    """StrategyExecutor on first use: the command line must not load gRPC to print a help text."""
    if name == "StrategyExecutor":
        from strategy_service.executor import StrategyExecutor

        return StrategyExecutor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

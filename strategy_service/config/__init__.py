"""The trading configuration: strict YAML, layers, origins, explain, diff (product section 2).

load() gives a frozen TradingConfig or raises ConfigError with every problem of the file;
ConfigManager keeps the last good one. Nothing here knows gRPC, venues or the event loop.
"""

from strategy_service.config.diff import Change, Diff, diff
from strategy_service.config.explain import Explained, as_dict, explain
from strategy_service.config.loader import DEFAULT_PATH, load, load_bytes
from strategy_service.config.manager import ConfigManager
from strategy_service.config.model import (
    Sourced,
    StrategyConfig,
    TradingConfig,
    UserSettings,
    VolumeWindow,
    value_text,
)
from strategy_service.config.problems import ConfigError, Origin, Problem, UnknownName

__all__ = [
    "DEFAULT_PATH",
    "Change",
    "ConfigError",
    "ConfigManager",
    "Diff",
    "Explained",
    "Origin",
    "Problem",
    "Sourced",
    "StrategyConfig",
    "TradingConfig",
    "UnknownName",
    "UserSettings",
    "VolumeWindow",
    "as_dict",
    "diff",
    "explain",
    "load",
    "load_bytes",
    "value_text",
]

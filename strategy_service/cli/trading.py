"""The trading configuration as commands use it: which file, and its errors as exit codes."""

from pathlib import Path
from typing import Annotated

import typer

from otopilot.settings import Settings
from strategy_service.cli.errors import CliError, Exit
from strategy_service.config import ConfigError, StrategyConfig, TradingConfig, UnknownName, load, load_bytes

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="The trading configuration (default: config/trading_config.yaml)."),
]


def path_of(chosen: Path | None, settings: Settings) -> Path | None:
    """The file of the option, else of the settings; none is the loader's default."""
    return chosen or settings.strategy.config


def read(path: Path | None) -> TradingConfig:
    """Load it. Raises CliError with every problem as file:line:column."""
    try:
        return load(path)
    except ConfigError as error:
        raise _unusable(error) from None


def read_text(text: str, path: Path) -> TradingConfig:
    """As read(), of a text that is to stand at that path."""
    try:
        return load_bytes(text.encode(), str(path))
    except ConfigError as error:
        raise _unusable(error) from None


def _unusable(error: ConfigError) -> CliError:
    count = len(error.problems)
    return CliError(
        Exit.CONFIG,
        f"the configuration cannot be used ({count} problem{'s' if count != 1 else ''})\n{error}",
    )


def strategy_of(config: TradingConfig, strategy_id: str) -> StrategyConfig:
    """That strategy. Raises CliError when there is none."""
    try:
        return config.strategy(strategy_id)
    except UnknownName as error:
        raise CliError(Exit.NOT_FOUND, f"{config.path}: {error}") from None

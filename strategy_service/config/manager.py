"""The configuration in force: the seeds' executor.config_manager."""

from pathlib import Path

from strategy_service.config.diff import Diff, diff
from strategy_service.config.kept import KeptConfig
from strategy_service.config.loader import load
from strategy_service.config.model import TradingConfig
from strategy_service.config.problems import ConfigError


class ConfigManager:
    """Holds the last good configuration; a bad file never replaces it (product section 2)."""

    def __init__(self, path: str | Path | None = None, kept: KeptConfig | None = None) -> None:
        """Read the file; raises ConfigError when it cannot be used and no good one was kept."""
        self._path = path
        self._kept = kept
        try:
            self._config = load(path)
        except ConfigError as problems:
            if kept is None:
                raise
            self._config = kept.last_good(path, problems)
        else:
            self._keep()

    @property
    def config(self) -> TradingConfig:
        """The configuration in force. It is frozen: hold on to it for as long as one decision takes."""
        return self._config

    def preview(self) -> Diff:
        """What reload() would change, without changing it; raises ConfigError like it."""
        return diff(self._config, load(self._path))

    def reload(self) -> Diff:
        """Read the file again and put it in force; raises ConfigError and keeps the old one if bad."""
        fresh = load(self._path)
        changes = diff(self._config, fresh)
        self._config = fresh
        self._keep()
        return changes

    def _keep(self) -> None:
        if self._kept is not None:
            self._kept.keep(self._config)

"""The last good configuration, kept in the data directory: a crash beside a bad file costs nobody a run.

A bad file never replaces a good one (product section 2), also when the process that held the good one
in memory has died. What is kept belongs to the path it was read from and to no other.
"""

import hashlib
import os
from pathlib import Path

from strategy_service.config.loader import load_bytes
from strategy_service.config.model import TradingConfig
from strategy_service.config.problems import ConfigError


class KeptConfig:
    """One directory of kept files."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def keep(self, config: TradingConfig) -> None:
        """Write down what is in force now; a file that changed since it was read is left alone."""
        content = Path(config.path).read_bytes()
        if not hashlib.sha256(content).hexdigest().startswith(config.revision):
            return
        self._directory.mkdir(parents=True, exist_ok=True)
        target = self._file(config.path)
        fresh = target.with_suffix(".new")
        fresh.write_bytes(content)
        os.replace(fresh, target)

    def last_good(self, path: str | Path | None, problems: ConfigError) -> TradingConfig:
        """What was in force when the file was last good. Raises the problems when it never was."""
        name = problems.problems[0].file if path is None else str(path)
        kept = self._file(name)
        if not kept.exists():
            raise problems
        notice = (
            f"{name} cannot be used ({len(problems.problems)} problems): the last good one stays in force"
        )
        return load_bytes(kept.read_bytes(), name, (notice,))

    def _file(self, path: str) -> Path:
        return self._directory / f"{hashlib.sha256(os.path.abspath(path).encode()).hexdigest()[:16]}.yaml"

"""Reading the trading configuration: file to TradingConfig, or every reason why not."""

import hashlib
from pathlib import Path

from strategy_service.config import yaml_source
from strategy_service.config.checks import check
from strategy_service.config.model import TradingConfig
from strategy_service.config.problems import ConfigError, Origin, Problem, Problems
from strategy_service.config.resolve import resolve
from strategy_service.config.sections import read_sections

DEFAULT_PATH = Path("config/trading_config.yaml")
# The seeds use both names; each stands in for the other when it is missing (product section 2).
_TWINS = {
    "trading_config.yaml": "trading_strategy.yaml",
    "trading_strategy.yaml": "trading_config.yaml",
}


def load(path: str | Path | None = None) -> TradingConfig:
    """Read and check the file; raises ConfigError with all its problems."""
    wanted = Path(path) if path is not None else DEFAULT_PATH
    found, notices = _with_fallback(wanted)
    return load_bytes(_content(found), str(found), notices)


def load_bytes(content: bytes, name: str, notices: tuple[str, ...] = ()) -> TradingConfig:
    """Read and check this content as if it stood in a file of that name."""
    problems = Problems()
    sections = read_sections(yaml_source.read_tree(content, name, problems), name, problems)
    notices = (*notices, *check(sections, problems))
    problems.raise_if_any()
    revision = hashlib.sha256(content).hexdigest()[:12]
    return resolve(sections, path=name, revision=revision, notices=notices)


def _with_fallback(wanted: Path) -> tuple[Path, tuple[str, ...]]:
    """The file to read, and a notice when it is not the one that was asked for."""
    twin_name = _TWINS.get(wanted.name)
    if twin_name is None or wanted.exists():
        return wanted, ()
    twin = wanted.with_name(twin_name)
    if not twin.exists():
        raise _unreadable(wanted, f"no such file, and no {twin_name} beside it")
    return twin, (f"{wanted} is missing: reading {twin}",)


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(yaml_source.MAX_BYTES + 1)
    except FileNotFoundError:
        raise _unreadable(path, "no such file") from None
    except OSError as error:
        raise _unreadable(path, f"cannot be read: {error.strerror or error}") from None


def _unreadable(path: Path, message: str) -> ConfigError:
    return ConfigError([Problem.at(Origin(str(path), 0, 0), message)])

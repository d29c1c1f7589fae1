"""Service settings: config/services.yaml below environment variables, read once, frozen.

OTOPILOT_DATA_DIR, OTOPILOT_ORDER__PORT and so on override the file; these are settings of the
services, never of a strategy. Whatever is wrong is said at once, with its place.
"""

import os
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableSource

Secret = SecretStr

Mode = Literal["paper", "live"]
SpotHosts = Literal["prod", "testnet", "demo"]
DEFAULT_FILE = Path("config/services.yaml")


class SettingsError(Exception):
    """The settings cannot be used; the message names every problem and its place."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Endpoint(_Frozen):
    """Where a gRPC service listens, and where its clients find it."""

    host: str = "127.0.0.1"
    port: int = Field(ge=0, le=65535)
    address: str = ""  # where clients connect, when that is not host:port (containers)

    @property
    def target(self) -> str:
        """host:port for a client."""
        return self.address or f"{self.host}:{self.port}"


class MarketSettings(Endpoint):
    """market_service. Durations in seconds."""

    port: int = Field(default=50051, ge=0, le=65535)
    silence_seconds: float = Field(default=2.0, gt=0)  # then the price is re-read by REST
    reconnect_seconds: float = Field(default=10.0, gt=0)  # silence of a whole socket
    weight_per_minute: int = Field(default=600, gt=0)


class OrderSettings(Endpoint):
    """order_service. Durations in seconds unless named otherwise."""

    port: int = Field(default=50052, ge=0, le=65535)
    recv_window_ms: int = Field(default=2000, ge=100, le=60000)
    absence_margin_seconds: float = Field(default=15.0, ge=0)
    absence_hold_seconds: float = Field(default=120.0, ge=0)
    alpha_absence_seconds: float = Field(default=12.0, ge=0)
    alpha_read_gap_seconds: float = Field(default=3.0, ge=0)
    alpha_requests_per_second: int | None = Field(default=None, ge=0)  # none: 8 live, no limit on paper
    alpha_amounts_as: Literal["number", "string"] = (
        "number"  # prices and quantities of an order as it is sent
    )
    sweep_seconds: float = Field(default=10.0, gt=0)  # beat of the incremental sweep
    spot_connections: int = Field(default=4, ge=0, le=20)  # for orders over the WS API; 0: by REST alone


class StrategySettings(Endpoint):
    """strategy_service."""

    port: int = Field(default=50053, ge=0, le=65535)
    config: Path | None = None  # the trading configuration; none: config/trading_config.yaml
    watch_config: bool = False  # reload it whenever the file changes


class PaperSettings(_Frozen):
    """The paper exchange, as its clients and `otopilot run` see it."""

    url: str = "http://127.0.0.1:8900"
    config: Path = Path("config/paper.yaml")


class Settings(BaseSettings):
    """Everything a service reads at its start."""

    model_config = SettingsConfigDict(
        env_prefix="OTOPILOT_", env_nested_delimiter="__", frozen=True, extra="forbid"
    )

    mode: Mode = "paper"
    spot_hosts: SpotHosts = "prod"  # which of Binance's own Spot venues is traded on in live mode
    data_dir: Path = Path("var/paper")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    container_bind: bool = False
    alpha_terms_acknowledged: bool = False
    market: MarketSettings = MarketSettings()
    order: OrderSettings = OrderSettings()
    strategy: StrategySettings = StrategySettings()
    paper: PaperSettings = PaperSettings()

    @classmethod
    def variables(cls) -> frozenset[str]:
        """Every variable of the environment that sets a value."""
        found = set()
        for name, field in cls.model_fields.items():
            variable = f"OTOPILOT_{name}".upper()
            found.add(variable)
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                found |= {f"{variable}__{key}".upper() for key in field.annotation.model_fields}
        return frozenset(found)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment over file; the file comes in as init arguments."""
        return env_settings, init_settings


def load(file: Path | None = None) -> Settings:
    """The settings of `file` (or OTOPILOT_SETTINGS, or config/services.yaml if there) and the environment.

    Raises SettingsError.
    """
    chosen = file or (Path(os.environ["OTOPILOT_SETTINGS"]) if "OTOPILOT_SETTINGS" in os.environ else None)
    path = chosen or DEFAULT_FILE
    raw = _read(path) if chosen or path.exists() else {}
    try:
        settings = Settings(**raw)
    except ValidationError as error:
        # Never the values: one of them may be a secret put in the wrong place.
        lines = [f"{_place(path, problem['loc'])}: {problem['msg']}" for problem in error.errors()]
        raise SettingsError("\n".join(lines)) from None
    except UnreadableSource as error:
        raise SettingsError(f"environment: {error}") from None
    check_bind(settings, settings.market, settings.order, settings.strategy)
    return settings


def _read(path: Path) -> dict[str, Any]:
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.MarkedYAMLError as error:
        # Not the whole error: it quotes lines of the file.
        mark = error.problem_mark or error.context_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise SettingsError(f"{path}{where}: {error.problem or error.context}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{path}: {error}") from error
    if not isinstance(raw, dict) or not all(isinstance(key, str) for key in raw):
        raise SettingsError(f"{path}: a mapping of names is wanted at the top")
    return raw


def _place(path: Path, loc: tuple[int | str, ...]) -> str:
    """Where the value came from: a variable of the environment, or the file."""
    variable = "OTOPILOT_" + "__".join(str(part) for part in loc).upper()
    return variable if variable in os.environ else f"{path}: {'.'.join(str(part) for part in loc)}"


def check_bind(settings: Settings, *endpoints: Endpoint) -> None:
    """Without TLS and tokens nothing listens beyond loopback (architecture 9). Raises SettingsError."""
    if settings.mode == "paper" and settings.container_bind:
        return
    problems = [
        f"host {endpoint.host}: only loopback addresses are allowed without TLS and tokens "
        "(a container in paper mode sets container_bind: true)"
        for endpoint in endpoints
        if not _is_loopback(endpoint.host)
    ]
    if problems:
        raise SettingsError("\n".join(problems))


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False

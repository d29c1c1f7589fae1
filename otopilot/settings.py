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

Secret = SecretStr

Mode = Literal["paper", "live"]
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
    sweep_seconds: float = Field(default=10.0, gt=0)  # beat of the incremental sweep


class StrategySettings(Endpoint):
    """strategy_service."""

    port: int = Field(default=50053, ge=0, le=65535)
    config: Path | None = None  # the trading configuration; none: config/trading_config.yaml


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
    data_dir: Path = Path("var/paper")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    container_bind: bool = False
    alpha_terms_acknowledged: bool = False
    market: MarketSettings = MarketSettings()
    order: OrderSettings = OrderSettings()
    strategy: StrategySettings = StrategySettings()
    paper: PaperSettings = PaperSettings()

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
    raw: Any = {}
    if chosen or path.exists():
        try:
            raw = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise SettingsError(f"{path}: {error}") from error
        if not isinstance(raw, dict):
            raise SettingsError(f"{path}: a mapping is wanted at the top")
    try:
        settings = Settings(**raw)
    except ValidationError as error:
        # Never the values: one of them may be a secret put in the wrong place.
        lines = [f"{path}: {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise SettingsError("\n".join(lines)) from None
    check_bind(settings, settings.market, settings.order, settings.strategy)
    return settings


def check_bind(settings: Settings, *endpoints: Endpoint) -> None:
    """Without TLS and tokens nothing listens beyond loopback (architecture 9). Raises SettingsError."""
    for endpoint in endpoints:
        if _is_loopback(endpoint.host):
            continue
        if settings.mode != "paper" or not settings.container_bind:
            raise SettingsError(
                f"host {endpoint.host}: only loopback addresses are allowed without TLS and tokens "
                "(a container in paper mode sets container_bind: true)"
            )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False

"""The paper exchange's configuration: strict, frozen, whole before anything starts.

Every scalar is read as text and converted by its field's type, so an amount never passes
through a binary float. Unknown and duplicate keys are errors that name their path.
"""

from collections.abc import Hashable
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from paper_exchange.faults import FaultRule
from paper_exchange.model import StpMode, VenueName

Positive = Annotated[Decimal, Field(gt=0)]
NotNegative = Annotated[Decimal, Field(ge=0)]
Probability = Annotated[Decimal, Field(ge=0, le=1)]


class ConfigError(Exception):
    """The configuration cannot be used; the text says where and why."""


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PathSettings(Strict):
    """How a symbol's price moves: percentages are of the start price."""

    kind: Literal["random_walk", "swing", "replay"] = "swing"
    start: Positive
    tick_interval_seconds: Annotated[Decimal, Field(ge=Decimal("0.1"))] = Decimal("0.2")
    amplitude_percent: Annotated[Decimal, Field(ge=0, lt=100)] = Decimal(1)
    period_seconds: Positive = Decimal(40)
    # Share of the period at which a swing begins: 0.75 is its lowest point.
    start_phase: Annotated[Decimal, Field(ge=0, lt=1)] = Decimal(0)
    step_percent: NotNegative = Decimal("0.02")
    band_percent: Annotated[Decimal, Field(gt=0, lt=100)] = Decimal(5)
    file: Path | None = None

    @model_validator(mode="after")
    def replay_needs_a_file(self) -> "PathSettings":
        if (self.kind == "replay") != (self.file is not None):
            raise ValueError("'file' belongs to kind 'replay', and 'replay' needs it")
        return self


class HouseSettings(Strict):
    """The house's quotes on both sides of the path price, and its own prints."""

    spread_percent: NotNegative = Decimal("0.02")
    levels: Annotated[int, Field(ge=0, le=50)] = 5
    level_gap_percent: Positive = Decimal("0.01")
    level_notional: Positive = Decimal(2000)
    print_notional_min: Positive = Decimal(5)
    print_notional_max: Positive = Decimal(60)


class TokenSettings(Strict):
    """An Alpha token's row in the token list (binance-alpha 1.1)."""

    name: str
    ticker: str
    chain_id: str
    chain_name: str
    contract_address: str
    token_id: str
    decimals: int = 18
    listing_ms: int = 1734687000000
    multiplier: int = 1
    circulating_supply: Positive = Decimal(1000000)
    total_supply: Positive = Decimal(1000000)


class PriceRange(Strict):
    """The PRICE_RANGE execution rule: multipliers of the reference price (binance-spot 2.4)."""

    bid_up: Positive | None = None
    bid_down: Positive | None = None
    ask_up: Positive | None = None
    ask_down: Positive | None = None


class Instrument(Strict):
    """A symbol with the filters the venue publishes for it.

    `avg_price_mins`: over how many minutes the price bands average; 0: they take the last price.
    `reference_price`: it never had one, has none now (null), or has the path's price as one.
    """

    venue: VenueName
    symbol: str
    base: str
    quote: str = "USDT"
    min_price: Positive
    max_price: Positive
    tick_size: Positive
    min_quantity: Positive
    max_quantity: Positive
    step_size: Positive
    min_notional: NotNegative
    max_notional: Positive
    percent_down: Positive
    percent_up: Positive
    max_num_orders: Annotated[int, Field(gt=0)] = 200
    max_num_order_lists: Annotated[int, Field(gt=0)] = 20
    max_num_algo_orders: Annotated[int, Field(gt=0)] = 5
    iceberg_parts: Annotated[int, Field(gt=0)] = 100
    max_num_order_amends: Annotated[int, Field(ge=0)] = 10
    max_position: Positive | None = None
    permission_sets: tuple[tuple[str, ...], ...] = (("SPOT",),)
    avg_price_mins: Annotated[int, Field(ge=0)] = 0
    reference_price: Literal["never", "null", "path"] = "never"
    price_range: PriceRange | None = None
    price_precision: int = 8
    base_precision: int = 8
    quote_precision: int = 8
    oto_allowed: bool = True
    opo_allowed: bool = True
    cancel_replace_allowed: bool = True
    amend_allowed: bool = True
    default_stp: StpMode = "NONE"
    allowed_stp: tuple[StpMode, ...] = ("NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH")
    path: PathSettings
    house: HouseSettings = HouseSettings()
    token: TokenSettings | None = None

    @model_validator(mode="after")
    def alpha_needs_a_token(self) -> "Instrument":
        if (self.venue == "alpha") != (self.token is not None):
            raise ValueError("'token' belongs to venue 'alpha', and 'alpha' needs it")
        return self


class VenueSettings(Strict):
    """What both venues have; the switches are behaviour that no document settles.

    `percent_price_on_pending`: whether the price band binds a pending leg as its list is placed,
    `percent_price_at_oto_release`: and that of an OTO again as it is released, as an OPO's is.
    `refused_release_ends`: how a pending leg ends that is refused as it is released.
    """

    buyer_fee: NotNegative
    seller_fee: NotNegative
    fill_delay_seconds: tuple[NotNegative, NotNegative]
    default_balances: dict[str, NotNegative]
    partial_fill_probability: Probability = Decimal(0)
    pending_after_partial_cancel: Literal["cancel", "size_filled"] = "cancel"
    cancel_pending_before_trigger: Literal["both", "refuse"] = "both"
    sibling_ends: Literal["CANCELED", "EXPIRED"] = "CANCELED"
    refused_release_ends: Literal["EXPIRED", "REJECTED"] = "EXPIRED"
    reserve_pending: bool = False
    opo_commission_from_free: bool = True
    percent_price_on_pending: bool = True
    percent_price_at_oto_release: bool = False

    @model_validator(mode="after")
    def delay_is_a_range(self) -> "VenueSettings":
        if self.fill_delay_seconds[0] > self.fill_delay_seconds[1]:
            raise ValueError("fill_delay_seconds is [least, most]")
        return self


class AlphaSettings(VenueSettings):
    """Switches for what binance-alpha marks as unknown.

    `ping_seconds` and the three after it: a socket's life as that of its neighbours on the same host;
    `bare_acks`: a socket's answer to a request is its id alone, without `result`;
    `sibling_event`: whether the order stream tells how the other leg ends when one is cancelled.
    """

    listen_key_seconds: Annotated[int, Field(gt=0)] = 3600
    amounts_as: Literal["both", "number", "string"] = "both"
    crossed_book: bool = False
    history_time: Literal["created", "updated"] = "created"
    ping_seconds: Annotated[int, Field(gt=0)] = 300
    pong_within_seconds: Annotated[int, Field(gt=0)] = 900
    connection_seconds: Annotated[int, Field(gt=0)] = 86_400
    messages_per_second: Annotated[int, Field(gt=0)] = 10
    bare_acks: bool = False
    sibling_event: bool = True
    all_tickers_as: Literal["object", "array"] = "object"
    max_rows: Annotated[int, Field(gt=0)] = 500
    error_codes: dict[str, str] = {}


class SpotSettings(VenueSettings):
    """Limits, and switches for what binance-spot marks as unknown.

    `filled_leg_in_cancel`: whether cancelling a list repeats a leg that had filled;
    `stream_errors`: whether a market stream's error stands flat or under `error`;
    `shutdown_warning_seconds`: how long before a connection's term the server says that it goes;
    `ban_after_disconnects`: how many market streams an address may lose within five minutes for
    talking too much before it is banned;
    `ban_seconds`: the first ban, each further one within a day is twice as long;
    `database_lag_seconds`: how far reads that the venue answers from its database are behind;
    `max_assets`: what MAX_ASSET lets an order be worth, by asset, `max_asset_code`: and its refusal;
    `refused_orders_count`: whether an order that was refused stays in the account's order count;
    `timeout_status`: the HTTP status of -1007, which no document tells (504, maybe 408);
    `fees_in_bnb`: whether accounts pay their fees in BNB, a quarter less, while they have enough.
    """

    weight_limit_per_minute: Annotated[int, Field(gt=0)] = 6000
    raw_limit_5m: Annotated[int, Field(gt=0)] = 300_000
    order_limit_10s: Annotated[int, Field(gt=0)] = 100
    order_limit_day: Annotated[int, Field(gt=0)] = 200000
    taker_fill_credit: Annotated[int, Field(ge=0)] = 1
    maker_fill_credit: Annotated[int, Field(ge=0)] = 5
    ban_after_refusals: Annotated[int, Field(ge=0)] = 200
    ban_after_disconnects: Annotated[int, Field(ge=0)] = 10
    ban_seconds: Annotated[int, Field(gt=0)] = 120
    longest_ban_seconds: Annotated[int, Field(gt=0)] = 259_200
    list_response_default: Literal["ACK", "RESULT", "FULL"] = "RESULT"
    open_orders_show_pending: bool = True
    cancelled_found_by_old_id: bool = True
    filled_leg_in_cancel: bool = False
    refused_orders_count: bool = False
    fees_in_bnb: bool = False
    max_asset_code: int = -1013
    unknown_list_code: int = -2018
    unknown_method_code: int = -1020
    hmac_logon_code: int = -4056
    unknown_amend_text: str = "Unknown order sent."
    timeout_status: Annotated[int, Field(ge=400, le=599)] = 504
    exchange_max_num_orders: Annotated[int, Field(gt=0)] | None = None
    exchange_max_num_order_lists: Annotated[int, Field(gt=0)] | None = None
    max_assets: dict[str, Positive] = {}
    database_lag_seconds: NotNegative = Decimal(0)
    archive_days: Annotated[int, Field(gt=0)] = 90
    stream_errors: Literal["flat", "nested"] = "flat"
    stream_messages_per_second: Annotated[int, Field(gt=0)] = 5
    connection_seconds: Annotated[int, Field(gt=0)] = 86_400
    connections_per_5_minutes: Annotated[int, Field(gt=0)] = 300
    shutdown_warning_seconds: Annotated[int, Field(ge=0)] = 0
    active_subscriptions: Annotated[int, Field(gt=0)] = 1000
    too_many_subscriptions_code: int = -2042


class ServerSettings(Strict):
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8900


class Config(Strict):
    """The whole file."""

    seed: int = 1
    max_catch_up_ticks: Annotated[int, Field(gt=0)] = 500
    server: ServerSettings = ServerSettings()
    alpha: AlphaSettings
    spot: SpotSettings
    instruments: Annotated[tuple[Instrument, ...], Field(min_length=1)]
    faults: tuple[FaultRule, ...] = ()

    @model_validator(mode="after")
    def symbols_are_unique(self) -> "Config":
        symbols = [instrument.symbol for instrument in self.instruments]
        if len(set(symbols)) != len(symbols):
            raise ValueError("a symbol is listed twice")
        return self

    def venue(self, name: VenueName) -> VenueSettings:
        return self.alpha if name == "alpha" else self.spot


class _TextLoader(yaml.BaseLoader):
    """Scalars stay text; a key given twice is refused."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise ConfigError(f"line {node.start_mark.line + 1}: {key!r} is given twice")
        return super().construct_mapping(node, deep)


def parse_config(source: str, *, base: Path = Path()) -> Config:
    """The configuration in a YAML text; ConfigError lists every fault. Files are relative to base."""
    loader = _TextLoader(source)
    try:
        raw = loader.get_single_data()
    except yaml.YAMLError as error:
        raise ConfigError(f"not YAML: {' '.join(str(error).split())}") from error
    finally:
        loader.dispose()
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors())
        raise ConfigError("; ".join(faults)) from error
    return _rebase(config, base)


def _rebase(config: Config, base: Path) -> Config:
    def place(instrument: Instrument) -> Instrument:
        file = instrument.path.file
        if file is None or file.is_absolute():
            return instrument
        path = instrument.path.model_copy(update={"file": base / file})
        return instrument.model_copy(update={"path": path})

    return config.model_copy(update={"instruments": tuple(map(place, config.instruments))})


def load_config(path: Path) -> Config:
    """Read and check the file; ConfigError says in one line what is wrong."""
    try:
        source = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    try:
        return parse_config(source, base=path.parent)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error

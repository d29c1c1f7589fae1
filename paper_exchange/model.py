"""The paper exchange's own facts: orders, lists, fills, accounts, and what it announces.

Plain records without behaviour of weight: matching.py, accounts.py and order_lists.py act on
them, store.py writes them as they are, the surfaces spell them in a venue's words. Time is whole
milliseconds since the epoch, as both venues speak it.
"""

from decimal import Decimal
from enum import StrEnum
from typing import Literal

import msgspec

VenueName = Literal["alpha", "spot"]
Side = Literal["BUY", "SELL"]
ListKind = Literal["OTO", "OPO"]
Leg = Literal["working", "pending"]
OrderKind = Literal[
    "LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"
]
MARKET_KINDS: tuple[OrderKind, ...] = ("MARKET", "STOP_LOSS", "TAKE_PROFIT")
STOP_KINDS: tuple[OrderKind, ...] = ("STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT")
Execution = Literal["NEW", "TRADE", "CANCELED", "REPLACED", "EXPIRED", "REJECTED", "TRADE_PREVENTION"]
StpMode = Literal["NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"]
TimeInForce = Literal["GTC", "IOC", "FOK"]


class Status(StrEnum):
    """PENDING is an untriggered leg (Spot spells it PENDING_NEW), REJECTED one refused at its release."""

    PENDING = "PENDING"
    NEW = "NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    REJECTED = "REJECTED"
    EXPIRED_IN_MATCH = "EXPIRED_IN_MATCH"


OPEN = frozenset({Status.PENDING, Status.NEW, Status.PARTIALLY_FILLED})


class Refusal(StrEnum):
    """Why the exchange refused a request; each surface has its own codes and texts for these."""

    UNKNOWN_SYMBOL = "unknown_symbol"
    NOT_TRADING = "not_trading"
    INSUFFICIENT_BALANCE = "insufficient_balance"
    PRICE_FILTER = "price_filter"
    LOT_SIZE = "lot_size"
    MIN_NOTIONAL = "min_notional"
    MAX_NOTIONAL = "max_notional"
    PERCENT_PRICE = "percent_price"
    MAX_NUM_ORDERS = "max_num_orders"
    MAX_NUM_ORDER_LISTS = "max_num_order_lists"
    DUPLICATE_CLIENT_ID = "duplicate_client_id"
    WOULD_MATCH = "would_match"
    LIST_NOT_ALLOWED = "list_not_allowed"
    UNKNOWN_ORDER = "unknown_order"
    PENDING_NOT_CANCELLABLE = "pending_not_cancellable"
    NO_LIQUIDITY = "no_liquidity"
    NOT_PERMITTED = "not_permitted"
    MAX_POSITION = "max_position"
    MAX_ASSET = "max_asset"
    EXCHANGE_MAX_NUM_ORDERS = "exchange_max_num_orders"
    EXCHANGE_MAX_NUM_ORDER_LISTS = "exchange_max_num_order_lists"
    AMEND_NOT_ALLOWED = "amend_not_allowed"
    AMEND_UPWARD = "amend_upward"
    AMEND_OF_NOTHING = "amend_of_nothing"
    MAX_NUM_ORDER_AMENDS = "max_num_order_amends"
    WOULD_TRIGGER = "would_trigger"
    MAX_NUM_ALGO_ORDERS = "max_num_algo_orders"
    ICEBERG_PARTS = "iceberg_parts"
    ICEBERG_EXCEEDS = "iceberg_exceeds"


class Refused(Exception):
    """A definite no: nothing changed."""

    def __init__(self, reason: Refusal, detail: str = "") -> None:
        super().__init__(f"{reason.value} {detail}".strip())
        self.reason = reason
        self.detail = detail


class Account(msgspec.Struct):
    """One user's money at one venue; `managed` marks it for the self-match oracle.

    `permissions` say which symbols it may trade, `key_trades` whether its API key may trade at all,
    `locked_elsewhere` what of `locked` another product of the venue holds.
    """

    user_id: str
    venue: VenueName
    managed: bool
    credential: dict[str, str]
    free: dict[str, Decimal]
    locked: dict[str, Decimal]
    created_ms: int
    listen_key: str = ""
    listen_key_until_ms: int = 0
    trade_group: int = -1
    permissions: tuple[str, ...] = ("SPOT",)
    key_trades: bool = True
    locked_elsewhere: dict[str, Decimal] = {}

    @property
    def key(self) -> str:
        return f"{self.venue}/{self.user_id}"


class PreventedMatch(msgspec.Struct, frozen=True):
    """A self-trade that did not happen: what each side lost by it (binance-spot 9)."""

    prevented_id: int
    taker_order_id: int
    maker_order_id: int
    price: Decimal
    taker_quantity: Decimal
    maker_quantity: Decimal
    mode: StpMode = "NONE"
    time_ms: int = 0


class Amendment(msgspec.Struct, frozen=True):
    """An order's quantity reduced in place (binance-spot 3.6)."""

    execution_id: int
    old_client_id: str
    new_client_id: str
    old_quantity: Decimal
    new_quantity: Decimal
    time_ms: int


class Order(msgspec.Struct):
    """An accepted order. `priority` is its place in the time queue once it is matchable.

    A MARKET order's price is the worst it may trade at, fixed when it is accepted, released or triggered.
    `iceberg` is how much of it the book shows at once. `working_ms` is none while it waits for its stop.
    `expiry_reason` is also why it was REJECTED.
    """

    order_id: int
    account: str
    symbol: str
    side: Side
    price: Decimal
    quantity: Decimal
    status: Status
    created_ms: int
    updated_ms: int
    client_id: str
    kind: OrderKind = "LIMIT"
    time_in_force: TimeInForce = "GTC"
    stp: StpMode = "NONE"
    executed: Decimal = Decimal(0)
    quote: Decimal = Decimal(0)
    fee: Decimal = Decimal(0)
    locked: Decimal = Decimal(0)
    prevented: Decimal = Decimal(0)
    list_id: int | None = None
    leg: Leg | None = None
    active_at_ms: int | None = None
    working_ms: int | None = None
    priority: int | None = None
    original_client_id: str = ""
    expiry_reason: str = ""
    strategy: dict[str, int] = {}
    quote_wanted: Decimal = Decimal(0)
    prevented_matches: tuple[PreventedMatch, ...] = ()
    amendments: tuple[Amendment, ...] = ()
    stop_price: Decimal = Decimal(0)
    iceberg: Decimal = Decimal(0)

    @property
    def open_quantity(self) -> Decimal:
        return self.quantity - self.executed - self.prevented

    @property
    def shown_quantity(self) -> Decimal:
        """What of it stands on the book."""
        return min(self.open_quantity, self.iceberg) if self.iceberg else self.open_quantity

    @property
    def waits(self) -> bool:
        """Accepted, and its stop has not been reached."""
        return self.kind in STOP_KINDS and self.status is Status.NEW and self.working_ms is None


class OrderList(msgspec.Struct):
    """Working and pending leg. `reserved` holds an OPO's proceeds between fill and release."""

    list_id: int
    account: str
    symbol: str
    kind: ListKind
    working_id: int
    pending_id: int
    client_id: str
    created_ms: int
    sized_by_receipt: bool
    triggered: bool = False
    done: bool = False
    reserved: Decimal = Decimal(0)


class Fill(msgspec.Struct, frozen=True):
    """One side of one match. `fill_id` is unique; `sweep_id` repeats within one taker's sweep."""

    fill_id: int
    match_id: int
    sweep_id: int
    order_id: int
    account: str
    symbol: str
    side: Side
    price: Decimal
    quantity: Decimal
    quote: Decimal
    fee: Decimal
    fee_asset: str
    maker: bool
    last: bool
    time_ms: int
    counter_order_id: int | None = None


class NewOrder(msgspec.Struct, frozen=True):
    """What a surface asks the exchange to accept; the terms of one leg.

    A MARKET order gives no price, and either a quantity or the quote amount it wants to trade.
    """

    symbol: str
    side: Side
    price: Decimal
    quantity: Decimal
    client_id: str = ""
    kind: OrderKind = "LIMIT"
    time_in_force: TimeInForce = "GTC"
    stp: StpMode = "NONE"
    strategy: dict[str, int] = {}
    quote_wanted: Decimal = Decimal(0)
    stop_price: Decimal = Decimal(0)
    iceberg: Decimal = Decimal(0)


class NewList(msgspec.Struct, frozen=True):
    """Two legs; a pending quantity of zero is sized by what the working leg received."""

    kind: ListKind
    working: NewOrder
    pending: NewOrder
    client_id: str = ""


class OrderEvent(msgspec.Struct, frozen=True):
    """A snapshot of an order at the moment something happened to it."""

    order: Order
    execution: Execution
    fill: Fill | None
    event_id: int
    time_ms: int
    prevention: PreventedMatch | None = None


class ListEvent(msgspec.Struct, frozen=True):
    """A list began, moved on or ended; `updated`: a leg of it was amended."""

    order_list: OrderList
    working: Order
    pending: Order
    time_ms: int
    updated: bool = False


class BalanceEvent(msgspec.Struct, frozen=True):
    """Balances of the named assets (free, locked) after what just happened."""

    account: str
    balances: dict[str, tuple[Decimal, Decimal]]
    time_ms: int
    deposit: Decimal | None = None
    locked_elsewhere: Decimal | None = None


class AggTrade(msgspec.Struct, frozen=True):
    """A public trade: neighbouring matches of one sweep at one price; `sizes` if they are several."""

    agg_id: int
    symbol: str
    price: Decimal
    quantity: Decimal
    quote: Decimal
    first_id: int
    last_id: int
    buyer_is_maker: bool
    time_ms: int
    sizes: tuple[Decimal, ...] = ()


class BookEvent(msgspec.Struct, frozen=True):
    """The book of a symbol changed."""

    symbol: str
    time_ms: int


Event = OrderEvent | ListEvent | BalanceEvent | AggTrade | BookEvent

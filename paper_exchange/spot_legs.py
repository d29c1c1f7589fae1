"""An order's terms as Spot takes them: one leg of a list, or an order of its own.

Reads and checks parameters in the venue's order (binance-spot 1.5, 3.1, 4.2): syntax, what the
type needs and does not take, words, symbol, precision. What the core then refuses is the core's.
"""

from decimal import Decimal
from typing import Literal, get_args

import msgspec

from paper_exchange.config import Instrument
from paper_exchange.exchange import Exchange
from paper_exchange.model import (
    MARKET_KINDS,
    STOP_KINDS,
    NewOrder,
    OrderKind,
    Side,
    StpMode,
    TimeInForce,
)
from paper_exchange.numbers import product
from paper_exchange.spot_errors import SpotError, missing, not_valid
from paper_exchange.spot_params import Params

Part = Literal["", "working", "pending"]

KINDS: dict[str, OrderKind] = {kind: kind for kind in get_args(OrderKind)}
SIDES: dict[str, Side] = {"BUY": "BUY", "SELL": "SELL"}
FORCES: dict[str, TimeInForce] = {"GTC": "GTC", "IOC": "IOC", "FOK": "FOK"}
PREVENTIONS = ("NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "DECREMENT", "TRANSFER")
RESPONSES = ("ACK", "RESULT", "FULL")
LARGEST = 2**63
LEAST_STRATEGY_TYPE = 1_000_000


class Leg(msgspec.Struct, kw_only=True):
    """One leg as it was sent: syntax is checked, meaning is not."""

    part: Part
    kind: str
    side: str
    force: str
    quantity: tuple[Decimal, int]
    quote_wanted: tuple[Decimal, int]
    price: tuple[Decimal, int]
    stop: tuple[Decimal, int]
    iceberg: tuple[Decimal, int]
    client_id: str
    strategy: dict[str, int]
    sized: bool
    refused: SpotError | None

    def name(self, name: str) -> str:
        return _name(self.part, name)


def _name(part: Part, name: str) -> str:
    """`price` of the working leg is sent as `workingPrice`."""
    return f"{part}{name[0].upper()}{name[1:]}" if part else name


def read_leg(params: Params, part: Part, *, sized: bool = False) -> Leg:
    """A leg's parameters. `sized`: the venue sets its quantity, so none may be sent."""

    def name(plain: str) -> str:
        return _name(part, plain)

    side, kind = params.need(name("side")), params.need(name("type"))
    if kind not in KINDS:
        raise SpotError(-1116, "Invalid orderType.")
    if part == "working" and kind not in ("LIMIT", "LIMIT_MAKER"):
        # The code was measured, the text was not.
        raise SpotError(-1159, "Order type not supported for the working order.")
    has_price = kind not in MARKET_KINDS
    has_force = has_price and kind != "LIMIT_MAKER"
    stops = (name("stopPrice"), name("trailingDelta"))
    if kind in STOP_KINDS:
        if stops[0] not in params and stops[1] not in params:
            raise missing(stops[0])
        params.whole(stops[1])
    else:
        params.forbid(*stops)
    if not has_price:
        params.forbid(name("price"), name("icebergQty"))
    if not has_force:
        params.forbid(name("timeInForce"))
    if kind != "MARKET" or part:
        params.forbid("quoteOrderQty")
    by_quote = kind == "MARKET" and not part and "quoteOrderQty" in params
    if by_quote:
        params.forbid("quantity")
    client_id = name("clientOrderId") if part else "newClientOrderId"
    return Leg(
        part=part,
        kind=kind,
        side=side,
        force=params.need(name("timeInForce")) if has_force else "GTC",
        quantity=params.decimal(name("quantity"), needed=not by_quote and not sized),
        quote_wanted=params.decimal("quoteOrderQty"),
        price=params.decimal(name("price"), needed=has_price and name("pegPriceType") not in params),
        stop=params.decimal(stops[0]),
        iceberg=params.decimal(name("icebergQty")),
        client_id=params.client_id(client_id),
        strategy=_read_strategy(params, part),
        sized=sized,
        refused=_read_refused(params, part),
    )


def _read_refused(params: Params, part: Part) -> SpotError | None:
    """What no symbol here takes: pegs and trailing stops; their syntax is checked like any other's."""
    pegs = ("pegPriceType", "pegOffsetType", "pegOffsetValue")
    sent = [peg for peg in pegs if params.text(_name(part, peg))]
    if sent:
        # The venue's text is not documented.
        return SpotError(-1211, "Pegged orders are not supported for this symbol.")
    if _name(part, "trailingDelta") in params:
        return SpotError(-2010, "Trailing stop orders are not supported for this symbol.")
    return None


def _read_strategy(params: Params, part: Part) -> dict[str, int]:
    """The strategy's keys as answers tell them."""
    found = {}
    for key in ("strategyId", "strategyType"):
        value = params.whole(_name(part, key))
        if value is not None:
            found[key] = value
    if found.get("strategyType", LEAST_STRATEGY_TYPE) < LEAST_STRATEGY_TYPE:
        raise SpotError(-1134, "`strategyType` was less than 1000000.")
    return found


class LegReader:
    """Turns legs into what the core accepts."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def prevention(self, params: Params) -> str:
        """The mode that was asked for, empty if none was."""
        return params.choice("selfTradePreventionMode", PREVENTIONS, not_valid("selfTradePreventionMode"))

    def terms(self, leg: Leg, instrument: Instrument, prevention: str) -> NewOrder:
        """The order a leg asks for; a client id is made up if none was sent."""
        if leg.side not in SIDES:
            raise SpotError(-1117, "Invalid side.")
        if leg.force not in FORCES:
            raise SpotError(-1115, "Invalid timeInForce.")
        places = instrument.quote_precision
        quantity = _precise(leg.quantity, instrument.base_precision, leg.name("quantity"))
        quote_wanted = _precise(leg.quote_wanted, places, "quoteOrderQty")
        price = _precise(leg.price, places, leg.name("price"))
        stop = _precise(leg.stop, places, leg.name("stopPrice"))
        iceberg = _precise(leg.iceberg, instrument.base_precision, leg.name("icebergQty"))
        stp = _stp_of(prevention, instrument)
        if leg.refused is not None:
            raise leg.refused
        self._check_above_zero(leg)
        if iceberg and leg.force != "GTC":
            raise SpotError(-1014, "Unsupported order combination.")
        return NewOrder(
            symbol=instrument.symbol,
            side=SIDES[leg.side],
            # What a stop at the market needs in funds, until it is triggered.
            price=stop if leg.kind in STOP_KINDS and leg.kind in MARKET_KINDS else price,
            quantity=quantity,
            client_id=leg.client_id or self._exchange.mint_id(),
            kind=KINDS[leg.kind],
            time_in_force=FORCES[leg.force],
            stp=stp,
            strategy=leg.strategy,
            quote_wanted=quote_wanted,
            stop_price=stop,
            iceberg=iceberg,
        )

    def precise_quantity(self, written: tuple[Decimal, int], instrument: Instrument, name: str) -> Decimal:
        """An amount of the base, if it is written in no more decimals than the base has."""
        return _precise(written, instrument.base_precision, name)

    def _check_above_zero(self, leg: Leg) -> None:
        price = Decimal(1) if leg.kind in MARKET_KINDS else leg.price[0]
        amount = Decimal(1) if leg.sized else leg.quantity[0] or leg.quote_wanted[0]
        if product(price, amount) <= 0:
            raise SpotError(-2010, "Price * QTY is zero or less.")


def _precise(written: tuple[Decimal, int], places: int, name: str) -> Decimal:
    value, decimals = written
    if decimals > places:
        raise SpotError(-1111, f"Parameter '{name}' has too much precision.")
    if value.scaleb(places) >= LARGEST:
        raise SpotError(-1108, f"Parameter '{name}' overflowed.")
    return value


def _stp_of(prevention: str, instrument: Instrument) -> StpMode:
    wanted = prevention or instrument.default_stp
    for mode in get_args(StpMode):
        if mode == wanted and mode in instrument.allowed_stp:
            found: StpMode = mode
            return found
    raise SpotError(-1013, "This symbol does not allow the specified self-trade prevention mode.")

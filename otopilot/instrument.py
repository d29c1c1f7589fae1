"""What trades, and the rules an order on it must obey. Pure.

Venues never round: a value off the grid is refused. So rounding happens here, never in the
user's disfavour: a BUY's price down, a SELL's price up, a quantity down (product 3.4).
"""

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum

import msgspec

from otopilot import money
from otopilot.money import ONE, ZERO

FINGERPRINT_TICKS = 9  # by which Alpha's fingerprint may lower a BUY (architecture 5.6)


class Venue(StrEnum):
    """Where an instrument trades."""

    SPOT = "spot"
    ALPHA = "alpha"


class Side(StrEnum):
    """Which way an order goes."""

    BUY = "buy"
    SELL = "sell"

    @property
    def opposite(self) -> "Side":
        """The side it trades with."""
        return Side.SELL if self is Side.BUY else Side.BUY


class InstrumentStatus(StrEnum):
    """May orders be placed now?"""

    TRADING = "trading"
    HALTED = "halted"
    DELISTED = "delisted"


class Violation(msgspec.Struct, frozen=True):
    """A filter that an order would break: its name and the whole story."""

    filter: str
    message: str


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What an account would have open and hold with a new order, as far as known."""

    as_list: bool = False  # is the new order one of two legs?
    orders: int = 0  # on the symbol, legs that wait for their trigger included
    lists: int = 0
    every_order: int = 0  # on all symbols of the venue
    every_list: int = 0
    position: Decimal | None = None  # base held, free or locked, and still to be bought; none: not known


class Instrument(msgspec.Struct, frozen=True, kw_only=True):
    """One trading symbol of a venue. Prices in quote per base, quantities in base."""

    venue: Venue
    symbol: str
    token: str
    chain: str = ""
    base_asset: str
    quote_asset: str
    status: InstrumentStatus = InstrumentStatus.TRADING
    tick_size: Decimal
    step_size: Decimal
    min_price: Decimal = ZERO
    max_price: Decimal | None = None
    min_quantity: Decimal = ZERO
    max_quantity: Decimal | None = None
    min_notional: Decimal = ZERO
    max_notional: Decimal | None = None
    bid_multiplier_down: Decimal | None = None
    bid_multiplier_up: Decimal | None = None
    ask_multiplier_down: Decimal | None = None
    ask_multiplier_up: Decimal | None = None
    max_num_orders: int = 0
    max_num_order_lists: int = 0
    exchange_max_num_orders: int = 0
    exchange_max_num_order_lists: int = 0
    max_position: Decimal | None = None
    oto_allowed: bool = True
    opo_allowed: bool = False
    base_precision: int = 8
    quote_precision: int = 8
    buy_fee_rate: Decimal | None = None  # a fraction, taken from the base received
    sell_fee_rate: Decimal | None = None  # a fraction, taken from the quote received

    @property
    def has_price_band(self) -> bool:
        """Is a price measured from one that the venue knows?"""
        parts = (self.bid_multiplier_down, self.bid_multiplier_up)
        return any(part is not None for part in (*parts, self.ask_multiplier_down, self.ask_multiplier_up))

    def round_price(self, side: Side, price: Decimal) -> Decimal:
        """On the tick grid: a BUY down, a SELL up."""
        grid = money.floor_to if side is Side.BUY else money.ceil_to
        return grid(price, self.tick_size)

    def round_quantity(self, quantity: Decimal) -> Decimal:
        """Down to the step: never trade more than was asked."""
        return money.floor_to(quantity, self.step_size)

    def quantity_for(self, quote: Decimal, price: Decimal) -> Decimal:
        """The greatest quantity on the grid whose notional does not exceed an amount of quote."""
        return self.round_quantity(quote / price)

    def quantity_after_fee(self, quantity: Decimal, fee_rate: Decimal) -> Decimal:
        """What can be sold of a quantity bought when the fee is taken from the base received."""
        return self.round_quantity(quantity * (ONE - fee_rate))

    def lowest_applied(self, min_buy_price: Decimal) -> Decimal:
        """The price at which a BUY may come to stand when the guard may lower it to `min_buy_price`."""
        ticks = FINGERPRINT_TICKS if self.venue is Venue.ALPHA else 0
        return max(min_buy_price - ticks * self.tick_size, self.tick_size)

    def smallest_quantity(self, min_buy_price: Decimal, sell: Decimal, fee_rate: Decimal) -> Decimal:
        """The smallest order (product 3.2): the least base whose two legs pass all filters.

        The one definition, for who asks, who admits and who plans. The BUY is taken at the lowest
        price that guard and fingerprint may apply, the SELL, at the price that is asked for it, net
        of the fee that the account pays in base.
        """
        least = max(self.min_quantity, self.step_size)
        buy = max(least, self.min_notional / self.lowest_applied(min_buy_price))
        sold = money.ceil_to(max(least, self.min_notional / sell), self.step_size)
        return max(money.ceil_to(buy, self.step_size), money.ceil_to(sold / (ONE - fee_rate), self.step_size))

    def violations(
        self, side: Side, price: Decimal, quantity: Decimal, reference: Decimal | None = None
    ) -> list[Violation]:
        """Every filter the order would break; `reference` is what the venue measures its price band from.

        Without one the band is left to the venue.
        """
        found = self._price_violations(side, price, reference)
        if quantity <= 0 or quantity < self.min_quantity:
            found.append(_violation("LOT_SIZE", "quantity", quantity, "below", self.min_quantity))
        elif self.max_quantity is not None and quantity > self.max_quantity:
            found.append(_violation("LOT_SIZE", "quantity", quantity, "above", self.max_quantity))
        if quantity % self.step_size:
            found.append(_violation("LOT_SIZE", "quantity", quantity, "not a multiple of", self.step_size))
        notional = price * quantity
        if notional < self.min_notional:
            found.append(_violation("NOTIONAL", "notional", notional, "below", self.min_notional))
        if self.max_notional is not None and notional > self.max_notional:
            found.append(_violation("NOTIONAL", "notional", notional, "above", self.max_notional))
        return found

    def worth_violations(
        self, price: Decimal, quantity: Decimal, limits: Mapping[str, Decimal]
    ) -> list[Violation]:
        """MAX_ASSET: what one order of the account may be worth of an asset."""
        worth = {self.base_asset: quantity, self.quote_asset: price * quantity}
        return [
            _violation("MAX_ASSET", f"worth in {asset}", amount, "above", limits[asset])
            for asset, amount in worth.items()
            if asset in limits and amount > limits[asset]
        ]

    def standing_violations(self, standing: Standing) -> list[Violation]:
        """A kind of order that is not taken, and every count or position exceeded; a limit of 0 is none."""
        counts = (
            ("MAX_NUM_ORDERS", "open orders", standing.orders, self.max_num_orders),
            ("MAX_NUM_ORDER_LISTS", "open lists", standing.lists, self.max_num_order_lists),
            ("EXCHANGE_MAX_NUM_ORDERS", "open orders", standing.every_order, self.exchange_max_num_orders),
            (
                "EXCHANGE_MAX_NUM_ORDER_LISTS",
                "open lists",
                standing.every_list,
                self.exchange_max_num_order_lists,
            ),
        )
        found = [
            _violation(name, what, Decimal(count), "above", Decimal(limit))
            for name, what, count, limit in counts
            if count > limit > 0
        ]
        if standing.as_list and not self.oto_allowed:
            found.insert(0, Violation("OTO", "the symbol takes no OTO: no SELL can wait for its BUY"))
        position, limit = standing.position, self.max_position
        if position is not None and limit is not None and position > limit:
            found.append(_violation("MAX_POSITION", "position", position, "above", limit))
        return found

    def _price_violations(self, side: Side, price: Decimal, reference: Decimal | None) -> list[Violation]:
        found = []
        if price <= 0 or price < self.min_price:
            found.append(_violation("PRICE_FILTER", "price", price, "below", self.min_price))
        if self.max_price is not None and price > self.max_price:
            found.append(_violation("PRICE_FILTER", "price", price, "above", self.max_price))
        if price % self.tick_size:
            found.append(_violation("PRICE_FILTER", "price", price, "not a multiple of", self.tick_size))
        if reference is not None:
            buy = side is Side.BUY
            down = self.bid_multiplier_down if buy else self.ask_multiplier_down
            up = self.bid_multiplier_up if buy else self.ask_multiplier_up
            if down is not None and price < reference * down:
                found.append(_violation("PERCENT_PRICE", "price", price, "below the band", reference * down))
            if up is not None and price > reference * up:
                found.append(_violation("PERCENT_PRICE", "price", price, "above the band", reference * up))
        return found


def _violation(name: str, what: str, value: Decimal, how: str, bound: Decimal) -> Violation:
    return Violation(name, f"{what} {money.text(value)} is {how} {money.text(bound)}")

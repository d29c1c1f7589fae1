"""The arithmetic of a round: prices, quantities, limits, the swing of a price. Pure.

buy = reference x (1 + (offset + k x step) / 100) on the tick below, sell = the exact buy x
(1 + profit / 100) on the tick above: 100 gives 100.5 and 101.505 (product 2, 3.4).
"""

from collections import deque
from collections.abc import Iterable
from decimal import ROUND_FLOOR, Decimal

from otopilot import money
from otopilot.instrument import Instrument, Side
from otopilot.money import ZERO
from otopilot.order import Order, Purpose
from strategy_service.config import UserSettings

RESIDUAL_NOTIONALS = Decimal("1.05")


def prices(
    reference: Decimal,
    buy_offset: Decimal,
    sell_profit: Decimal,
    step: int,
    slippage_step: Decimal,
    instrument: Instrument,
) -> tuple[Decimal, Decimal]:
    """The limit prices of BUY and SELL on the grid, for the `step`-th step of the ladder."""
    exact = money.plus_percent(reference, buy_offset + step * slippage_step)
    buy = instrument.round_price(Side.BUY, exact)
    sell = instrument.round_price(Side.SELL, money.plus_percent(exact, sell_profit))
    return buy, sell


def open_sell_limit(settings: UserSettings, instrument: Instrument) -> int | None:
    """SELLs that may rest: the venue's limit less 10 %, at least 2; none when nothing limits them."""
    return open_sell_room(settings, (instrument.max_num_orders, instrument.max_num_order_lists))


def open_sell_room(settings: UserSettings, venue_limits: Iterable[int]) -> int | None:
    """The same from the venue's limits alone, of which 0 means none; the setting only lowers it."""
    limits = [limit for limit in venue_limits if limit > 0]
    room = max(2, min(limits) * 9 // 10) if limits else None
    chosen = [limit for limit in (room, settings.max_open_sells) if limit is not None]
    return min(chosen, default=None)


def residual_sale(
    uncovered: Decimal, average_cost: Decimal | None, profit: Decimal, instrument: Instrument
) -> tuple[Decimal, Decimal] | None:
    """Quantity and price of the one SELL of a residual; none when it is dust (product 3.7)."""
    if average_cost is None or uncovered <= 0:
        return None
    price = instrument.round_price(Side.SELL, money.plus_percent(average_cost, profit))
    quantity = instrument.round_quantity(uncovered)
    if quantity <= 0 or quantity < instrument.min_quantity:
        return None
    if quantity * price < RESIDUAL_NOTIONALS * instrument.min_notional:
        return None
    return quantity, price


def flatten_sale(
    uncovered: Decimal, reference: Decimal, settings: UserSettings, instrument: Instrument
) -> tuple[Decimal, Decimal] | None:
    """Quantity and price of the SELL that ends a flatten: as far below the market as a BUY goes above."""
    offset = max(ZERO, settings.buy_offset_percentage)
    price = instrument.round_price(Side.SELL, money.plus_percent(reference, -offset))
    quantity = instrument.round_quantity(uncovered)
    if quantity <= 0 or quantity < instrument.min_quantity or quantity * price < instrument.min_notional:
        return None
    return quantity, price


def repriced(
    order: Order, average_cost: Decimal | None, settings: UserSettings, instrument: Instrument
) -> tuple[Decimal, int] | None:
    """Price and step at which a SELL that did not fill goes back; none when it is at its floor.

    One slippage step below where it stands, but not below the discount from what was paid.
    """
    sell, buy = order.sell, order.buy
    if sell is None:
        return None
    paid = buy.filled_quote / buy.filled_quantity if buy and buy.filled_quantity else average_cost
    if paid is None:
        return None
    floor = money.plus_percent(paid, -settings.max_sell_discount_percentage)
    lower = money.plus_percent(sell.price, -settings.slippage_step_percentage)
    price = instrument.round_price(Side.SELL, max(floor, lower))
    step = 1 if order.purpose is Purpose.OTO else order.step + 1
    return (price, step) if price < sell.price else None


def grid_floor(start: float, interval: float, now: float) -> float:
    """The newest point of the grid start + n x interval that is not after now."""
    if interval <= 0 or now <= start:
        return start
    return start + (now - start) // interval * interval


class Swing:
    """(max - min) / min of a price over a window, in percent. Bounded: the window is cut into parts."""

    PARTS = 240

    def __init__(self, window_seconds: float) -> None:
        self._window = window_seconds
        self._part = window_seconds / self.PARTS
        self._extremes: deque[tuple[float, Decimal, Decimal]] = deque(maxlen=self.PARTS + 2)
        self._known: Decimal | None = None  # until a price comes or goes: every loop asks, at every step

    def add(self, now: float, price: Decimal) -> None:
        """A price at a monotonic time."""
        self._known = None
        start = now // self._part * self._part
        if self._extremes and self._extremes[-1][0] >= start:
            begun, low, high = self._extremes[-1]
            self._extremes[-1] = (begun, min(low, price), max(high, price))
        else:
            self._extremes.append((start, price, price))
        self._forget(now)

    def percentage(self, now: float) -> Decimal:
        """The swing until now; zero without prices."""
        self._forget(now)
        if not self._extremes:
            return ZERO
        if self._known is None:
            low = min(entry[1] for entry in self._extremes)
            high = max(entry[2] for entry in self._extremes)
            self._known = money.percent_of(high - low, low)
        return self._known

    def _forget(self, now: float) -> None:
        # A part counts until its end has left the window; the newest price always counts.
        while len(self._extremes) > 1 and self._extremes[0][0] + self._part <= now - self._window:
            self._extremes.popleft()
            self._known = None


class Rise:
    """How much a price rose of late, in percent; a falling price rises by zero. Bounded."""

    WINDOW_SECONDS = 0.4

    def __init__(self) -> None:
        self._recent: deque[tuple[float, Decimal]] = deque(maxlen=128)

    def add(self, now: float, price: Decimal) -> None:
        """A price at a monotonic time."""
        self._recent.append((now, price))
        # The newest price from before the window stays: it was the price when the window began.
        while len(self._recent) > 1 and self._recent[1][0] <= now - self.WINDOW_SECONDS:
            self._recent.popleft()

    def percentage(self) -> Decimal:
        """Of the newest price over the one a window before it."""
        if not self._recent:
            return ZERO
        before, newest = self._recent[0][1], self._recent[-1][1]
        return max(ZERO, money.percent_of(newest - before, before))


def lowest_worth_sending(
    reference: Decimal, rise: Decimal, settings: UserSettings, *, patient: bool
) -> Decimal:
    """The lowest price at which the guard may let the BUY stand and it can still be expected to fill.

    Below the ask it would only sit out its timeout. The ask is not seen, last trades are: it is
    taken a fortieth of the offset above them, and as much higher as the price just rose. Whoever
    has waited for a fill timeout already settles for the reference (architecture 6).
    """
    spread = max(ZERO, settings.buy_offset_percentage) / 40 if patient else ZERO
    return money.plus_percent(reference, spread + rise)


def progress(counted: Decimal, target: Decimal) -> str:
    """Percent of the target, truncated to two decimals: 7.535 is "7.53%" (product 4)."""
    share = money.percent_of(counted, target).quantize(Decimal("0.01"), rounding=ROUND_FLOOR)
    return f"{share:f}%"

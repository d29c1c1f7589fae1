"""What a planned round costs: not at its limits, but where its orders are expected to fill. Pure.

A limit that lies beyond the market fills at the market: the BUY, a little above the last trade, at the
ask, and a SELL below the bid at the bid. Only a SELL above the market fills at its own price, some time;
until then its base is inventory, stands at what it cost, and the fee of the BUY is all that was spent
(product 2).
"""

from dataclasses import dataclass
from decimal import Decimal

from otopilot import money
from otopilot.money import ZERO

ASSUMED = (
    "cost is reckoned with every BUY filled at once at the last price, a SELL below it at the last price,"
    " a SELL above it at its own price; without retries, re-pricing, or a discount for fees in a third asset"
)


@dataclass(frozen=True, slots=True)
class RoundCost:
    """Of one round, in quote: its fees and its cost with the SELL filled; its cost while that rests."""

    fees: Decimal
    cost: Decimal
    resting: Decimal  # the same as cost where the SELL does not rest


def round_cost(
    *,
    price: Decimal,
    spread: Decimal,
    buy: Decimal,
    sell: Decimal,
    quantity: Decimal,
    sold: Decimal,
    fee_rate: Decimal,
) -> RoundCost:
    """Of a BUY and its SELL at these limits, beside a last trade at price.

    spread is the distance of ask and bid in percent, half of it on either side of the last trade.
    """
    ask, bid = money.plus_percent(price, spread / 2), money.plus_percent(price, -spread / 2)
    bought_at, sold_at = min(buy, ask), max(sell, bid)
    fee_of_buy = quantity * bought_at * fee_rate
    fees = fee_of_buy + sold * sold_at * fee_rate
    cost = fees + sold * (bought_at - sold_at)
    return RoundCost(fees=fees, cost=cost, resting=fee_of_buy if sell > bid else cost)


def spread_note(spread: Decimal) -> str:
    """What the plan takes ask and bid for."""
    if spread == ZERO:
        return "ask and bid are taken to be the last price (--spread tells their distance in percent)"
    return f"ask and bid are taken to lie {money.text(spread)} % apart around the last price"

"""Single SELLs: the residual, and the inventory at the end of a flatten. Pure.

A residual is base bought and covered by no SELL. From 1.05 minimum notionals on it is sold
after the end of a round and before the next one; below that it is dust, kept and reported
(product 3.7).
"""

from decimal import Decimal

from otopilot import money
from otopilot.order import Purpose
from otopilot.quote import Quote
from strategy_service.prices import flatten_sale, residual_sale
from strategy_service.reasons import Reason
from strategy_service.state import Condition, Denied, PlaceSell, StopMode, Waiting
from strategy_service.turn import Turn

_GUARD_SECONDS = 0.2
# Denials that pass by themselves: code and seconds until it is asked again.
_SOON = {
    "DENIED_GUARD": (Reason.GUARD, _GUARD_SECONDS),
    "STALE_OWNER": (Reason.OWNER, 0.5),
    "RATE_LIMIT": (Reason.RATE_LIMIT, 0.5),
}
_MOST_SOON = 5  # in a row; then rounds go on and it is tried again later
_LATER_SECONDS = 10.0


def sell_residual(turn: Turn) -> bool:
    """Ask for the residual's SELL; false when there is none to sell now."""
    standing = turn.state.standing
    if standing is None or turn.now < turn.state.sell_not_before:
        return False
    position = standing.position
    profit = turn.settings.sell_profit_percentage
    sale = residual_sale(position.uncovered, position.average_cost, profit, turn.rules.instrument)
    if sale is None:
        return False
    quantity, price = sale
    place(turn, Purpose.RESIDUAL, quantity, price)
    return True


def flatten(turn: Turn) -> bool:
    """Sell the whole inventory near the market; true when there is nothing more to do."""
    state, quote = turn.state, turn.moment.quote
    assert state.standing is not None
    if state.flattened is not None and state.flattened.is_over:
        return True
    if state.flattened is not None:
        turn.wait(Reason.FLATTEN, f"SELL of the inventory, order {state.flattened.order_id}")
        return False
    if turn.now < state.sell_not_before:
        turn.wait(Reason.FLATTEN, "the SELL of the inventory was denied: asking again")
        return False
    if not is_young(turn, quote):
        return False
    assert quote is not None
    uncovered = state.standing.position.uncovered
    sale = flatten_sale(uncovered, quote.price, turn.settings, turn.rules.instrument)
    if sale is None:
        return True
    quantity, price = sale
    place(turn, Purpose.FLATTEN, quantity, price, reference=quote)
    return False


def place(
    turn: Turn,
    purpose: Purpose,
    quantity: Decimal,
    price: Decimal,
    *,
    step: int = 0,
    reference: Quote | None = None,
) -> None:
    """Ask for a single SELL, as the next placement of the cycle."""
    cycle = max(turn.state.cycle, 1)
    turn.set(cycle=cycle)
    placement = PlaceSell(
        request_id=turn.request_id(cycle, turn.state.try_number),
        cycle=cycle,
        try_number=turn.state.try_number,
        step=step,
        purpose=purpose,
        quantity=quantity,
        price=price,
        reference=reference,
    )
    what = f"SELL {money.text(quantity)} at {money.text(price)} ({purpose.value})"
    turn.place(placement, Waiting(Reason(purpose.value), what))


def denied(turn: Turn, news: Denied) -> None:
    """No SELL was placed: the guard is asked again soon, anything else later."""
    if turn.state.stop is StopMode.FLATTEN:
        turn.set(sell_not_before=turn.now + _GUARD_SECONDS, fresh=False)
        turn.wait(Reason.FLATTEN, news.message)
        return
    denials = turn.state.sell_denials + 1
    turn.set(sell_denials=denials)
    if news.reason in _SOON and denials <= _MOST_SOON:
        code, seconds = _SOON[news.reason]
        turn.set(not_before=turn.now + seconds)
        turn.wait(code, f"SELL: {news.message}", turn.state.not_before, blocking=blocking_price(news))
        return
    # The base stays in the books as residual; the next rounds do not wait for it.
    turn.set(sell_denials=0, sell_not_before=turn.now + _LATER_SECONDS, fresh=False, repricing=None)
    turn.wait(Reason.RESIDUAL, f"residual SELL: {news.message}", None, Condition.BLOCKED)


def blocking_price(news: Denied) -> Decimal | None:
    """The price of the order in the way, when the guard named it."""
    price = news.metadata.get("blocking_price")
    return money.parse(price) if price else None


def is_young(turn: Turn, quote: Quote | None) -> bool:
    """May this price be traded on? If not, that is what is waited for (product 3.3)."""
    again = turn.now + 0.5
    if not turn.moment.market_up:
        text = "market service cannot be reached: trading goes on when it is back"
        turn.wait(Reason.MARKET_UNREACHABLE, text, again, Condition.BLOCKED)
        return False
    if quote is None:
        turn.wait(Reason.PRICE, "the first price", again)
        return False
    age = quote.age(turn.moment.at).total_seconds()
    limit = float(turn.settings.max_quote_age_seconds)
    if age > limit:
        text = f"the price was confirmed {age:.1f} s ago, the limit is {limit:g} s"
        turn.wait(Reason.STALE_PRICE, text, turn.now + 0.2, _condition(age > 2 * limit))
        return False
    return True


def _condition(blocked: bool) -> Condition:
    return Condition.BLOCKED if blocked else Condition.RUNNING

"""What an account would have open with a new order, for the filters that count (binance-spot 2.3). Pure.

Counted is what the venue surely has: our legs that it confirmed, and foreign orders as far as they were
seen. What is in flight or in doubt may not exist there, so that the venue itself decides about it.
"""

from collections.abc import Iterable, Iterator
from decimal import Decimal

from order_service.asking import Ask, Circumstances
from order_service.books import Books
from order_service.ledger import AccountKey
from otopilot.instrument import Side, Standing
from otopilot.leg import Leg, LegStatus
from otopilot.money import ZERO

_OPEN = frozenset({LegStatus.OPEN, LegStatus.PENDING})


def standing_with(books: Books, ask: Ask, known: Circumstances) -> Standing:
    """The account's standing with the order asked for; what nothing limits is not counted."""
    rules, paired = known.instrument, ask.pending_price is not None
    orders, lists = 1 + paired, int(paired)
    here = everywhere = (0, 0)
    if rules.max_num_orders or rules.max_num_order_lists:
        here = _counts(books, [ask.account])
    if rules.exchange_max_num_orders or rules.exchange_max_num_order_lists:
        everywhere = _counts(books, _accounts_of(books, ask))
    position = None
    if rules.max_position is not None and known.held_base is not None and ask.side is Side.BUY:
        position = known.held_base + _still_to_buy(books, ask.account) + ask.quantity
    return Standing(
        as_list=paired,
        orders=here[0] + orders,
        # A single order is never refused for its account's lists.
        lists=here[1] + lists if lists else 0,
        every_order=everywhere[0] + orders,
        every_list=everywhere[1] + lists if lists else 0,
        position=position,
    )


def _accounts_of(books: Books, ask: Ask) -> set[AccountKey]:
    """The user's account on each symbol of the venue."""
    own = {
        account
        for account in books.by_account
        if (account.user_id, account.venue) == (ask.user_id, ask.venue)
    }
    foreign = books.guard.foreign_markets(ask.venue, ask.user_id)
    return own | {AccountKey(ask.user_id, ask.venue, symbol) for _, symbol in foreign}


def _counts(books: Books, accounts: Iterable[AccountKey]) -> tuple[int, int]:
    """Open orders, each leg for itself, and open lists."""
    orders = lists = 0
    for account in accounts:
        for order in books.live_orders(account):
            legs = sum(_is_open(leg) for leg in order.legs)
            orders += legs
            lists += bool(legs) and order.pending is not None
        claims = books.guard.foreign_of((account.venue, account.symbol), account.user_id)
        orders += len(claims)
        lists += len({claim.list_id for claim in claims if claim.list_id is not None})
    return orders, lists


def _still_to_buy(books: Books, account: AccountKey) -> Decimal:
    return sum(_open_buys(books, account), ZERO)


def _open_buys(books: Books, account: AccountKey) -> Iterator[Decimal]:
    for order in books.live_orders(account):
        if order.buy is not None and _is_open(order.buy):
            yield order.buy.unfilled
    for claim in books.guard.foreign_of((account.venue, account.symbol), account.user_id):
        if claim.bid is not None:
            yield claim.unfilled


def _is_open(leg: Leg) -> bool:
    return leg.status in _OPEN and leg.venue_order_id is not None

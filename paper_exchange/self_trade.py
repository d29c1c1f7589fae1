"""Self-trade prevention: the taker's mode decides who gives way (binance-spot 9).

Pure decisions over records; engine.py carries them out.
"""

from paper_exchange.model import Account, Order, PreventedMatch
from paper_exchange.numbers import ZERO

MAKER_ENDS = ("EXPIRE_MAKER", "EXPIRE_BOTH")
TAKER_ENDS = ("EXPIRE_TAKER", "EXPIRE_BOTH")


def is_prevented(taker: Order, taker_owner: Account, maker_owner: Account) -> bool:
    """Whether these two may not trade: one account, or one trade group, and a mode against it."""
    same_group = taker_owner.trade_group != -1 and taker_owner.trade_group == maker_owner.trade_group
    return taker.stp != "NONE" and (taker_owner is maker_owner or same_group)


def ending(taker: Order, maker: Order) -> list[Order]:
    """The orders that end by it, the maker first."""
    ends = [maker] if taker.stp in MAKER_ENDS else []
    return [*ends, taker] if taker.stp in TAKER_ENDS else ends


def prevented_match(taker: Order, maker: Order, prevented_id: int, now_ms: int) -> PreventedMatch:
    """What the venue remembers of it; zero for a side that goes on."""
    return PreventedMatch(
        prevented_id=prevented_id,
        taker_order_id=taker.order_id,
        maker_order_id=maker.order_id,
        price=maker.price,
        taker_quantity=taker.open_quantity if taker.stp in TAKER_ENDS else ZERO,
        maker_quantity=maker.open_quantity if taker.stp in MAKER_ENDS else ZERO,
        mode=taker.stp,
        time_ms=now_ms,
    )

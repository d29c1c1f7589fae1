"""The oracle: did managed accounts trade with one another?

Counts matches whose two sides belong to orders of accounts marked `managed`, the same account's
included. It reads fills only, so it can be rebuilt from disk and checked by anybody.
"""

from collections.abc import Iterable

from paper_exchange.accounts import Accounts
from paper_exchange.model import Fill, Order


class Oracle:
    """Owns the count and remembers the matches for the report (the newest hundred)."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self.matches = 0
        self.newest: list[dict[str, object]] = []

    def replay(self, fills: Iterable[Fill], orders: dict[int, Order]) -> None:
        """Count saved fills; each match has a taker's fill with the maker's order in it."""
        for fill in fills:
            if fill.counter_order_id is not None and not fill.maker:
                self.see(fill, orders[fill.counter_order_id].account)

    def see(self, taker: Fill, maker_account: str) -> None:
        """Judge one match by its taker's fill."""
        sides = (taker.account, maker_account)
        if not all(self._accounts.owner(key).managed for key in sides):
            return
        self.matches += 1
        self.newest = [
            *self.newest[-99:],
            {
                "symbol": taker.symbol,
                "match_id": taker.match_id,
                "taker": {"account": taker.account, "order_id": taker.order_id},
                "maker": {"account": maker_account, "order_id": taker.counter_order_id},
                "price": str(taker.price),
                "quantity": str(taker.quantity),
            },
        ]

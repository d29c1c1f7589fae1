"""What an account must hold, worked out from its trades and its open orders alone.

Takes nothing of the paper exchange's balances after the first look: coins move by trades, locks stand
for what rests, and whatever the account then says is compared to the last digit.
"""

from collections import defaultdict
from decimal import Decimal
from typing import Any, NamedTuple

from tests.clients.traders import Row, Trader

# base and quote of what is traded here; both fees are a thousandth of what a trade delivers.
SYMBOLS = {"BTCUSDT": ("BTC", "USDT"), "BNBUSDT": ("BNB", "USDT")}
FEE = Decimal("0.001")
UNIT = Decimal("0.00000001")
OPEN = {"NEW", "PARTIALLY_FILLED", "PENDING_NEW"}


class Fill(NamedTuple):
    """One side of a trade."""

    amount: Decimal
    price: Decimal
    paid: Decimal
    fee: Decimal
    buys: bool
    maker: bool

    @classmethod
    def read(cls, row: Row) -> "Fill":
        amounts = (Decimal(row[key]) for key in ("qty", "price", "quoteQty", "commission"))
        return cls(*amounts, buys=row["isBuyer"], maker=row["isMaker"])


# Trades by symbol and id, as the account saw them that read them first.
Meetings = dict[tuple[str, int], Fill]


class Books:
    """One account's books."""

    def __init__(self, trader: Trader, meetings: Meetings) -> None:
        self._trader = trader
        self._meetings = meetings
        self._next = dict.fromkeys(SYMBOLS, 0)
        self._fills: dict[int, list[Fill]] = defaultdict(list)
        self.coins = {row["asset"]: Decimal(row["free"]) for row in trader.account()["balances"]}
        self.open: dict[int, Row] = {}
        # Trades with another account of this test.
        self.met = 0

    def learn(self, answer: Any) -> None:
        """Note which orders an answer says are open now, and which are not any more."""
        for report in _reports(answer):
            if report["status"] in OPEN:
                self.open[int(report["orderId"])] = report
            else:
                self.open.pop(int(report["orderId"]), None)

    def settle(self, symbol: str) -> None:
        """The account must hold what is expected; if it does not, new trades must be the reason.

        Every trade and every order that begins or ends moves a balance, so nothing hides from this.
        """
        if self._differences():
            self._read(symbol)
            assert self._differences() == []

    def _read(self, symbol: str) -> None:
        """Enter new trades of a symbol, then see which orders are left."""
        for row in self._trader.trades(symbol, self._next[symbol]):
            self._next[symbol] = int(row["id"]) + 1
            self._enter(row)
        now = {int(row["orderId"]): row for row in self._trader.open_orders()}
        for order_id in self.open.keys() - now.keys():
            report = self._trader.order(self.open[order_id]["symbol"], order_id)
            assert report["status"] not in OPEN, report
            self._check_order(report)
        self.open = now
        for row in now.values():
            assert row["status"] in OPEN, row
            self._check_order(row)

    def _enter(self, row: Row) -> None:
        fill = Fill.read(row)
        base, quote = SYMBOLS[row["symbol"]]
        delivered = fill.amount if fill.buys else fill.paid
        assert fill.paid == fill.amount * fill.price, row
        assert row["commissionAsset"] == (base if fill.buys else quote), row
        assert abs(delivered * FEE - fill.fee) < UNIT, row
        sign = 1 if fill.buys else -1
        self.coins[base] += sign * fill.amount
        self.coins[quote] -= sign * fill.paid
        self.coins[row["commissionAsset"]] -= fill.fee
        self._fills[int(row["orderId"])].append(fill)
        other = self._meetings.setdefault((row["symbol"], int(row["id"])), fill)
        if other is not fill:
            self.met += 1
            assert (other.price, other.amount) == (fill.price, fill.amount), row
            assert (other.buys, other.maker) == (not fill.buys, not fill.maker), row

    def _check_order(self, report: Row) -> None:
        """What an order says it got is the sum of its trades, none of them against its terms."""
        fills = self._fills[int(report["orderId"])]
        got, wanted = Decimal(report["executedQty"]), Decimal(report.get("origQty", 0))
        assert got == sum(fill.amount for fill in fills), report
        assert Decimal(report["cummulativeQuoteQty"]) == sum(fill.paid for fill in fills), report
        assert (report["status"] == "FILLED") == (got == wanted > 0), report
        assert report["status"] != "PARTIALLY_FILLED" or 0 < got < wanted, report
        assert report["timeInForce"] != "FOK" or got in (0, wanted), report
        assert report["type"] != "LIMIT_MAKER" or all(fill.maker for fill in fills), report
        if report["type"] != "MARKET":
            limit, buys = Decimal(report["price"]), report["side"] == "BUY"
            assert all(fill.price <= limit if buys else fill.price >= limit for fill in fills), report

    def _differences(self) -> list[str]:
        """Coins whose free or locked amount is not what it must be, to the last digit."""
        locked = self._locked()
        found = []
        for row in self._trader.account()["balances"]:
            asset, held = row["asset"], (Decimal(row["free"]), Decimal(row["locked"]))
            must = (self.coins[asset] - locked[asset], locked[asset])
            if held != must:
                found.append(f"{asset}: free and locked are {held} and must be {must}")
        return found

    def _locked(self) -> dict[str, Decimal]:
        locked: dict[str, Decimal] = defaultdict(Decimal)
        for row in self.open.values():
            base, quote = SYMBOLS[row["symbol"]]
            if row["status"] == "PENDING_NEW":
                # An OPO's SELL has no size yet, and what its BUY has delivered is kept for it.
                locked[base] += Decimal(0) if "origQty" in row else self._received(row["orderListId"])
                continue
            left = Decimal(row["origQty"]) - Decimal(row["executedQty"])
            if row["side"] == "BUY":
                locked[quote] += left * Decimal(row["price"])
            else:
                locked[base] += left
        return locked

    def _received(self, list_id: Any) -> Decimal:
        legs = [order_id for order_id, row in self.open.items() if row["orderListId"] == list_id]
        return sum((fill.amount - fill.fee for leg in legs for fill in self._fills[leg]), Decimal(0))

    def check_history(self) -> set[str]:
        """At the end: every order there ever was agrees with its trades. The statuses they are in."""
        for symbol in SYMBOLS:
            self._read(symbol)
        assert self._differences() == []
        rows = [row for symbol in SYMBOLS for row in self._trader.orders(symbol)]
        for row in rows:
            self._check_order(row)
        assert self._fills.keys() <= {int(row["orderId"]) for row in rows}
        return {row["status"] for row in rows}


def _reports(answer: Any) -> list[Row]:
    """The orders in an answer: to an order, a list, a replacement or a cancelling of many."""
    if isinstance(answer, list):
        return [report for row in answer for report in _reports(row)]
    if "newOrderResponse" in answer:
        return _reports([answer["cancelResponse"], answer["newOrderResponse"]])
    return answer.get("orderReports", [answer])

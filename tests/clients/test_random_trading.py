"""Two accounts, one by ccxt and one by python-binance, trade at random; the books hold after every step.

They trade with each other and with a house that quotes once and then stands still, so nothing moves
but by what they do.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import ccxt
import pytest

from tests.clients.binance_desk import connected
from tests.clients.books import SYMBOLS, Books, Meetings
from tests.clients.ccxt_desk import connect
from tests.clients.traders import CcxtTrader, PythonBinanceTrader, Refusal, Row, Trader
from tests.clients.venue import PRICES, Venue, running

OPERATIONS = 2000
SEED = 20261120
STEPS = {"BTCUSDT": Decimal("0.00001"), "BNBUSDT": Decimal("0.001")}
TICK = Decimal("0.01")
# Refusals that random orders earn; any other is a defect.
EARNED = {-1013, -2010, -2011, -2021, -2022}


@pytest.fixture(scope="module")
def still_venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    limits = {"weight_limit_per_minute": 10**7, "order_limit_10s": 10**5}
    with running(tmp_path_factory.mktemp("still"), still=True, **limits) as venue:
        yield venue


class RandomTrader:
    """Does one random thing after another with one account."""

    def __init__(self, trader: Trader, books: Books, dice: random.Random) -> None:
        self.trader = trader
        self.books = books
        self._dice = dice
        self.done: Counter[str] = Counter()

    def act(self) -> str:
        """Do one thing; the symbol it was done on."""
        acts: list[tuple[Callable[[str], Any], int]] = [
            (self._limit, 30),
            (self._at_once, 12),
            (self._market, 10),
            (self._oto, 12),
            (self._cancel, 14),
            (self._replace, 8),
            (self._too_much, 4),
            (self._cancel_all, 1),
        ]
        if isinstance(self.trader, CcxtTrader):
            acts.append((self._opo, 6))
        act = self._dice.choices([one for one, _ in acts], [weight for _, weight in acts])[0]
        symbol = self._dice.choice(list(SYMBOLS))
        answer = act(symbol)
        if isinstance(answer, Refusal):
            assert answer.code in EARNED, answer
            self.done[f"refused {answer.code}"] += 1
        else:
            self.books.learn(answer)
            self.done[act.__name__.strip("_")] += 1
        return symbol

    def _price(self, symbol: str, spread: float = 0.0004) -> str:
        price = Decimal(PRICES[symbol] * (1 + self._dice.gauss(0, spread)))
        return str(price.quantize(TICK))

    def _quantity(self, symbol: str) -> str:
        amount = Decimal(self._dice.uniform(10, 600) / PRICES[symbol])
        return str((amount // STEPS[symbol]) * STEPS[symbol])

    def _side(self) -> str:
        return self._dice.choice(("BUY", "SELL"))

    def _terms(self, symbol: str, kind: str = "LIMIT", **more: str) -> Row:
        terms = {"symbol": symbol, "side": self._side(), "type": kind, "newOrderRespType": "FULL"}
        return terms | {"quantity": self._quantity(symbol)} | more

    def _limit(self, symbol: str) -> Any:
        if self._dice.random() < 0.2:
            return self.trader.place(self._terms(symbol, "LIMIT_MAKER", price=self._price(symbol)))
        modes = ("NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH")
        mode = {"selfTradePreventionMode": self._dice.choice(modes[1:])} if self._dice.random() < 0.5 else {}
        return self.trader.place(self._terms(symbol, price=self._price(symbol), timeInForce="GTC", **mode))

    def _at_once(self, symbol: str) -> Any:
        force = self._dice.choice(("IOC", "FOK"))
        return self.trader.place(self._terms(symbol, price=self._price(symbol), timeInForce=force))

    def _market(self, symbol: str) -> Any:
        terms = self._terms(symbol, "MARKET")
        if self._dice.random() < 0.5:
            del terms["quantity"]
            terms["quoteOrderQty"] = str(self._dice.randint(1000, 60000) / Decimal(100))
        return self.trader.place(terms)

    def _list(self, symbol: str) -> Row:
        force = self._dice.choice(("GTC", "GTC", "GTC", "IOC", "FOK"))
        quantity = self._quantity(symbol)
        return {
            "symbol": symbol,
            "workingType": "LIMIT",
            "workingSide": "BUY",
            "workingPrice": self._price(symbol),
            "workingQuantity": quantity,
            "workingTimeInForce": force,
            "pendingType": "LIMIT",
            "pendingSide": "SELL",
            "pendingPrice": self._price(symbol),
            "pendingQuantity": quantity,
            "pendingTimeInForce": "GTC",
            "newOrderRespType": "FULL",
        }

    def _oto(self, symbol: str) -> Any:
        terms = self._list(symbol)
        if self._dice.random() < 0.3:
            terms |= {"workingSide": "SELL", "pendingSide": "BUY"}
        elif self._dice.random() < 0.2:
            # More than there will be: refused when its turn comes.
            terms |= {"pendingQuantity": str(Decimal(9000 if symbol == "BTCUSDT" else 90000))}
            terms |= {"pendingPrice": str(PRICES[symbol])}
        return self.trader.place_oto(terms)

    def _opo(self, symbol: str) -> Any:
        assert isinstance(self.trader, CcxtTrader)
        terms = self._list(symbol)
        del terms["pendingQuantity"]
        return self.trader.place_opo(terms)

    def _cancel(self, symbol: str) -> Any:
        mine = [row for row in self.books.open.values() if row["symbol"] == symbol]
        if not mine:
            return self.trader.cancel(symbol, 7)
        row = self._dice.choice(mine)
        if int(row["orderListId"]) != -1 and self._dice.random() < 0.5:
            return self.trader.cancel_list(symbol, int(row["orderListId"]))
        return self.trader.cancel(symbol, int(row["orderId"]))

    def _replace(self, symbol: str) -> Any:
        mine = [row for row in self.books.open.values() if row["symbol"] == symbol]
        order_id = int(self._dice.choice(mine)["orderId"]) if mine else 7
        mode = self._dice.choice(("STOP_ON_FAILURE", "ALLOW_FAILURE"))
        swap = {"cancelReplaceMode": mode, "cancelOrderId": str(order_id)}
        terms = self._terms(symbol, price=self._price(symbol), timeInForce="GTC", **swap)
        return self.trader.replace(terms)

    def _too_much(self, symbol: str) -> Any:
        terms = self._terms(symbol, price=str(PRICES[symbol]), timeInForce="GTC")
        return self.trader.place(terms | {"quantity": "80"})

    def _cancel_all(self, symbol: str) -> Any:
        return self.trader.cancel_all(symbol)


# Ten seconds of an idle machine.
@pytest.mark.timeout(300)
def test_two_thousand_random_operations_leave_every_book_right(still_venue: Venue) -> None:
    dice = random.Random(SEED)
    first, second = (still_venue.open_account(btc="1") for _ in range(2))
    for keys in (first, second):
        still_venue.deposit(keys.user_id, "BNB", "50")
    exchange = connect(ccxt.binance, still_venue, first)
    meetings: Meetings = {}
    with connected(still_venue, second) as client:
        traders: list[Trader] = [CcxtTrader(exchange, first), PythonBinanceTrader(client, second)]
        pair = [RandomTrader(trader, Books(trader, meetings), dice) for trader in traders]
        for _ in range(OPERATIONS):
            symbol = dice.choice(pair).act()
            for one in pair:
                one.books.settle(symbol)
        statuses = [one.books.check_history() for one in pair]
    exchange.close()
    # It was no idle run.
    assert len(meetings) > 500
    assert pair[0].books.met + pair[1].books.met > 20
    assert all(
        one.done[kind] > 20 for one in pair for kind in ("limit", "market", "oto", "cancel", "replace")
    )
    assert all(seen >= {"FILLED", "CANCELED", "EXPIRED", "EXPIRED_IN_MATCH"} for seen in statuses)

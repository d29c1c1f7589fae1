"""Alpha's private interface: place, cancel, orders, trades, balances (binance-alpha 3.2 to 3.8).

Each method takes the session's account and what was sent, and returns the envelope's data.
Raises ParameterError for a malformed request and Refused for the exchange's definite no.
"""

from decimal import Decimal
from typing import Any

from paper_exchange.accounts import free_of, locked_of
from paper_exchange.alpha_errors import ParameterError
from paper_exchange.alpha_public import Query, whole
from paper_exchange.alpha_rows import Row, order_row, trade_row, wallet_row
from paper_exchange.exchange import Exchange
from paper_exchange.market import Market
from paper_exchange.model import Account, NewList, NewOrder, Order, Refusal, Refused, Side, Status
from paper_exchange.numbers import ZERO, amount, cut, product, text

Body = dict[str, Any]

HISTORY = ("FILLED", "PARTIALLY_FILLED", "EXPIRED", "CANCELED", "REJECTED")


class AlphaPrivate:
    """The session interface over the exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._settings = exchange.state.config.alpha

    # Placing.

    def place_order(self, account: Account, body: Body) -> str:
        """The order id, a string."""
        if body.get("orderType", "LIMIT") != "LIMIT":
            raise ParameterError("Unsupported order type.")
        terms = self._terms(body, _side(body, "side"), "price", "quantity")
        self._check_payment(body, terms, "price*quantity")
        return str(self._exchange.place(account, terms).order_id)

    def place_oto(self, account: Account, body: Body) -> Row:
        """Both order ids, integers; the pending leg is sized when the working leg has filled."""
        if body.get("pendingType", "LIMIT") != "LIMIT":
            raise ParameterError("Unsupported order type.")
        side = _side(body, "workingSide")
        working = self._terms(body, side, "workingPrice", "workingQuantity")
        self._check_payment(body, working, "workingPrice*workingQuantity")
        pending = NewOrder(
            symbol=working.symbol,
            side="SELL" if side == "BUY" else "BUY",
            price=self._amount(body, "pendingPrice"),
            quantity=ZERO,
            client_id=self._client_id(),
        )
        placed = self._exchange.place_list(account, NewList("OTO", working, pending))
        return {"workingOrderId": placed.working.order_id, "pendingOrderId": placed.pending.order_id}

    def _terms(self, body: Body, side: Side, price: str, quantity: str) -> NewOrder:
        symbol = f"{_string(body, 'baseAsset')}{_string(body, 'quoteAsset')}"
        self._exchange.market(symbol, "alpha")
        return NewOrder(
            symbol=symbol,
            side=side,
            price=self._amount(body, price),
            quantity=self._amount(body, quantity),
            client_id=self._client_id(),
        )

    def _client_id(self) -> str:
        return f"web_{self._exchange.mint_hex(32)}"

    def _amount(self, body: Body, name: str) -> Decimal:
        raw = body.get(name)
        form = self._settings.amounts_as
        if form != "both" and isinstance(raw, str) != (form == "string"):
            raise ParameterError(f"Illegal parameter {name}.")
        try:
            value = amount(raw)
        except ValueError as error:
            raise ParameterError(f"Illegal parameter {name}.") from error
        if value <= 0:
            raise ParameterError(f"Illegal parameter {name}.")
        return value

    def _check_payment(self, body: Body, terms: NewOrder, formula: str) -> None:
        """A BUY names the quote amount from the funding wallet, a SELL the base quantity."""
        details = body.get("paymentDetails")
        if not isinstance(details, list) or not details:
            raise ParameterError("Mandatory parameter 'paymentDetails' was not sent.")
        wallet = "CARD" if terms.side == "BUY" else "ALPHA"
        paid = ZERO
        for detail in details:
            if not isinstance(detail, dict) or detail.get("paymentWalletType") != wallet:
                raise ParameterError("Illegal parameter paymentWalletType.")
            try:
                paid += amount(detail.get("amount"))
            except ValueError as error:
                raise ParameterError("Illegal parameter paymentDetail.amount.") from error
        expected = terms.quantity
        if terms.side == "BUY":
            expected = cut(product(terms.price, terms.quantity), 8)
        if paid != expected:
            raise ParameterError(f"{formula} must be the same as sum(paymentDetail.amount)")

    # Cancelling.

    def cancel_order(self, account: Account, body: Body) -> None:
        raw = body.get("orderId")
        order_id = str(raw) if isinstance(raw, str | int) and not isinstance(raw, bool) else ""
        order = self._find(account, order_id, _string(body, "symbol"))
        self._exchange.cancel(order)

    def cancel_all(self, account: Account, _: Body) -> None:
        self._exchange.cancel_all(account)

    def _find(self, account: Account, order_id: str, symbol: str) -> Order:
        if not order_id.isascii() or not order_id.isdigit() or len(order_id) > 18:
            raise ParameterError("Illegal parameter orderId.")
        order = self._exchange.order(account, int(order_id))
        if order is None or symbol not in ("", order.symbol):
            raise Refused(Refusal.UNKNOWN_ORDER)
        return order

    # Orders and trades.

    def _row(self, order: Order) -> Row:
        state = self._exchange.state
        order_list = state.lists[order.list_id] if order.list_id is not None else None
        return order_row(order, order_list, state.markets[order.symbol].instrument)

    def open_orders(self, account: Account, query: Query) -> list[Row]:
        """All open orders, untriggered legs included, newest first."""
        orders = self._exchange.open_orders(account, query.get("symbol") or None)
        side = query.get("side") or None
        return [self._row(order) for order in reversed(orders) if side in (None, order.side)]

    def history(self, account: Account, query: Query) -> tuple[list[Row], int]:
        """One page, newest first, and how many there are in all."""
        page, rows = whole(query, "page", 1), whole(query, "rows", 50, self._settings.max_rows)
        if page < 1 or rows < 1:
            raise ParameterError("Illegal parameter page.")
        wanted = (query.get("orderStatus") or ",".join(HISTORY)).split(",")
        if any(status not in HISTORY for status in wanted):
            raise ParameterError("Illegal parameter orderStatus.")
        since, until = whole(query, "startTime", 0), whole(query, "endTime", 10**15)
        base, side = query.get("baseAsset") or None, query.get("side") or None
        updated = self._settings.history_time == "updated"
        statuses, found = _statuses(wanted), []
        for order in reversed(self._exchange.state.by_account[account.key]):
            time_ms = order.updated_ms if updated else order.created_ms
            if not updated and time_ms < since:
                break
            if order.status not in statuses or not since <= time_ms <= until:
                continue
            instrument = self._exchange.state.markets[order.symbol].instrument
            if base in (None, instrument.base) and side in (None, order.side):
                found.append(order)
        start = (page - 1) * rows
        return [self._row(order) for order in found[start : start + rows]], len(found)

    def user_trades(self, account: Account, query: Query) -> list[Row]:
        """Fills of an order, or of a symbol, newest first."""
        symbol = query.get("symbol") or ""
        if query.get("orderId"):
            order = self._find(account, query["orderId"], symbol)
            fills = self._exchange.state.fills_of_order[order.order_id]
        else:
            fills = self._exchange.state.fills_of_account[account.key]
        since, until = whole(query, "startTime", 0), whole(query, "endTime", 10**15)
        limit = whole(query, "limit", 500, 1000)
        rows = [
            trade_row(fill, self._exchange.state.markets[fill.symbol].instrument)
            for fill in reversed(self._exchange.conditions.told_fills(account, fills, "user_trades"))
            if symbol in ("", fill.symbol) and since <= fill.time_ms <= until
        ]
        return rows[:limit]

    def order_detail(self, account: Account, query: Query) -> Row:
        return self._row(self._find(account, query.get("orderId", ""), query.get("symbol", "")))

    # Money.

    def alpha_wallet(self, account: Account, _: Query) -> Row:
        """The Alpha tokens the account has ever held."""
        held = [m for m in self._markets() if m.instrument.base in account.free]
        rows = [wallet_row(account, market) for market in held]
        rows = [row for row in rows if row["amount"] != "0"]
        total = sum((Decimal(row["valuation"]) for row in rows), ZERO)
        return {"totalValuation": text(total), "list": rows}

    def wallet_asset(self, account: Account, body: Body) -> list[Row]:
        """Quote money: all of it stands in the funding wallet, which pays for BUYs."""
        if "CARD" not in body.get("includeWallets", ["CARD"]):
            return []
        return [
            {
                "asset": asset,
                "coinBusinessType": "CRYPTO",
                "spot": None,
                "funding": {
                    "free": _money(free_of(account, asset)),
                    "locked": _money(locked_of(account, asset)),
                    "freeze": "0",
                    "withdrawing": "0",
                },
                "earn": None,
            }
            for asset in self._quote_assets(account)
        ]

    def wallet_overview(self, account: Account, _: Query) -> list[Row]:
        rows = []
        for asset in self._quote_assets(account):
            held = free_of(account, asset) + locked_of(account, asset)
            rows.append(_overview_row(asset, held, held))
        for market in self._markets():
            instrument, token = market.instrument, market.instrument.token
            held = free_of(account, instrument.base) + locked_of(account, instrument.base)
            if held and token is not None:
                place = (token.chain_id, token.contract_address)
                rows.append(_overview_row(token.ticker, held, held * market.last_price, place))
        return rows

    def wallet_balance(self, account: Account, _: Query) -> list[Row]:
        """The accounts a user has at the venue; quote money is in the funding account."""
        held = [
            {
                "asset": asset,
                "free": _money(free_of(account, asset)),
                "locked": _money(locked_of(account, asset)),
                "freeze": "0",
                "withdrawing": "0",
            }
            for asset in self._quote_assets(account)
        ]
        return [
            {"accountType": "CARD", "assetBalances": held},
            {"accountType": "MAIN", "assetBalances": []},
        ]

    def terms_agreed(self, _: Account, __: Query) -> bool:
        """Whoever has an account here has accepted the terms."""
        return True

    def listen_key(self, account: Account, _: Body) -> str:
        """The account's key, prolonged; a fresh one once it has run out."""
        now = self._exchange.now_ms
        if not account.listen_key or account.listen_key_until_ms <= now:
            account.listen_key = self._exchange.mint_hex(32).upper()
        account.listen_key_until_ms = now + self._settings.listen_key_seconds * 1000
        self._exchange.save_account(account)
        return account.listen_key

    def _markets(self) -> list[Market]:
        every = self._exchange.state.markets.values()
        return [market for market in every if market.instrument.venue == "alpha"]

    def _quote_assets(self, account: Account) -> list[str]:
        tokens = {market.instrument.base: None for market in self._markets()}
        return [asset for asset in account.free if asset not in tokens]


def _statuses(wanted: list[str]) -> frozenset[Status]:
    """Ours for the venue's, which does not tell a prevented self-trade from another expiry."""
    found = [Status(name) for name in wanted]
    return frozenset([*found, Status.EXPIRED_IN_MATCH] if Status.EXPIRED in found else found)


def _side(body: Body, name: str) -> Side:
    side = body.get(name)
    if side == "BUY":
        return "BUY"
    if side == "SELL":
        return "SELL"
    raise ParameterError(f"Illegal parameter {name}.")


def _string(body: Body, name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise ParameterError(f"Mandatory parameter '{name}' was not sent.")
    return value


def _money(value: Decimal) -> str:
    return format(cut(value, 8), "f") if value else "0"


def _overview_row(name: str, held: Decimal, value: Decimal, place: tuple[str, str] | None = None) -> Row:
    return {
        "asset": name,
        "assetName": None if place else name,
        "amount": text(held),
        "logoUrl": None,
        "valuationAmount": _money(value),
        "profit": None,
        "profitRatio": None,
        "avgCost": None,
        "avgBuyCost": None,
        "isCexAsset": place is None,
        "coinBusinessType": "ALPHA" if place else None,
        "chainId": place[0] if place else None,
        "contractAddress": place[1] if place else None,
    }

"""Spot's changes of a standing order: cancel and replace in one call, and reduce in place (binance-spot 3.6).

Each method takes the caller's account and what was sent and returns the answer's content.
"""

from paper_exchange import spot_reports as reports
from paper_exchange.config import Instrument
from paper_exchange.exchange import Exchange
from paper_exchange.model import OPEN, Account, NewOrder, Order, Refused
from paper_exchange.spot_errors import SpotError, amend_refusal, both_missing, not_valid, refusal
from paper_exchange.spot_finding import Selector, SpotFinding
from paper_exchange.spot_legs import read_leg
from paper_exchange.spot_params import Params
from paper_exchange.spot_trading import SpotTrading, read_response, read_restriction
from paper_exchange.spot_wire import Ms, Row

MODES = ("STOP_ON_FAILURE", "ALLOW_FAILURE")
WHEN_EXCEEDED = ("DO_NOTHING", "CANCEL_ONLY")

Half = Row | SpotError  # what one half of a cancelReplace came to


class SpotChanges:
    """cancelReplace and amend/keepPriority over the exchange."""

    def __init__(self, exchange: Exchange, trading: SpotTrading, finding: SpotFinding) -> None:
        self._exchange = exchange
        self._settings = exchange.state.config.spot
        self._trading = trading
        self._finding = finding

    # Cancel and replace.

    def cancel_replace(self, account: Account, params: Params) -> Row:
        """Filters and order count come before the cancel; 409 says that one half was done."""
        symbol, mode = params.need("symbol"), params.need("cancelReplaceMode")
        selector = _read_cancel_selector(params)
        leg = read_leg(params, "")
        shape = read_response(params, "FULL" if leg.kind in ("LIMIT", "MARKET") else "ACK")
        prevention = self._trading.legs.prevention(params)
        cancel_id = params.client_id("cancelNewClientOrderId") or self._exchange.mint_id()
        only = read_restriction(params)
        exceeded = params.choice(
            "orderRateLimitExceededMode", WHEN_EXCEEDED, not_valid("orderRateLimitExceededMode")
        )
        params.finish()
        if mode not in MODES:
            raise not_valid("cancelReplaceMode")
        instrument = self._finding.instrument(symbol)
        if not instrument.cancel_replace_allowed:
            # The text is not documented.
            raise SpotError(-2010, "Cancel-replace is not supported for this symbol.")
        terms = self._trading.legs.terms(leg, instrument, prevention)
        self._exchange.check_terms(terms)
        over = self._count(account, cancels_alone=exceeded == "CANCEL_ONLY")
        cancelled = self._cancel(account, symbol, selector, only, cancel_id)
        stops = mode == "STOP_ON_FAILURE"
        placed: Half | None = over
        if stops and isinstance(cancelled, SpotError):
            placed = None
        elif over is None:
            placed = self._place(account, terms, instrument, shape)
        return _told(cancelled, placed, over if stops else None)

    def _count(self, account: Account, *, cancels_alone: bool) -> SpotError | None:
        """One order more, attempted or not; the error if it is one too many and only the cancel goes on."""
        try:
            self._trading.count(account, 1)
        except SpotError as error:
            if not cancels_alone:
                raise
            return error
        return None

    def _cancel(self, account: Account, symbol: str, selector: Selector, only: str, client_id: str) -> Half:
        try:
            return self._trading.cancel(account, symbol, selector, only, client_id)
        except SpotError as error:
            return error
        except Refused as refused:
            return refusal(refused)

    def _place(self, account: Account, terms: NewOrder, instrument: Instrument, shape: str) -> Half:
        try:
            order = self._exchange.place(account, terms)
        except Refused as refused:
            return refusal(refused)
        return self._trading.report(order, instrument, shape, account)

    # Reduce in place.

    def amend(self, account: Account, params: Params) -> Row:
        """The order with less quantity, and its list's state if it is a leg."""
        symbol, selector = params.need("symbol"), self._finding.read_order_selector(params)
        client_id = params.client_id("newClientOrderId") or self._exchange.mint_id()
        wanted = params.decimal("newQty", needed=True)
        params.finish()
        instrument = self._finding.instrument(symbol)
        quantity = self._trading.legs.precise_quantity(wanted, instrument, "newQty")
        order = self._finding.order_of(account, symbol, selector)
        if order is None or order.status not in OPEN or not order.quantity:
            # Neither code nor text is documented for an order that cannot be found.
            raise SpotError(-2038, self._settings.unknown_amend_text)
        try:
            amended = self._exchange.amend(account, order, quantity, client_id)
        except Refused as refused:
            raise amend_refusal(refused) from None
        return self._amended(amended, instrument)

    def _amended(self, order: Order, instrument: Instrument) -> Row:
        now = self._exchange.now_ms
        row: Row = {
            "transactTime": Ms(now),
            "executionId": order.amendments[-1].execution_id,
            "amendedOrder": reports.amended(order, instrument, now),
        }
        if order.list_id is not None:
            order_list = self._exchange.state.lists[order.list_id]
            row["listStatus"] = reports.list_state(order_list, self._exchange.state.legs(order_list))
        return row


def ended(answer: Row) -> bool:
    """Whether an amendment took all that was left of the order, which costs no weight (binance-spot 8)."""
    return bool(answer["amendedOrder"]["status"] == "EXPIRED")


def _read_cancel_selector(params: Params) -> Selector:
    order_id, client_id = params.whole("cancelOrderId"), params.client_id("cancelOrigClientOrderId")
    if order_id is None and not client_id:
        raise both_missing("cancelOrigClientOrderId", "cancelOrderId")
    return order_id, client_id


def _told(cancelled: Half, placed: Half | None, over: SpotError | None) -> Row:
    """Both halves in one answer; `over` makes it one of too many orders."""
    failures = [isinstance(cancelled, SpotError), placed is None or isinstance(placed, SpotError)]
    row = {
        "cancelResult": "FAILURE" if failures[0] else "SUCCESS",
        "newOrderResult": "NOT_ATTEMPTED" if placed is None else "FAILURE" if failures[1] else "SUCCESS",
        "cancelResponse": _content(cancelled),
        "newOrderResponse": None if placed is None else _content(placed),
    }
    if not any(failures):
        return row
    retry_ms = over.retry_ms if over else None
    if all(failures):
        text = "Order cancel-replace failed."
        raise SpotError(-2022, text, status=429 if over else 400, retry_ms=retry_ms, data=row)
    text = "Order cancel-replace partially failed."
    raise SpotError(-2021, text, status=429 if over else 409, retry_ms=retry_ms, data=row)


def _content(half: Half) -> Row:
    return {"code": half.code, "msg": half.message} if isinstance(half, SpotError) else half

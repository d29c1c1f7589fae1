"""Alpha's spelling: paths, request bodies, answers, codes. Pure; only the rules of a symbol stand elsewhere.

The private interface is the website's own and promises nothing (binance-alpha, introduction), so
whatever of it may change is in this module. Unknown codes are never a no.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from order_service.venues.door import opens_at
from order_service.venues.fields import (
    Row,
    Unreadable,
    above_zero_of,
    amount_of,
    decode,
    id_of,
    moment_of,
    not_negative_of,
    number_of,
    quoted,
    row_of,
    rows_of,
    text_of,
    whole_of,
)
from order_service.venues.port import (
    AssetBalance,
    CredentialRefused,
    FeeRates,
    OrderPushed,
    Placed,
    PlacedLeg,
    RateLimited,
    Response,
    StreamNews,
    VenueOrder,
    VenueRefused,
    VenueSilent,
)
from otopilot import door, money
from otopilot.instrument import Instrument, Side
from otopilot.money import ZERO
from otopilot.order import (
    INSUFFICIENT_BALANCE,
    Fee,
    LegRole,
    LegStatus,
    Order,
    Trade,
    TradeKey,
    VenueOrderId,
)

PUBLIC = "/bapi/defi/v1/public/alpha-trade"
PRIVATE = "/bapi/defi/v1/private/alpha-trade"
EXCHANGE_INFO = f"{PUBLIC}/get-exchange-info"
TOKEN_LIST = "/bapi/defi/v1/public/wallet-direct/buw/wallet/cex/alpha/all/token/list"  # noqa: S105 - a path
AGG_TRADES = f"{PUBLIC}/agg-trades"
FEE_RATE = f"{PUBLIC}/get-fee-rate"
PLACE = "/bapi/asset/v1/private/alpha-trade/order/place"
PLACE_OTO = "/bapi/asset/v1/private/alpha-trade/oto-order/place"
CANCEL = f"{PRIVATE}/order/cancel"
OPEN_ORDERS = f"{PRIVATE}/order/get-open-order"
HISTORY = f"{PRIVATE}/order/get-order-history-merge"
USER_TRADES = f"{PRIVATE}/order/get-user-trades"
LISTEN_KEY = f"{PRIVATE}/get-listen-key"
ALPHA_WALLET = "/bapi/defi/v1/private/wallet-direct/cloud-wallet/alpha"
WALLET_ASSET = "/bapi/asset/v3/private/asset-service/asset/get-wallet-asset"
STREAM = "/w3w/stream"

# A partly filled working leg that was cancelled may stand under either kind of status.
HISTORY_STATUSES = "FILLED,PARTIALLY_FILLED,EXPIRED,CANCELED,REJECTED"

SUCCESS = "000000"
_SESSION_INVALID = "100002001"

# What the venue surely did not do: its codes and, where the code is unknown, its texts in lower
# case (binance-alpha 3.9). The words are ours, so that nothing above speaks the venue's.
_REFUSED_CODES = {
    "481020": INSUFFICIENT_BALANCE,
    "481013": "below_min_notional",
    "000002": "bad_parameter",
}
_REFUSED_TEXTS = {
    "must be the same as sum(paymentdetail.amount)": "amount_mismatch",
    "total must be greater than": "below_min_notional",
    "must be an integer multiple of the minimum": "bad_precision",
    "exceeds the token's precision": "bad_precision",
    "asynchronous operation": "busy",
}
_VERIFICATION_TEXTS = ("additional verification", "verification must be completed", "verification failed")
_NOT_OPEN_TEXTS = ("order does not exist", "unknown order", "order not found")

_STATUSES = {
    "NEW": LegStatus.OPEN,
    "PARTIALLY_FILLED": LegStatus.OPEN,
    "PENDING": LegStatus.PENDING,
    "FILLED": LegStatus.FILLED,
    "CANCELED": LegStatus.CANCELED,
    "EXPIRED": LegStatus.EXPIRED,
    "REJECTED": LegStatus.REJECTED,
}
_ROLES = {"OTO_WORKING": LegRole.WORKING, "OTO_PENDING": LegRole.PENDING}
_FEE_UNIT = Decimal("0.000001")


# ------------------------------------------------------------------ requests


def placement(order: Order, instrument: Instrument, *, numbers_as_text: bool) -> tuple[str, bytes]:
    """Path and body that place an order: one leg, or two as an OTO (binance-alpha 3.2, 3.3)."""

    def number(value: Decimal) -> object:
        text = money.text(value)
        return text if numbers_as_text else msgspec.Raw(text.encode())

    leg, pending = order.working, order.pending
    if leg.side is Side.BUY:
        cost = money.truncate(leg.price * leg.quantity, 8)
        payment: dict[str, object] = {"amount": money.text(cost), "paymentWalletType": "CARD"}
    else:
        payment = {"amount": number(leg.quantity), "paymentWalletType": "ALPHA"}
    body: dict[str, object] = {"baseAsset": instrument.base_asset, "quoteAsset": instrument.quote_asset}
    if pending is None:
        body |= {
            "side": leg.side.name,
            "price": number(leg.price),
            "quantity": number(leg.quantity),
            "paymentDetails": [payment],
            "orderType": "LIMIT",
        }
        return PLACE, msgspec.json.encode(body)
    body |= {
        "workingSide": leg.side.name,
        "workingPrice": number(leg.price),
        "workingQuantity": number(leg.quantity),
        "paymentDetails": [payment],
        "pendingPrice": number(pending.price),
        "pendingType": "LIMIT",
    }
    return PLACE_OTO, msgspec.json.encode(body)


# ------------------------------------------------------------------ answers


def data_of(response: Response, now: datetime, *, writing: bool) -> Any:
    """The data of a successful answer; otherwise the failure that the answer proves.

    `writing`: for a placement or a cancel only an allow-listed answer is a no (architecture 5.4).
    """
    status = response.status
    challenged = any(name.startswith("risk_challenge_") for name in response.headers)
    if status in door.REFUSING and not challenged:
        wait = door.told(response.headers.get("retry-after", ""))
        until = opens_at(status, wait, now)
        raise RateLimited(f"http_{status}", "the venue refuses requests", until)
    if status == 401 and not writing:
        raise CredentialRefused("auth_expired", "HTTP 401")
    if status != 200 and not 400 <= status < 500:
        raise VenueSilent(f"http_{status}", "no usable answer")
    try:
        envelope = row_of(decode(response.body), "answer")
        code = text_of(envelope, "code")
        said = text_of(envelope, "message", "") or text_of(envelope, "messageDetail", "")
    except Unreadable as error:
        envelope, code, said = {}, "", str(error)
    if status == 200 and code == SUCCESS:
        return envelope.get("data")
    raise _failure(status, code, said, challenged)


def _failure(status: int, code: str, said: str, challenged: bool) -> VenueRefused | VenueSilent:
    words = said.lower()
    code = quoted(code)[:20]
    message = f"{quoted(said)} (code {code or 'none'}, HTTP {status})"
    if code == _SESSION_INVALID:
        return CredentialRefused("auth_expired", message)
    if challenged or any(text in words for text in _VERIFICATION_TEXTS):
        return CredentialRefused("verification_required", message)
    if code != SUCCESS:
        word = _REFUSED_CODES.get(code)
        word = next((w for text, w in _REFUSED_TEXTS.items() if text in words), word)
        if word is not None:
            return VenueRefused(word, message)
    return VenueSilent(code or f"http_{status}", message)


def is_not_open(error: VenueSilent) -> bool:
    """Does the answer to a cancel say that there is no such open order?"""
    return any(text in error.message.lower() for text in _NOT_OPEN_TEXTS)


def placed(order: Order, data: Any, now: datetime) -> Placed:
    """The ids of a placement. Raises Unreadable: then nobody knows."""
    if order.pending is None:
        only = VenueOrderId(number_of({"data": data}, "data"))
        leg = PlacedLeg(role=LegRole.WORKING, venue_order_id=only, status=LegStatus.OPEN)
        return Placed(legs=(leg,), accepted_at=now)
    ids = row_of(data, "data")
    working = VenueOrderId(number_of(ids, "workingOrderId"))
    pending = VenueOrderId(number_of(ids, "pendingOrderId"))
    if working == pending:
        raise Unreadable("pendingOrderId: the same as workingOrderId")
    legs = (
        PlacedLeg(role=LegRole.WORKING, venue_order_id=working, status=LegStatus.OPEN),
        PlacedLeg(role=LegRole.PENDING, venue_order_id=pending, status=LegStatus.PENDING),
    )
    return Placed(legs=legs, accepted_at=now)


def order(row: Row) -> VenueOrder:
    """A row of open orders or of the history."""
    raw, list_id = text_of(row, "status"), text_of(row, "orderListId", "-1")
    return VenueOrder(
        venue_order_id=VenueOrderId(number_of(row, "orderId")),
        symbol=id_of(row, "symbol"),
        side=_side(row, "side"),
        price=not_negative_of(row, "price"),
        quantity=not_negative_of(row, "origQty"),
        status=_STATUSES.get(raw),
        raw_status=raw,
        executed_quantity=not_negative_of(row, "executedQty", ZERO),
        executed_quote=not_negative_of(row, "cumQuote", ZERO),
        list_id=None if list_id in ("", "-1") else list_id,
        role=_ROLES.get(text_of(row, "contingencyOrderPosition", "")),
        created_at=moment_of(row, "time"),
        updated_at=moment_of(row, "updateTime", "time"),
    )


def rows(data: Any) -> Sequence[Row]:
    """Rows of a list; null is none."""
    return rows_of(data if data is not None else [], "data")


def orders(found: Iterable[Row], symbol: str) -> tuple[VenueOrder, ...]:
    """The limit orders on a symbol among rows of all kinds."""
    return tuple(
        order(row)
        for row in found
        if text_of(row, "kind", "LIMIT") == "LIMIT" and text_of(row, "symbol", "") == symbol
    )


def trades(data: Any, venue_order_id: VenueOrderId) -> tuple[Trade, ...]:
    """The fills of one order."""
    found = (row for row in rows(data) if number_of(row, "orderId") == venue_order_id)
    return tuple({one.key: one for one in map(trade, found)}.values())


def trade(row: Row) -> Trade:
    """A fill. Its key is order and page id: the other ids repeat (binance-alpha 3.5)."""
    order_id = number_of(row, "orderId")
    return Trade(
        key=TradeKey(f"{order_id}:{number_of(row, 'pageId')}"),
        side=_side(row, "side"),
        price=above_zero_of(row, "price"),
        quantity=above_zero_of(row, "qty"),
        quote=not_negative_of(row, "quoteQty"),
        fee=Fee(id_of(row, "commissionAsset"), not_negative_of(row, "commission")),
        traded_at=moment_of(row, "time"),
        venue_order_id=VenueOrderId(order_id),
    )


def funding(data: Any) -> Iterator[AssetBalance]:
    """Quote money in the funding wallet, which pays for BUYs (binance-alpha 3.7)."""
    for row in rows_of(data, "data"):
        wallet = row.get("funding")
        if wallet is not None:
            held = row_of(wallet, "funding")
            locked = amount_of(held, "locked", ZERO) + amount_of(held, "freeze", ZERO)
            yield AssetBalance(id_of(row, "asset"), amount_of(held, "free"), locked)


def tokens(data: Any) -> Iterator[AssetBalance]:
    """Alpha tokens, named as instruments name their base: by alpha id."""
    for row in rows_of(row_of(data, "data").get("list"), "list"):
        locked = amount_of(row, "locked", ZERO) + amount_of(row, "freeze", ZERO)
        yield AssetBalance(id_of(row, "tokenId"), amount_of(row, "free"), locked)


def fee_rates(data: Any) -> FeeRates:
    """Commissions in millionths."""
    row = row_of(data, "data")
    return FeeRates(
        buy=amount_of(row, "buyerCommission") * _FEE_UNIT, sell=amount_of(row, "sellerCommission") * _FEE_UNIT
    )


def last_price(data: Any) -> Decimal:
    """Price of the newest aggregate trade."""
    found = rows_of(data, "data")
    if not found:
        raise Unreadable("data: no trade")
    return above_zero_of(max(found, key=lambda row: whole_of(row, "T")), "p")


def listen_key(data: Any) -> str:
    """The order stream's key."""
    return id_of(data, "listenKey") if isinstance(data, dict) else id_of({"data": data}, "data")


def pushed(message: Row) -> list[StreamNews]:
    """The news in a frame of the order stream."""
    data = message.get("data")
    if not isinstance(data, dict) or data.get("e") != "executionReport":
        return []
    raw = text_of(data, "X")
    found = VenueOrder(
        venue_order_id=VenueOrderId(number_of(data, "i")),
        symbol=id_of(data, "s"),
        side=_side(data, "S"),
        price=not_negative_of(data, "p"),
        quantity=not_negative_of(data, "q"),
        status=_STATUSES.get(raw),
        raw_status=raw,
        executed_quantity=not_negative_of(data, "z", ZERO),
        executed_quote=not_negative_of(data, "Z", ZERO),
        list_id=text_of(data, "il", "") or None,
        role=_ROLES.get(text_of(data, "cp", "")),
        created_at=moment_of(data, "O", "T"),
        updated_at=moment_of(data, "u", "T", "E"),
    )
    return [OrderPushed(found)]


def _side(row: Row, key: str) -> Side:
    try:
        return Side[text_of(row, key)]
    except KeyError:
        raise Unreadable(f"{key}: not a side") from None

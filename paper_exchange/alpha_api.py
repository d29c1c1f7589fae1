"""The Alpha surface over HTTP: routes, sessions, envelope, faults.

handle() is a pure function of the exchange's state and the request: everything a client can be
told comes back as a value. Bodies carry the venue's envelope; HTTP stays 200 for a refusal.
"""

import re
from collections.abc import Callable
from typing import Any

import msgspec

from paper_exchange.alpha_errors import (
    CODES,
    PARAMETER,
    SESSION_INVALID,
    SUCCESS,
    TEXTS,
    ParameterError,
    failure,
    refusal,
)
from paper_exchange.alpha_points import AlphaPoints
from paper_exchange.alpha_private import AlphaPrivate
from paper_exchange.alpha_public import AlphaPublic
from paper_exchange.exchange import Exchange
from paper_exchange.faults import FaultRule, Scope
from paper_exchange.http import Answer, Door, Request, Response, decode, json_response
from paper_exchange.model import Account, Refused

DEFI = "/bapi/defi/v1"
TRADE = f"{DEFI}/private/alpha-trade"
_SESSION = re.compile(r"(?:^|;\s*)p20t=([^;\s]+)")


def session_headers(account: Account) -> dict[str, str]:
    """What a logged-in browser of this account sends."""
    return {
        "cookie": f"lang=en; p20t={account.credential['token']}",
        "csrftoken": account.credential["csrf"],
        "clienttype": "web",
    }


class Endpoint(msgspec.Struct, frozen=True):
    """`sends`: where a private call's parameters stand."""

    name: str
    call: Callable[..., Any]
    private: bool = True
    sends: str = "query"


class AlphaApi:
    """Routes one request to the exchange and back."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._door = Door(exchange.faults, self._business)
        self._overrides = exchange.state.config.alpha.error_codes
        self._routes = _routes(AlphaPublic(exchange), AlphaPrivate(exchange), AlphaPoints(exchange))

    def serves(self, path: str) -> bool:
        return path.startswith("/bapi/")

    def handle(self, request: Request, *, held: bool = False) -> Answer:
        endpoint = self._routes.get((request.method, request.path))
        if endpoint is None:
            return json_response({"code": "000404", "message": "Not found", "success": False}, status=404)
        sent = _sent(request, endpoint)
        if not held and (banned := self._door.gate(Scope("alpha", endpoint.name, symbol=_symbol(sent)))):
            return banned
        account = self._session(request) if endpoint.private else None
        if account is not None and self._is_revoked(endpoint, account):
            account = None
        scope = Scope("alpha", endpoint.name, account.user_id if account else None, _symbol(sent))
        stopped = self._door.enter(scope, self._exchange.now_ms, held=held)
        if stopped is not None:
            return stopped
        return self._door.leave(scope, self._answer(endpoint, account, sent))

    def _answer(self, endpoint: Endpoint, account: Account | None, sent: dict[str, Any] | None) -> Response:
        if endpoint.private and account is None:
            return json_response(SESSION_INVALID)
        if sent is None:
            return failure(PARAMETER, "Malformed request body.")
        try:
            data = endpoint.call(account, sent) if endpoint.private else endpoint.call(sent)
        except ParameterError as error:
            return failure(PARAMETER, str(error))
        except Refused as refused:
            market = self._exchange.state.markets.get(_symbol(sent) or "")
            return refusal(refused, market.instrument if market else None, self._overrides)
        envelope = {"code": SUCCESS, "message": None, "messageDetail": None}
        if endpoint.name == "order_history":
            rows, total = data
            return json_response(envelope | {"data": rows, "total": total, "success": True})
        return json_response(envelope | {"data": data, "success": True})

    def _session(self, request: Request) -> Account | None:
        found = _SESSION.search(request.headers.get("cookie", ""))
        account = self._exchange.state.accounts.by_secret(found[1]) if found else None
        if account is None or account.venue != "alpha":
            return None
        return account if request.headers.get("csrftoken") == account.credential["csrf"] else None

    def _is_revoked(self, endpoint: Endpoint, account: Account) -> bool:
        scope = Scope("alpha", endpoint.name, account.user_id)
        return self._exchange.faults.strike(scope, "revoke") is not None

    def _business(self, rule: FaultRule) -> Response:
        name = "verification_required" if rule.kind == "verification_required" else "busy"
        code = rule.code or self._overrides.get(name, CODES[name])
        return failure(code, rule.message or TEXTS[name])


def _sent(request: Request, endpoint: Endpoint) -> dict[str, Any] | None:
    """The parameters, or None if the body is not a JSON object."""
    if endpoint.sends == "query":
        return request.query
    try:
        body = decode(request.body or b"{}")
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _symbol(sent: dict[str, Any] | None) -> str | None:
    """The symbol a request is about, as far as it says."""
    if not sent:
        return None
    symbol = sent.get("symbol") or f"{sent.get('baseAsset', '')}{sent.get('quoteAsset', '')}"
    return symbol if isinstance(symbol, str) and symbol else None


def _routes(
    public: AlphaPublic, private: AlphaPrivate, points: AlphaPoints
) -> dict[tuple[str, str], Endpoint]:
    market = f"{DEFI}/public/alpha-trade"
    wallet = f"{DEFI}/public/wallet-direct/buw/wallet/cex/alpha/all/token/list"
    asset = "/bapi/asset/v1/private/alpha-trade"
    history = Endpoint("order_history", private.history)
    reads: dict[tuple[str, str], Endpoint] = {
        ("GET", wallet): Endpoint("token_list", public.token_list, private=False),
        ("GET", f"{market}/aggTicker24"): Endpoint("token_list", public.token_list, private=False),
        ("GET", f"{market}/get-exchange-info"): Endpoint(
            "exchange_info", public.exchange_info, private=False
        ),
        ("GET", f"{market}/ticker"): Endpoint("ticker", public.ticker, private=False),
        ("GET", f"{market}/agg-trades"): Endpoint("agg_trades", public.agg_trades, private=False),
        ("GET", f"{market}/klines"): Endpoint("klines", public.klines, private=False),
        ("GET", f"{market}/agg-klines"): Endpoint("agg_klines", public.agg_klines, private=False),
        ("GET", f"{market}/fullDepth"): Endpoint("depth", public.depth, private=False),
        ("GET", f"{market}/get-fee-rate"): Endpoint("fee_rate", public.fee_rate, private=False),
        ("GET", f"{market}/get-from-asset"): Endpoint("from_asset", public.from_asset, private=False),
    }
    orders: dict[tuple[str, str], Endpoint] = {
        ("POST", f"{asset}/order/place"): Endpoint("place_order", private.place_order, sends="body"),
        ("POST", f"{asset}/oto-order/place"): Endpoint("place_oto", private.place_oto, sends="body"),
        ("POST", f"{TRADE}/order/cancel"): Endpoint("cancel_order", private.cancel_order, sends="body"),
        ("POST", f"{TRADE}/order/cancel-all"): Endpoint("cancel_all", private.cancel_all, sends="body"),
        ("GET", f"{TRADE}/order/get-open-order"): Endpoint("open_orders", private.open_orders),
        ("GET", f"{TRADE}/order/get-order-history-merge"): history,
        ("GET", f"{TRADE}/order/get-order-history-web"): history,
        ("GET", f"{TRADE}/order/get-user-trades"): Endpoint("user_trades", private.user_trades),
        ("GET", f"{asset}/order/get-order-detail"): Endpoint("order_detail", private.order_detail),
        ("POST", f"{TRADE}/get-listen-key"): Endpoint("listen_key", private.listen_key, sends="body"),
    }
    assets = "/bapi/asset"
    direct = f"{DEFI}/private/wallet-direct"
    money: dict[tuple[str, str], Endpoint] = {
        ("GET", f"{DEFI}/private/wallet-direct/cloud-wallet/alpha"): Endpoint(
            "alpha_wallet", private.alpha_wallet
        ),
        ("POST", f"{assets}/v3/private/asset-service/asset/get-wallet-asset"): Endpoint(
            "wallet_asset", private.wallet_asset, sends="body"
        ),
        ("GET", f"{assets}/v2/private/asset-service/wallet/asset"): Endpoint(
            "wallet_overview", private.wallet_overview
        ),
        ("GET", f"{assets}/v2/private/asset-service/wallet/balance"): Endpoint(
            "wallet_balance", private.wallet_balance
        ),
        ("GET", f"{direct}/buw/wallet/today/user-volume"): Endpoint("user_volume", points.user_volume),
        ("GET", f"{direct}/buw/tge/common/user-score"): Endpoint("user_score", points.user_score),
        ("GET", f"{direct}/swap/terms-agreement"): Endpoint("terms_agreement", private.terms_agreed),
    }
    return reads | orders | money

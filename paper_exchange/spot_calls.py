"""One Spot call from arrival to answer, whichever way it came: weight, proof, faults, content.

REST and the WS API find an Endpoint, hand over what was sent and spell the Response. The table
of endpoints by name stands here; names are what fault rules match on.
"""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import msgspec

from paper_exchange.exchange import Exchange
from paper_exchange.faults import FaultRule, Scope
from paper_exchange.http import Answer, Door, Response
from paper_exchange.model import Account, Refused
from paper_exchange.spot_account import SpotAccountData
from paper_exchange.spot_auth import Claim, SpotAuth
from paper_exchange.spot_errors import SpotError, refusal, status_of
from paper_exchange.spot_finding import SpotFinding
from paper_exchange.spot_info import SpotInfo
from paper_exchange.spot_limits import SpotLimits
from paper_exchange.spot_market import SpotMarketData
from paper_exchange.spot_params import Params
from paper_exchange.spot_trading import SpotTrading
from paper_exchange.spot_wire import respond

Weight = int | Callable[[Params], int]


class Endpoint(msgspec.Struct, frozen=True):
    """`free`: success costs no weight; `counts`: it places orders, and its answer tells how many."""

    name: str
    call: Callable[..., Any]
    weight: Weight = 1
    signed: bool = False
    free: bool = False
    counts: bool = False


class Call(msgspec.Struct, frozen=True):
    """Who calls and what was sent. `held`: it has been let in before and waited for the engine."""

    params: Params
    claim: Claim
    remote: str = ""
    micros: bool = False
    held: bool = False


class SpotCalls:
    """Answers calls."""

    def __init__(self, exchange: Exchange, auth: SpotAuth, limits: SpotLimits) -> None:
        self._exchange = exchange
        self._auth = auth
        self._limits = limits
        self._answers = 0
        self._door = Door(exchange.faults, _business, self._banned)
        finding = SpotFinding(exchange)
        info = SpotInfo(exchange, limits)
        trading = SpotTrading(exchange, limits, finding)
        market = SpotMarketData(exchange, finding, info)
        endpoints = [
            *_public(market, info),
            *_writes(trading),
            *_reads(SpotAccountData(exchange, limits, finding)),
        ]
        self.endpoints = {endpoint.name: endpoint for endpoint in endpoints}

    def answer(self, endpoint: Endpoint, call: Call) -> Answer:
        """Carry a call out; a Held answer is to be handed in again with `held` set."""
        now = self._exchange.now_ms
        weight = endpoint.weight if isinstance(endpoint.weight, int) else endpoint.weight(call.params)
        symbol = call.params.peek("symbol") or None
        if not call.held and (banned := self._door.gate(Scope("spot", endpoint.name, symbol=symbol))):
            return self._with_headers(banned, call)
        account = None
        try:
            if not call.held:
                self._limits.charge(call.remote, weight, now)
            if endpoint.signed:
                account = self._authenticate(endpoint, call)
        except SpotError as error:
            return self._with_headers(self.refused(error), call)
        scope = Scope("spot", endpoint.name, account.user_id if account else None, symbol)
        stopped = self._door.enter(scope, now, held=call.held)
        if stopped is not None:
            return self._with_headers(stopped, call) if isinstance(stopped, Response) else stopped
        try:
            content = endpoint.call(account, call.params) if account else endpoint.call(call.params)
        except (SpotError, Refused) as error:
            response = self.refused(error)
        else:
            response = respond(content, micros=call.micros)
            if endpoint.free:
                self._limits.refund(call.remote, weight, now)
            if endpoint.counts and account is not None:
                response = _and(response, self._limits.order_headers(account.key, now))
        return self._door.leave(scope, self._with_headers(response, call))

    def _authenticate(self, endpoint: Endpoint, call: Call) -> Account:
        door_ms = self._exchange.conditions.door_ms
        account = self._auth.authenticate(call.claim, call.params, door_ms, held=call.held)
        scope = Scope("spot", endpoint.name, account.user_id)
        if not call.held and (rule := self._exchange.faults.strike(scope, "revoke")):
            code = int(rule.code) if rule.code.lstrip("-").isdigit() else -2015
            raise SpotError(code, rule.message or "Invalid API-key, IP, or permissions for action.")
        return account

    def _banned(self, status: int, until_ms: int) -> Response:
        text = f"Way too much request weight used; IP banned until {until_ms}."
        return self.refused(SpotError(-1003, text, status=status, retry_ms=until_ms))

    def refused(self, error: SpotError | Refused) -> Response:
        """An error's answer."""
        found = error if isinstance(error, SpotError) else refusal(error)
        response = respond({"code": found.code, "msg": found.message}, found.status)
        if found.retry_ms is None:
            return response
        seconds = -(-(found.retry_ms - self._exchange.now_ms) // 1000)
        return _and(response, {"retry-after": str(max(1, seconds))})

    def _with_headers(self, response: Response, call: Call) -> Response:
        now = self._exchange.now_ms
        used = str(self._limits.used(call.remote, now))
        self._answers += 1
        return _and(
            response,
            {
                "x-mbx-used-weight": used,
                "x-mbx-used-weight-1m": used,
                "x-mbx-uuid": str(UUID(int=now << 64 | self._answers)),
            },
        )


def _and(response: Response, headers: dict[str, str]) -> Response:
    return msgspec.structs.replace(response, headers={**response.headers, **headers})


def _business(rule: FaultRule) -> Response:
    """A fault rule's error in the venue's form; without a code it says that nothing is known."""
    if rule.kind == "verification_required":
        code, text = -2015, "Invalid API-key, IP, or permissions for action."
    else:
        code, text = -1000, "An unknown error occurred while processing the request."
    if rule.code.lstrip("-").isdigit():
        code = int(rule.code)
    return respond({"code": code, "msg": rule.message or text}, status_of(code))


# Weights by what was asked (binance-spot 2.1, 3.5).


def _depth_weight(params: Params) -> int:
    limit = _number(params, "limit", 100)
    return next((weight for most, weight in ((100, 5), (500, 25), (1000, 50)) if limit <= most), 250)


def _ticker_weight(params: Params) -> int:
    return 2 if "symbol" in params else 4


def _day_weight(params: Params) -> int:
    if "symbol" in params:
        return 2
    if "symbols" not in params:
        return 80
    count = params.peek("symbols").count(",") + 1
    return 2 if count <= 20 else 40 if count <= 100 else 80


def _open_orders_weight(params: Params) -> int:
    return 6 if "symbol" in params else 80


def _trades_weight(params: Params) -> int:
    return 5 if "orderId" in params else 20


def _test_weight(params: Params) -> int:
    return 20 if params.peek("computeCommissionRates") == "true" else 1


def _number(params: Params, name: str, default: int) -> int:
    raw = params.peek(name)
    return int(raw) if raw.isascii() and raw.isdigit() and len(raw) < 10 else default


# Endpoints.


def _public(market: SpotMarketData, info: SpotInfo) -> list[Endpoint]:
    return [
        Endpoint("ping", market.ping),
        Endpoint("time", market.time),
        Endpoint("exchange_info", info.exchange_info, 20),
        Endpoint("exchange_info_ws", info.exchange_info_ws, 20),
        Endpoint("depth", market.depth, _depth_weight),
        Endpoint("trades", market.trades, 25),
        Endpoint("agg_trades", market.agg_trades, 4),
        Endpoint("klines", market.klines, 2),
        Endpoint("avg_price", market.average_price, 2),
        Endpoint("ticker_price", market.ticker_price, _ticker_weight),
        Endpoint("book_ticker", market.book_ticker, _ticker_weight),
        Endpoint("ticker_24hr", market.ticker_24hr, _day_weight),
    ]


def _writes(trading: SpotTrading) -> list[Endpoint]:
    return [
        Endpoint("place_order", trading.place_order, signed=True, free=True, counts=True),
        Endpoint("test_order", trading.test_order, _test_weight, signed=True),
        Endpoint("place_oto", trading.place_oto, signed=True, free=True, counts=True),
        Endpoint("place_opo", trading.place_opo, signed=True, free=True, counts=True),
        Endpoint("cancel_order", trading.cancel_order, signed=True, free=True),
        Endpoint("cancel_open_orders", trading.cancel_open_orders, signed=True, free=True),
        Endpoint("cancel_list", trading.cancel_list, signed=True, free=True),
    ]


def _reads(data: SpotAccountData) -> list[Endpoint]:
    return [
        Endpoint("account", data.account, 20, signed=True),
        Endpoint("commission", data.commission, 20, signed=True),
        Endpoint("rate_limits", data.rate_limits, 40, signed=True),
        Endpoint("order", data.order, 4, signed=True),
        Endpoint("open_orders", data.open_orders, _open_orders_weight, signed=True),
        Endpoint("all_orders", data.all_orders, 20, signed=True),
        Endpoint("my_trades", data.my_trades, _trades_weight, signed=True),
        Endpoint("order_list", data.order_list, 4, signed=True),
        Endpoint("open_lists", data.open_lists, 6, signed=True),
        Endpoint("all_lists", data.all_lists, 20, signed=True),
    ]

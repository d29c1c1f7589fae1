"""One Spot call from arrival to answer, whichever way it came: weight, proof, faults, content.

REST and the WS API find an Endpoint, hand over what was sent and spell the Response. The table
of endpoints by name stands here; names are what fault rules match on.
"""

from uuid import UUID

import msgspec

from paper_exchange.exchange import Exchange
from paper_exchange.faults import FaultRule, Scope
from paper_exchange.http import Answer, Door, Held, Response
from paper_exchange.model import Account, Event, Refused
from paper_exchange.spot_auth import Claim, SpotAuth
from paper_exchange.spot_database import SpotDatabase
from paper_exchange.spot_endpoints import Endpoint, endpoints_of
from paper_exchange.spot_errors import SpotError, refusal, status_of, too_late
from paper_exchange.spot_limits import SpotLimits
from paper_exchange.spot_params import Params
from paper_exchange.spot_wire import respond


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
        self._database = SpotDatabase(exchange)
        self.endpoints = endpoints_of(exchange, limits, self._database)

    @property
    def now_ms(self) -> int:
        return self._exchange.now_ms

    def see(self, events: list[Event]) -> None:
        """Count what was filled; take in what the database will know."""
        self._limits.see(events)
        self._database.see(events)

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
        stopped = self._wait_for_broker(endpoint, call, account, scope)
        stopped = stopped or self._door.enter(scope, now, held=call.held)
        if stopped is not None:
            return self._with_headers(stopped, call) if isinstance(stopped, Response) else stopped
        try:
            content = endpoint.call(account, call.params) if account else endpoint.call(call.params)
        except (SpotError, Refused) as error:
            response = self.refused(error, micros=call.micros)
        else:
            response = respond(content, micros=call.micros)
            if endpoint.free is True or (callable(endpoint.free) and endpoint.free(content)):
                self._limits.refund(call.remote, weight, now)
            if endpoint.counts and account is not None:
                response = _and(response, self._limits.order_headers(account.key, now))
        return self._door.leave(scope, self._with_headers(response, call))

    def _wait_for_broker(
        self, endpoint: Endpoint, call: Call, account: Account | None, scope: Scope
    ) -> Answer | None:
        """On its way to the engine a call can grow too old; that costs its order count (binance-spot 1.3)."""
        if account is None or call.held or not (rule := self._exchange.faults.strike(scope, "broker_delay")):
            return None
        delay_ms = int(rule.seconds * 1000)
        if not self._auth.is_late(call.params, self._exchange.conditions.door_ms + delay_ms):
            return Held(self.now_ms + delay_ms)
        try:
            if endpoint.counts:
                self._limits.take(account.key, endpoint.counts, self.now_ms)
        except SpotError as error:
            return self.refused(error)
        return msgspec.structs.replace(self.refused(too_late()), delay_ms=delay_ms)

    def _authenticate(self, endpoint: Endpoint, call: Call) -> Account:
        door_ms = self._exchange.conditions.door_ms
        account = self._auth.authenticate(
            call.claim, call.params, door_ms, held=call.held, trades=endpoint.trades
        )
        scope = Scope("spot", endpoint.name, account.user_id)
        if not call.held and (rule := self._exchange.faults.strike(scope, "revoke")):
            code = int(rule.code) if rule.code.lstrip("-").isdigit() else -2015
            raise SpotError(code, rule.message or "Invalid API-key, IP, or permissions for action.")
        return account

    def _banned(self, status: int, until_ms: int) -> Response:
        text = f"Way too much request weight used; IP banned until {until_ms}."
        return self.refused(SpotError(-1003, text, status=status, retry_ms=until_ms))

    def refused(self, error: SpotError | Refused, *, micros: bool = False) -> Response:
        """An error's answer."""
        found = error if isinstance(error, SpotError) else refusal(error)
        content = {"code": found.code, "msg": found.message}
        if found.data is not None:
            content["data"] = found.data
        response = respond(content, found.status, micros=micros)
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

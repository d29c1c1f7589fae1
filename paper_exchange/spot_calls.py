"""One Spot call from arrival to answer, whichever way it came: weight, proof, faults, content.

REST and the WS API find an Endpoint, hand over what was sent and spell the Response. The table
of endpoints by name stands here; names are what fault rules match on. Owns the calls that the
engine takes only after their callers were told that nobody knows.
"""

import heapq
from typing import Any
from uuid import UUID

import msgspec

from paper_exchange.exchange import Exchange
from paper_exchange.faults import FaultRule, Scope
from paper_exchange.http import Answer, Door, Held, Response
from paper_exchange.model import Account, Event, Refused
from paper_exchange.spot_auth import Claim, SpotAuth
from paper_exchange.spot_database import SpotDatabase
from paper_exchange.spot_endpoints import Endpoint, endpoints_of
from paper_exchange.spot_errors import TIMEOUT, SpotError, refusal, status_of, timed_out, too_late
from paper_exchange.spot_limits import SpotLimits
from paper_exchange.spot_params import Params
from paper_exchange.spot_wire import respond

# How long the venue works on a call before it answers without the engine (binance-spot 1.2).
PROCESSING_MS = 10_000


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
        self._late: list[tuple[int, int, Endpoint, Call, Account | None]] = []
        self._timeouts = 0
        self._door = Door(exchange.faults, self._business, self._banned)
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
            return self._with_headers(banned, call.remote)
        account = None
        try:
            if not call.held:
                self._limits.charge(call.remote, weight, now)
            if endpoint.signed:
                account = self._authenticate(endpoint, call)
        except SpotError as error:
            return self._with_headers(self.refused(error), call.remote)
        scope = Scope("spot", endpoint.name, account.user_id if account else None, symbol)
        stopped = self._wait_for_broker(endpoint, call, account, scope)
        stopped = stopped or self._door.enter(scope, now, held=call.held)
        if isinstance(stopped, Held):
            return self._hold(stopped, endpoint, call, account)
        if stopped is not None:
            return self._with_headers(stopped, call.remote)
        try:
            content = _carry_out(endpoint, call, account)
        except (SpotError, Refused) as error:
            response = self.refused(error, micros=call.micros)
        else:
            response = respond(content, micros=call.micros)
            if endpoint.free is True or (callable(endpoint.free) and endpoint.free(content)):
                self._limits.refund(call.remote, weight, now)
            if endpoint.counts and account is not None:
                response = _and(response, self._limits.order_headers(account.key, now))
        return self._door.leave(scope, self._with_headers(response, call.remote))

    def turn_away(self, endpoint: Endpoint, remote: str, error: SpotError) -> Response:
        """The answer to what could not be read or was one too many: it costs its weight all the same,
        and who is banned hears of that alone (binance-spot 8)."""
        if banned := self._door.gate(Scope("spot", endpoint.name)):
            return self._with_headers(banned, remote)
        weight = endpoint.weight if isinstance(endpoint.weight, int) else 1
        try:
            self._limits.charge(remote, weight, self.now_ms)
        except SpotError as limit:
            error = limit
        return self._with_headers(self.refused(error), remote)

    # What the engine takes late.

    def _hold(self, held: Held, endpoint: Endpoint, call: Call, account: Account | None) -> Answer:
        """Let the call wait for the engine; its caller is told that nobody knows once that takes too
        long, and the engine gets the call all the same (binance-spot 10.3)."""
        if held.until_ms - self.now_ms <= PROCESSING_MS:
            return held
        self._timeouts += 1
        heapq.heappush(self._late, (held.until_ms, self._timeouts, endpoint, call, account))
        response = self._with_headers(self.refused(timed_out(self._status(TIMEOUT))), call.remote)
        return msgspec.structs.replace(response, delay_ms=PROCESSING_MS)

    def next_due(self) -> int | None:
        return self._late[0][0] if self._late else None

    def advance(self, now_ms: int) -> None:
        """Hand the engine what its callers have given up."""
        while self._late and self._late[0][0] <= now_ms:
            _, _, endpoint, call, account = heapq.heappop(self._late)
            try:
                _carry_out(endpoint, call, account)
            except (SpotError, Refused):
                continue  # there is nobody to tell

    # On the way in.

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

    def _status(self, code: int) -> int:
        return self._exchange.state.config.spot.timeout_status if code == TIMEOUT else status_of(code)

    def _business(self, rule: FaultRule) -> Response:
        """A fault rule's error in the venue's form; without a code it says that nothing is known."""
        if rule.kind == "verification_required":
            code, text = -2015, "Invalid API-key, IP, or permissions for action."
        else:
            code, text = -1000, "An unknown error occurred while processing the request."
        if rule.code.lstrip("-").isdigit():
            code = int(rule.code)
        return respond({"code": code, "msg": rule.message or text}, self._status(code))

    def _with_headers(self, response: Response, remote: str) -> Response:
        now = self._exchange.now_ms
        used = str(self._limits.used(remote, now))
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


def _carry_out(endpoint: Endpoint, call: Call, account: Account | None) -> Any:
    return endpoint.call(account, call.params) if account else endpoint.call(call.params)

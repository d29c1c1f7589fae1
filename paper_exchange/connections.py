"""Who may open a stream connection now: faults, Spot's bans of an address, its limit on connects.

Counts by client address in windows of five minutes; the counts live as long as the process.
"""

import msgspec

from paper_exchange.config import SpotSettings
from paper_exchange.faults import Faults, Scope
from paper_exchange.http import Request, Response, encode
from paper_exchange.model import VenueName
from paper_exchange.spot_errors import SpotError, bad_time_unit
from paper_exchange.spot_limits import SpotLimits
from paper_exchange.spot_wire import UNITS

WINDOW_MS = 300_000


def _time_unit(request: Request) -> Response | None:
    """A unit of time that is none is refused at the handshake (binance-spot 1.3)."""
    if request.query.get("timeUnit", "MILLISECOND") in UNITS:
        return None
    return _spelled(bad_time_unit())


def _spelled(error: SpotError) -> Response:
    return Response(status=error.status, body=encode({"code": error.code, "msg": error.message}))


class Connections:
    """The door of the sockets. `opened` counts connects by venue, `refused` those turned away."""

    def __init__(self, settings: SpotSettings, faults: Faults, limits: SpotLimits) -> None:
        self._settings = settings
        self._faults = faults
        self._limits = limits
        self._window = 0
        self._counts: dict[str, int] = {}
        self.opened: dict[str, int] = {"alpha": 0, "spot": 0}
        self.refused: dict[str, int] = {"alpha": 0, "spot": 0}

    def refuse(self, request: Request, now_ms: int) -> Response | None:
        """The answer instead of a handshake; None lets the client in."""
        venue: VenueName = "alpha" if request.path.startswith("/w3w/") else "spot"
        answer = self._fault(venue)
        if venue == "spot":  # of Alpha no limits are known
            answer = answer or self._ban(request.remote, now_ms) or self._limit(request.remote, now_ms)
            answer = answer or _time_unit(request)
        (self.opened if answer is None else self.refused)[venue] += 1
        return answer

    def _fault(self, venue: VenueName) -> Response | None:
        rule = self._faults.strike(Scope(venue, "connect"), "connect_refused", "ban")
        if rule is None:
            return None
        seconds = max(1, -(-(self._faults.until_ms(rule) - self._faults.now_ms) // 1000))
        headers = {"content-type": "text/plain", "retry-after": str(seconds)}
        return Response(status=rule.status, body=rule.message.encode(), headers=headers)

    def _ban(self, remote: str, now_ms: int) -> Response | None:
        """A ban is of the address, not of REST alone (binance-spot 8)."""
        try:
            self._limits.check_ban(remote, now_ms)
        except SpotError as error:
            seconds = max(1, -(-((error.retry_ms or now_ms) - now_ms) // 1000))
            headers = {"content-type": "application/json", "retry-after": str(seconds)}
            return msgspec.structs.replace(_spelled(error), headers=headers)
        return None

    def _limit(self, remote: str, now_ms: int) -> Response | None:
        if now_ms // WINDOW_MS != self._window:
            self._window, self._counts = now_ms // WINDOW_MS, {}
        count = self._counts[remote] = self._counts.get(remote, 0) + 1
        if count <= self._settings.connections_per_5_minutes:
            return None
        return _spelled(SpotError(-1034, "Too many connections; please use fewer."))  # our own text

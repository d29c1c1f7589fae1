"""The Spot surface over HTTP: paths, raw signed bytes, units of time, what is gone.

handle() is a pure function of the exchange's state and the request. What a call does stands in
spot_calls.py; here stands how REST spells it.
"""

from paper_exchange.http import Answer, Request, Response
from paper_exchange.spot_auth import Claim, signature_in, signed_part
from paper_exchange.spot_calls import Call, SpotCalls
from paper_exchange.spot_endpoints import ROUTES, Endpoint
from paper_exchange.spot_errors import SpotError, bad_time_unit
from paper_exchange.spot_limits import SpotLimits
from paper_exchange.spot_params import Params, pairs_of
from paper_exchange.spot_wire import UNITS

ROOT = "/api/v3/"
# Listen keys were switched off in 2026; an nginx page answers (binance-spot 6).
REMOVED = ("userDataStream",)


class SpotApi:
    """Routes one request to the exchange and back."""

    def __init__(self, calls: SpotCalls, limits: SpotLimits) -> None:
        self._calls = calls
        self._limits = limits
        self._paths = {path for _, path in ROUTES}

    def serves(self, path: str) -> bool:
        return path.startswith(("/api/", "/sapi/"))

    def handle(self, request: Request, *, held: bool = False) -> Answer:
        path = request.path.removeprefix(ROOT)
        name = ROUTES.get((request.method, path))
        if name is None:
            return self._without_route(request, path)
        endpoint = self._calls.endpoints[name]
        try:
            if not held:
                self._limits.count_raw(request.remote, self._calls.now_ms)
            call = _call(request, endpoint, held=held)
        except SpotError as error:
            return self._calls.turn_away(endpoint, request.remote, error)
        return self._calls.answer(endpoint, call)

    def _without_route(self, request: Request, path: str) -> Response:
        if path in REMOVED:
            return _page(request, 410, "410 Gone", always=True)
        if path in self._paths:
            return _page(request, 405, "405 Not Allowed")
        return _page(request, 404, "404 Not Found")


def _call(request: Request, endpoint: Endpoint, *, held: bool) -> Call:
    """What was sent, and the proof over its exact bytes."""
    micros = UNITS.get(request.headers.get("x-mbx-time-unit", "MILLISECOND"))
    if micros is None:
        raise bad_time_unit()
    query, body = request.query_string, request.body.decode(errors="replace")
    claim = Claim()
    if endpoint.signed:
        payload = (signed_part(query) + signed_part(body)).encode()
        claim = Claim(request.headers.get("x-mbx-apikey", ""), signature_in((query, body)), payload)
    return Call(Params(pairs_of(query, body)), claim, request.remote, micros, held)


def _page(request: Request, status: int, title: str, *, always: bool = False) -> Response:
    """A web server's page, for whoever takes one."""
    if not always and "text/html" not in request.headers.get("accept", ""):
        return Response(status=status, headers={"content-type": "application/octet-stream"})
    body = (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n"
        "<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    )
    return Response(status=status, body=body.encode(), headers={"content-type": "text/html"})

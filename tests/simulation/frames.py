"""Frames of the WS API, read and written as a line sees them."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from paper_exchange.http import Request

# The WS API's calls about orders, as REST names them: what is on the wire is read in one spelling.
TWINS = {
    "order.place": ("POST", "/api/v3/order"),
    "orderList.place.oto": ("POST", "/api/v3/orderList/oto"),
    "orderList.place.opo": ("POST", "/api/v3/orderList/opo"),
    "order.cancel": ("DELETE", "/api/v3/order"),
    "order.status": ("GET", "/api/v3/order"),
}


def twin(asked: Mapping[str, Any]) -> Request:
    """A WS API request as REST would have sent it, without its signature."""
    method, path = TWINS[asked["method"]]
    params = {name: str(value) for name, value in asked["params"].items() if name != "signature"}
    key = params.pop("apiKey")
    coded = urlencode(params)
    return Request(
        method=method,
        path=path,
        query_string="" if method == "POST" else coded,
        headers={"x-mbx-apikey": key},
        body=coded.encode() if method == "POST" else b"",
        remote="10.0.0.1",
    )


def refusal(number: str, status: int, code: int, **data: int) -> bytes:
    """The WS API's answer of refusal."""
    error = {"code": code, "msg": "gateway"} | ({"data": data} if data else {})
    return json.dumps({"id": number, "status": status, "error": error}).encode()

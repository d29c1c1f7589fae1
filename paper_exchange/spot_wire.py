"""How Spot writes JSON: padded decimals as strings, times in the unit the client asked for."""

from decimal import Decimal
from typing import Any, cast

import msgspec

from paper_exchange.config import Instrument
from paper_exchange.http import Response
from paper_exchange.numbers import padded

Row = dict[str, Any]

JSON = "application/json;charset=UTF-8"
UNITS = {"MILLISECOND": False, "millisecond": False, "MICROSECOND": True, "microsecond": True}


class Ms(int):
    """A time in whole milliseconds; told in microseconds to a client that wants those."""


def _millis(value: Any) -> int:
    return int(cast("Ms", value))


def _micros(value: Any) -> int:
    return int(cast("Ms", value)) * 1000


_ENCODERS = {
    micros: msgspec.json.Encoder(enc_hook=hook, decimal_format="string")
    for micros, hook in ((False, _millis), (True, _micros))
}


def encode(value: object, *, micros: bool = False) -> bytes:
    """JSON in the wanted unit of time."""
    return _ENCODERS[micros].encode(value)


def respond(value: object, status: int = 200, *, micros: bool = False) -> Response:
    return Response(status=status, body=encode(value, micros=micros), headers={"content-type": JSON})


def price(instrument: Instrument, value: Decimal) -> str:
    """A price or a quote amount."""
    return padded(value, instrument.quote_precision)


def quantity(instrument: Instrument, value: Decimal) -> str:
    """A base amount."""
    return padded(value, instrument.base_precision)

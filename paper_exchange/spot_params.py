"""One call's parameters: read by name and syntax, counted, and nothing left over.

Values are text, whether they came in a query, a form or a JSON frame. Whatever was sent must be
read by somebody, or finish() refuses the call as the venue does (binance-spot 1.2).
"""

import re
from collections.abc import Collection, Mapping
from decimal import Decimal
from urllib.parse import parse_qsl

from paper_exchange.http import read_json
from paper_exchange.numbers import ZERO
from paper_exchange.spot_errors import SpotError, illegal, missing, not_required, not_valid

DECIMAL = r"^([0-9]{1,20})(\.[0-9]{1,20})?$"
WHOLE = "^[0-9]{1,20}$"
CLIENT_ID = "^[a-zA-Z0-9-_]{1,36}$"
MICROS_FROM = 10**14
EARLIEST_MS = 1_483_228_800_000
AHEAD_MS = 10_000
SYMBOLS = r'^\["[^"]{1,20}"(,"[^"]{1,20}")*\]$'

_LEGAL = {legal: re.compile(legal.replace("9-_]", "9\\-_]")) for legal in (DECIMAL, WHOLE, CLIENT_ID)}


def pairs_of(*parts: str) -> dict[str, str]:
    """Query and form as one mapping: the query wins; a name twice in one of them is refused."""
    found: dict[str, str] = {}
    for part in parts:
        pairs = parse_qsl(part, keep_blank_values=True)
        if len({name for name, _ in pairs}) != len(pairs):
            raise SpotError(-1101, "Duplicate values for a parameter detected.")
        found = dict(pairs) | found
    return found


class Params:
    """What was sent, and which of it has been read."""

    def __init__(self, sent: Mapping[str, str]) -> None:
        self._sent = sent
        self._read: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._sent

    def peek(self, name: str) -> str:
        """The value, empty if absent, without reading it."""
        return self._sent.get(name, "")

    def text(self, name: str, default: str = "") -> str:
        """An optional value."""
        if name not in self._sent:
            return default
        self._read.add(name)
        if not self._sent[name]:
            raise SpotError(-1105, f"Parameter '{name}' was empty.")
        return self._sent[name]

    def need(self, name: str) -> str:
        """A mandatory value."""
        self._read.add(name)
        if not self._sent.get(name):
            raise missing(name)
        return self._sent[name]

    def skip(self, *names: str) -> None:
        """Count these as read."""
        self._read.update(names)

    def forbid(self, *names: str) -> None:
        """Refuse what this kind of order does not take."""
        for name in names:
            if name in self._sent:
                raise not_required(name)

    def finish(self) -> None:
        """Refuse a call with parameters that nobody read."""
        read = len(self._read & self._sent.keys())
        if read < len(self._sent):
            raise SpotError(
                -1104,
                f"Not all sent parameters were read; read '{read}' parameter(s) "
                f"but was sent '{len(self._sent)}'.",
            )

    # By syntax.

    def decimal(self, name: str, *, needed: bool = False) -> tuple[Decimal, int]:
        """An amount and how many decimals it was written with; zero if it is absent."""
        value = self._legal(name, DECIMAL, needed)
        _, _, fraction = value.partition(".")
        return (Decimal(value), len(fraction)) if value else (ZERO, 0)

    def whole(self, name: str, *, needed: bool = False) -> int | None:
        value = self._legal(name, WHOLE, needed)
        return int(value) if value else None

    def client_id(self, name: str) -> str:
        return self._legal(name, CLIENT_ID, False)

    def limit(self, default: int, most: int) -> int:
        """How many rows; more than there may be is cut."""
        limit = self.whole("limit")
        if limit == 0:
            raise not_valid("limit")
        return default if limit is None else min(limit, most)

    def span(self, now_ms: int) -> tuple[int | None, int | None]:
        """`startTime` and `endTime` of either unit, in ms; out of range they are cut (binance-spot 1.3)."""
        return self._time("startTime", now_ms), self._time("endTime", now_ms)

    def _time(self, name: str, now_ms: int) -> int | None:
        value = self.whole(name)
        if value is None:
            return None
        return min(max(value // 1000 if value >= MICROS_FROM else value, EARLIEST_MS), now_ms + AHEAD_MS)

    def flag(self, name: str, default: bool = False) -> bool:
        value = self.text(name)
        if value not in ("", "true", "false"):
            raise not_valid(name)
        return value == "true" if value else default

    def choice(self, name: str, allowed: Collection[str], error: SpotError, default: str = "") -> str:
        """One of these words, or the default if it is absent."""
        value = self.text(name)
        if value and value not in allowed:
            raise error
        return value or default

    def symbols(self) -> list[str] | None:
        """The names in `symbols`, a JSON array; None if it is absent."""
        raw = self.text("symbols")
        if not raw:
            return None
        try:
            names = read_json(raw)
        except ValueError:
            names = None
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise illegal("symbols", SYMBOLS)
        if len(set(names)) != len(names):
            raise SpotError(-1151, "Symbol is present multiple times in the list.")
        return names

    def _legal(self, name: str, legal: str, needed: bool) -> str:
        value = self.need(name) if needed else self.text(name)
        if value and not _LEGAL[legal].fullmatch(value):
            raise illegal(name, legal)
        return value

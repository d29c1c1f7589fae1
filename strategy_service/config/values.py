"""One raw YAML value to one checked Python value.

Each reader takes a node and returns the value or raises Wrong, whose text says what to write
instead. What YAML tools read in different ways (ON, 010, 1e3, 12:30, 1_000) is refused rather
than guessed (product section 2); numbers are Decimals made from the text as written.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Generic, Protocol, TypeVar

import yaml

from otopilot import money
from strategy_service.config.model import VolumeWindow
from strategy_service.config.problems import did_you_mean, shown
from strategy_service.config.yaml_source import Broken, Listing, Node, Scalar, Table

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Schema = Mapping[str, Any]


class Reader(Protocol[T_co]):
    """Reads one value, and knows what JSON Schema says of it."""

    @property
    def schema(self) -> Schema:
        """For schema.py."""
        ...

    def __call__(self, node: Node) -> T_co:
        """The value. Raises Wrong."""
        ...


@dataclass(frozen=True, slots=True)
class _Reader(Generic[T]):
    read: Callable[[Node], T]
    schema: Schema

    def __call__(self, node: Node) -> T:
        return self.read(node)


def _described(**schema: Any) -> Callable[[Callable[[Node], T]], _Reader[T]]:
    return lambda read: _Reader(read, schema)


_NUMBER = re.compile(r"[+-]?(0|[1-9][0-9]*)(\.[0-9]+)?", re.ASCII)
_LOOSE_NUMBER = re.compile(r"([+-]?)([0-9][0-9_,]*)?(\.[0-9]*)?(?:[eE]([+-]?[0-9]{1,2}))?", re.ASCII)
_UNIT = re.compile(r"\s*(%|s|sec|seconds|usdt|usd|\$)$", re.IGNORECASE | re.ASCII)
_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)
_NONE_WORDS = ("none", "null", "~")
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@+-]{0,63}", re.ASCII)
# What would garble a terminal or a log line: controls, line breaks, writing-direction marks.
_GARBLING = "\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069"
_TOKEN = re.compile(rf"[^\s/\\{_GARBLING}]{{1,32}}")
_TITLE = re.compile(rf"[^{_GARBLING}]{{1,100}}")
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?\s?(Z|z|[+-]\d\d:\d\d)?", re.ASCII)
_OTHER_NUMBERS = re.compile(r"0o[0-7]+|[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_KINDS = {"bool": "boolean", "timestamp": "date", "null": "null"}
_IMPLICIT = yaml.resolver.Resolver.yaml_implicit_resolvers


class Wrong(ValueError):
    """This value cannot stand here; node is set when a part of it is to blame."""

    def __init__(self, message: str, node: Node | None = None) -> None:
        super().__init__(message)
        self.node = node


class Reported(Exception):
    """The value was complained about while the YAML was read."""


def number(low: str, high: str, *, above_low: bool = False) -> Reader[Decimal]:
    """A reader of exact decimals from low to high; above_low leaves low itself out."""
    least, most = Decimal(low), Decimal(high)

    def read(node: Node) -> Decimal:
        value = _plain_number(_scalar(node, "a number"))
        if value < least or value > most or (above_low and value == least):
            bound = f"more than {low}" if above_low else f"at least {low}"
            raise Wrong(f"{money.text(value)} is out of range: {bound} and at most {high}")
        return value

    bound = "exclusiveMinimum" if above_low else "minimum"
    return _Reader(read, {"type": "number", bound: json.loads(low), "maximum": json.loads(high)})


def whole(low: int, high: int) -> Reader[int]:
    """A reader of whole numbers from low to high."""

    def read(node: Node) -> int:
        scalar = _scalar(node, "a whole number")
        value = _plain_number(scalar)
        if not _INTEGER.fullmatch(scalar.text):
            raise Wrong(f"{shown(scalar.text)} must be a whole number")
        if not low <= value <= high:
            raise Wrong(f"{scalar.text} is out of range: at least {low} and at most {high}")
        return int(value)

    return _Reader(read, {"type": "integer", "minimum": low, "maximum": high})


def optional(read: Reader[T]) -> Reader[T | None]:
    """The reader, where the word none (or null) may stand as well."""

    def read_optional(node: Node) -> T | None:
        if isinstance(node, Scalar) and node.plain and node.text.lower() in _NONE_WORDS:
            return None
        if isinstance(node, Scalar) and node.plain and not node.text:
            raise Wrong("the value is missing (write none for no limit)")
        return read(node)

    return _Reader(read_optional, {"anyOf": [read.schema, {"enum": ["none", None]}]})


def choice(*options: str) -> Reader[str]:
    """A reader of one of these words."""

    def read(node: Node) -> str:
        scalar = _scalar(node, " or ".join(options))
        if scalar.text not in options:
            hint = did_you_mean(scalar.text.lower().replace("-", "_"), options)
            raise Wrong(f"{shown(scalar.text)} must be {' or '.join(options)}{hint}")
        return scalar.text

    return _Reader(read, {"enum": list(options)})


@_described(type="boolean")
def flag(node: Node) -> bool:
    """true or false, and no other spelling."""
    scalar = _scalar(node, "true or false")
    if not scalar.plain or scalar.text not in ("true", "false"):
        raise Wrong(f"{shown(scalar.text)} must be true or false, in small letters without quotes")
    return scalar.text == "true"


@_described(type=["string", "integer"], pattern=f"^(?:{_IDENTIFIER.pattern})$")
def identifier(node: Node) -> str:
    """A strategy or user id: a number or text, the same id either way."""
    scalar = _scalar(node, "an id")
    _refuse_other_types(scalar)
    if not _IDENTIFIER.fullmatch(scalar.text):
        raise Wrong(
            f"{shown(scalar.text)} is no id: 1 to 64 letters, digits and . _ - @ +, first a letter or digit"
        )
    return scalar.text


@_described(type=["string", "integer"], minLength=1, maxLength=32)
def token(node: Node) -> str:
    """A token or chain name, as the venue spells it."""
    scalar = _scalar(node, "a name")
    _refuse_other_types(scalar)
    if not _TOKEN.fullmatch(scalar.text):
        raise Wrong(f"{shown(scalar.text)} is no token or chain name: 1 to 32 characters without blanks")
    return scalar.text


@_described(type=["string", "integer"], minLength=1, maxLength=100)
def title(node: Node) -> str:
    """A name for people: one line of any characters."""
    scalar = _scalar(node, "a name")
    _refuse_other_types(scalar)
    text = scalar.text.strip()
    if not _TITLE.fullmatch(text):
        raise Wrong(f"{shown(scalar.text)} must be one line of 1 to 100 characters")
    return text


@_described(
    anyOf=[
        {"enum": ["day", "all"]},
        {
            "type": "object",
            "properties": {"since": {"type": "string", "format": "date-time"}},
            "required": ["since"],
            "additionalProperties": False,
        },
    ]
)
def window(node: Node) -> VolumeWindow:
    """day, all, or a table with the one key since."""
    if isinstance(node, Broken):
        raise Reported
    if isinstance(node, Scalar):
        if node.text == "day":
            return VolumeWindow("day")
        if node.text == "all":
            return VolumeWindow("all")
    if isinstance(node, Table) and list(node.entries) == ["since"]:
        since = node.entries["since"].value
        return VolumeWindow("since", _timestamp(since))
    what = f"{shown(node.text)} " if isinstance(node, Scalar) and node.text else ""
    raise Wrong(f"{what}must be day, all, or {{since: 2026-01-31T00:00:00Z}}")


def _timestamp(node: Node) -> datetime:
    scalar = _scalar(node, "a timestamp", blame=True)
    found = _TIMESTAMP.fullmatch(scalar.text)
    if not found:
        raise Wrong(f"{shown(scalar.text)} is no timestamp such as 2026-01-31T00:00:00Z", node)
    if not found[3]:
        raise Wrong(f"{shown(scalar.text)} lacks its time zone: end it with Z (UTC) or +08:00", node)
    try:
        moment = datetime.fromisoformat(scalar.text.replace(" ", "T", 1).replace(" ", "").upper())
        if not 2000 <= moment.year <= 2200:
            raise Wrong(f"{shown(scalar.text)} is out of range: years 2000 to 2200", node)
        return moment.astimezone(UTC)
    except ValueError as error:
        if isinstance(error, Wrong):
            raise
        raise Wrong(f"{shown(scalar.text)} is no date and time of the calendar", node) from None


def _scalar(node: Node, what: str, *, blame: bool = False) -> Scalar:
    """The node as a value that is there."""
    part = node if blame else None
    if isinstance(node, Broken):
        raise Reported
    if isinstance(node, Listing):
        raise Wrong(f"a list stands where {what} is wanted", part)
    if isinstance(node, Table):
        raise Wrong(f"a table stands where {what} is wanted", part)
    if node.text == "" or (node.plain and node.text.lower() in ("null", "~")):
        raise Wrong(f"the value is missing: {what} is wanted", part)
    return node


def _refuse_other_types(scalar: Scalar) -> None:
    """Stop at plain text that some YAML tool reads as a boolean, a date or another number.

    A whole number reads the same everywhere, so it may stand as a name.
    """
    text = scalar.text
    if not scalar.plain or re.fullmatch(r"0|[1-9][0-9]*", text, re.ASCII):
        return
    kind = None
    for tag, pattern in [*_IMPLICIT.get(text[:1], []), *_IMPLICIT.get(None, [])]:
        if pattern.match(text):
            kind = _KINDS.get(tag.rsplit(":", 1)[1], "number")
            break
    if kind is None and _OTHER_NUMBERS.fullmatch(text):
        kind = "number"
    if kind:
        raise Wrong(f'{text} is a YAML {kind} where a name stands: write it in quotes, "{text}"')


def _plain_number(scalar: Scalar) -> Decimal:
    """The number exactly as written; whatever YAML tools disagree about is refused with a way out."""
    if not _NUMBER.fullmatch(scalar.text):
        raise Wrong(f"{shown(scalar.text)} is no plain decimal number{_way_out(scalar.text)}")
    try:
        return money.parse(scalar.text)
    except ValueError:
        raise Wrong(f"{shown(scalar.text)} has too many digits") from None


def _way_out(text: str) -> str:
    """What the writer probably meant, as " (write 1000)"; empty when that is a guess."""
    if re.fullmatch(r"[+-]?0[0-9_]+", text, re.ASCII):
        plain = text.replace("_", "").lstrip("+-0") or "0"
        return f" (YAML tools read a leading 0 as octal: write {plain})" if len(plain) <= 30 else ""
    bare = _UNIT.sub("", text.strip())
    found = _LOOSE_NUMBER.fullmatch(bare)
    if not found or not (found[2] or (found[3] or "") not in ("", ".")) or len(bare) > 40:
        return ""
    if "," in (found[2] or "") and not re.fullmatch(r"[0-9]{1,3}(,[0-9]{3})+", found[2], re.ASCII):
        return ""  # 0,5 may be a decimal comma
    value = Decimal(bare.replace("_", "").replace(",", ""))
    return f" (write {money.text(value)})"

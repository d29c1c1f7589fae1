"""Payloads made wrong on purpose: a field that is absurd, unknown or missing, or no JSON at all.

A path names where: keys, list positions, `*` for every element, `+` for one more (`symbols.*.filters.+`).
What the path does not meet stays as it was.
"""

import json
from decimal import Decimal
from typing import Any

import msgspec

from paper_exchange.faults import FaultRule, Faults, Scope

GARBAGE = b'{"e":"\xff\xfe", [1, }'
_ENCODER = msgspec.json.Encoder(decimal_format="number")


def spoiled(body: bytes, faults: Faults, scope: Scope) -> bytes:
    """A JSON text as the rules for this scope leave it."""
    if rule := faults.strike(scope, "garbage"):
        return rule.message.encode() or GARBAGE
    for rule in faults.strike_all(scope, "mutate"):
        body = mutated(body, rule)
    return body


def mutated(body: bytes, rule: FaultRule) -> bytes:
    """The payload with the rule's value at its path; as it is if it is no JSON."""
    try:
        value = json.loads(body, parse_float=Decimal)
    except ValueError:
        return body
    change = json.loads(rule.value, parse_float=Decimal) if rule.value is not None else _GONE
    _put(value, rule.field.split("."), change)
    return _ENCODER.encode(value)


_GONE = object()


def _put(node: Any, path: list[str], value: Any) -> None:
    name, *rest = path
    if isinstance(node, list):
        _put_in_list(node, name, rest, value)
    elif isinstance(node, dict):
        if rest:
            _put(node.get(name), rest, value)
        elif value is _GONE:
            node.pop(name, None)
        else:
            node[name] = value


def _put_in_list(node: list[Any], name: str, rest: list[str], value: Any) -> None:
    if name == "+" and not rest:
        node.append(value)
        return
    positions = range(len(node)) if name == "*" else [int(name)] if name.isdigit() else []
    for position in positions:
        if position >= len(node):
            continue
        if rest:
            _put(node[position], rest, value)
        else:
            node[position] = value

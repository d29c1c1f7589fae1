"""The trading configuration as JSON Schema (2020-12), for editors and other tools.

Made from the same table that the loader reads by (keys.py), so the two cannot drift. It says less
than the loader: what values mean together is only checked there.
"""

import json
from decimal import Decimal
from typing import Any

from strategy_service.config import keys
from strategy_service.config.keys import Key
from strategy_service.config.model import DEFAULT_MAX_CONCURRENT_USERS, Value, value_text
from strategy_service.config.values import identifier

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """The whole file."""
    return {
        "$schema": DIALECT,
        "title": "Otopilot trading configuration",
        "type": "object",
        "properties": {
            "global_settings": _global_settings() | {"type": ["object", "null"]},
            "strategies": {"type": "array", "items": _strategy()},
            "user_overrides": {"type": ["array", "null"], "items": _override()},
        },
        "required": ["strategies"],
        "additionalProperties": False,
    }


def table() -> list[tuple[str, str, str, str]]:
    """Every key: its name, where it may stand (global: as default_<key>), its default, its meaning."""
    rows = [(key.name, _places(key), _default(key), key.meaning) for key in keys.BY_NAME.values()]
    rows.append((keys.USER_IDS, "strategy", "", "who takes part; all at once"))
    name, most = keys.MAX_CONCURRENT_USERS, str(DEFAULT_MAX_CONCURRENT_USERS)
    rows.append((name, "global", most, "how many distinct users run at once"))
    return rows


def _places(key: Key) -> str:
    places = ["strategy"]
    if key.has_global_default:
        places.append("global")
    if key.per_user:
        places.append("override")
    return ", ".join(places)


def _default(key: Key) -> str:
    return "" if key.default is None and not key.per_user else value_text(key.default)


def _described(key: Key) -> dict[str, Any]:
    found = dict(key.read.schema) | {"description": key.meaning}
    if key.default is not None:
        found["default"] = _plain(key.default)
    return found


def _plain(value: Value) -> Any:
    """As it would stand in the file."""
    return json.loads(value_text(value)) if isinstance(value, Decimal | bool | int) else value_text(value)


def _global_settings() -> dict[str, Any]:
    properties = {key.global_name: _described(key) for key in keys.BY_NAME.values() if key.has_global_default}
    properties[keys.VOLATILITY] = _described(keys.BY_NAME[keys.VOLATILITY])
    properties[keys.MAX_CONCURRENT_USERS] = {
        "type": "integer",
        "minimum": 1,
        "maximum": 1_000_000,
        "description": "how many distinct users run at once",
        "default": DEFAULT_MAX_CONCURRENT_USERS,
    }
    return _closed(properties)


def _strategy() -> dict[str, Any]:
    properties = {key.name: _described(key) for key in keys.BY_NAME.values()}
    users = {"type": "array", "items": dict(identifier.schema), "minItems": 1, "uniqueItems": True}
    properties[keys.USER_IDS] = users | {"description": "who takes part; all at once"}
    required = [keys.STRATEGY_ID.name, *keys.REQUIRED, keys.USER_IDS]
    return _closed(properties) | {"required": required}


def _override() -> dict[str, Any]:
    own = _closed({key.name: _described(key) for key in keys.PER_USER})
    properties = {
        "user_id": dict(identifier.schema),
        "strategies": {"type": "object", "additionalProperties": own},
    }
    return _closed(properties) | {"required": ["user_id", "strategies"]}


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}

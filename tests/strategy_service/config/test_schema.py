"""The JSON Schema says what the loader takes: every example passes, every key is described."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from strategy_service.config import keys
from strategy_service.config.schema import schema, table

ROOT = Path(__file__).parents[3]
CONFIG = ROOT / "config"
EXAMPLES = [*sorted((CONFIG / "examples").glob("*.yaml")), CONFIG / "trading_config.yaml"]
TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
    "integer": int,
    "number": (int, float),
}


def problems(value: Any, rule: dict[str, Any], place: str = "") -> list[str]:
    """The part of JSON Schema that the schema uses."""
    if "anyOf" in rule:
        found = [problems(value, each, place) for each in rule["anyOf"]]
        return [] if [] in found else found[0]
    if "enum" in rule:
        return [] if value in rule["enum"] else [f"{place}: {value!r}"]
    kinds = [rule["type"]] if isinstance(rule["type"], str) else rule["type"]
    fits = [isinstance(value, TYPES[kind]) and (kind == "boolean" or value is not True) for kind in kinds]
    if not any(fits):
        return [f"{place}: {value!r} is no {kinds}"]
    if isinstance(value, dict):
        known = rule.get("properties", {})
        other = rule.get("additionalProperties", True)
        wrong = [f"{place}.{key}: missing" for key in rule.get("required", ()) if key not in value]
        for key, each in value.items():
            if key in known:
                wrong += problems(each, known[key], f"{place}.{key}")
            elif other is False:
                wrong.append(f"{place}.{key}: unknown")
            elif isinstance(other, dict):
                wrong += problems(each, other, f"{place}.{key}")
        return wrong
    if isinstance(value, list):
        return [each for item in value for each in problems(item, rule["items"], place)]
    if isinstance(value, str):
        return [] if re.search(rule.get("pattern", ""), value) else [f"{place}: {value!r}"]
    if value is None or isinstance(value, bool):
        return []
    low, high = rule.get("minimum", value), rule.get("maximum", value)
    inside = low <= value <= high and value != rule.get("exclusiveMinimum")
    return [] if inside and value >= rule.get("exclusiveMinimum", value) else [f"{place}: {value}"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_passes(path: Path) -> None:
    assert problems(yaml.safe_load(path.read_text(encoding="utf-8")), schema()) == []


STRATEGY = {"strategy_id": "s", "target_token": "KOGE", "target_volume": 100, "user_ids": [1, "a"]}


@pytest.mark.parametrize(
    ("change", "fits"),
    [
        ({}, True),
        ({"trade_intervall_seconds": 1}, False),
        ({"target_volume": 0}, False),
        ({"target_volume": "many"}, False),
        ({"target_scope": "both"}, False),
        ({"volume_window": "day"}, True),
        ({"volume_window": {"since": "2026-01-31T00:00:00Z"}}, True),
        ({"volume_window": {"until": "2026-01-31T00:00:00Z"}}, False),
        ({"sell_timeout_seconds": "none"}, True),
        ({"sell_timeout_seconds": 0.01}, False),
        ({"max_slippage_steps": 2.5}, False),
        ({"enabled": "ON"}, False),
        ({"strategy_id": "a b"}, False),
    ],
    ids=str,
)
def test_what_the_loader_refuses_the_schema_refuses_too(change: dict[str, Any], fits: bool) -> None:
    assert (problems({"strategies": [STRATEGY | change]}, schema()) == []) is fits


def test_a_strategy_needs_its_required_keys_and_an_override_takes_only_per_user_keys() -> None:
    assert problems({"strategies": [{"strategy_id": "s"}]}, schema())
    own = {"user_id": 1, "strategies": {"s": {"target_volume": 5}}}
    assert problems({"strategies": [STRATEGY], "user_overrides": [own]}, schema())
    own = {"user_id": 1, "strategies": {"s": {"single_trade_amount_usdt": 5}}}
    assert problems({"strategies": [STRATEGY], "user_overrides": [own]}, schema()) == []


def test_every_key_is_described_with_its_default_and_its_place() -> None:
    whole = schema()
    strategy = whole["properties"]["strategies"]["items"]["properties"]
    globals_ = whole["properties"]["global_settings"]["properties"]
    for name, key in keys.BY_NAME.items():
        assert strategy[name]["description"] == key.meaning
        assert (key.global_name in globals_) is key.has_global_default
    assert strategy["single_trade_amount_usdt"]["default"] == 30
    assert {keys.MAX_CONCURRENT_USERS, keys.VOLATILITY} <= set(globals_)
    assert [row[0] for row in table()] == [*keys.BY_NAME, keys.USER_IDS, keys.MAX_CONCURRENT_USERS]
    json.dumps(whole)

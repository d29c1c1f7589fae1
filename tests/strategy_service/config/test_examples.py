"""The seeds' YAML fragments stand, complete, in config/examples, and all shipped files load."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from strategy_service.config import load

ROOT = Path(__file__).resolve().parents[3]
FRAGMENTS = sorted((ROOT / "tests/fixtures/seeds").glob("*.yaml"))
EXAMPLES = ROOT / "config/examples"
named = pytest.mark.parametrize("fragment", FRAGMENTS, ids=lambda path: path.stem)


def texts(path: Path) -> Any:
    """The file with every scalar as the text that was written."""
    return yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)


def missing(fragment: Any, example: Any, path: str = "") -> list[str]:
    """What of the fragment the example lacks or has otherwise; list entries are matched by place."""
    if isinstance(fragment, dict):
        if not isinstance(example, dict):
            return [path]
        return [gap for key in fragment for gap in missing(fragment[key], example.get(key), f"{path}.{key}")]
    if isinstance(fragment, list):
        if not isinstance(example, list) or len(example) != len(fragment):
            return [path]
        pairs = zip(fragment, example, strict=True)
        return [gap for n, (a, b) in enumerate(pairs) for gap in missing(a, b, f"{path}[{n}]")]
    return [] if fragment == example else [path]


def test_there_are_six_fragments() -> None:
    assert len(FRAGMENTS) == 6


@named
def test_every_key_and_value_of_a_fragment_is_in_its_example(fragment: Path) -> None:
    assert missing(texts(fragment), texts(EXAMPLES / fragment.name)) == []


def test_the_comparison_finds_a_changed_a_missing_and_an_extra_value() -> None:
    fragment = {"a": ["1", "2"], "b": "x", "c": {"d": "y"}}
    assert missing(fragment, {"a": ["1", "3"], "b": "x"}) == [".a[1]", ".c"]
    assert missing(fragment, {**fragment, "a": ["1", "2", "3"]}) == [".a"]


@named
def test_an_example_is_its_fragment_and_the_lines_marked_added(fragment: Path) -> None:
    lines = (EXAMPLES / fragment.name).read_text(encoding="utf-8").splitlines()
    body = lines[lines.index("") + 1 :]  # after the heading
    kept = [line.rstrip() for line in body if not line.endswith("# added")]
    assert kept == [line.rstrip() for line in fragment.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(
    "path",
    [*sorted(EXAMPLES.glob("*.yaml")), ROOT / "config/trading_config.yaml"],
    ids=lambda path: path.stem,
)
def test_every_shipped_file_loads_without_a_notice(path: Path) -> None:
    assert load(path).notices == ()


def test_the_shipped_configuration_is_the_seeds_unified_example() -> None:
    config = load(ROOT / "config/trading_config.yaml")
    assert [(s.strategy_id, s.enabled) for s in config.strategies] == [
        ("koge_volume_boost", True),
        ("aop_test", False),
    ]
    koge = config.enabled()[0]
    assert (koge.target_token, koge.target_chain, koge.venue) == ("KOGE", "BSC", "alpha")
    assert koge.target_volume == Decimal(16384)
    assert [(u.user_id, u.single_trade_amount_usdt) for u in koge.users] == [("1", 50), ("2", 30), ("3", 20)]


def test_the_demo_is_three_users_and_3000_usdt() -> None:
    (demo,) = load(EXAMPLES / "demo.yaml").enabled()
    assert demo.target_volume == Decimal(3000)
    assert [u.single_trade_amount_usdt for u in demo.users] == [50, 30, 20]
    assert {u.trade_interval_seconds for u in demo.users} == {Decimal(1)}

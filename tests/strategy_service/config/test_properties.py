"""Properties of the loader: any bytes load or raise ConfigError, and numbers stay exact."""

from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from otopilot import money
from strategy_service.config import ConfigError, TradingConfig, load_bytes
from strategy_service.config.keys import BY_NAME, SECTIONS
from tests.strategy_service.config.reading import GOOD, read

SHIPPED = (Path(__file__).resolve().parents[3] / "config/trading_config.yaml").read_text(encoding="utf-8")


def loads_or_complains(content: bytes) -> TradingConfig | None:
    """The configuration, or None when it was refused with at least one placed complaint."""
    try:
        return load_bytes(content, "t.yaml")
    except ConfigError as error:
        refused = error
    assert refused.problems
    for problem in refused.problems:
        assert problem.file == "t.yaml"
        assert problem.message
        assert "\n" not in str(problem)
    return None


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_with_a_complaint(content: bytes) -> None:
    assert loads_or_complains(content) is None


@given(st.text(alphabet=st.sampled_from("ab1: -[]{}&*!|>'\"%@`#,?\n\t.<~0x"), max_size=80))
@example("? ")
@example("? |\n a\n b\n: 1")
@example("- - - -")
@example("%YAML 3.0\n---\na")
@example("%TAG ! tag:x,2000:\n---\n!a b")
@example("a: |\n  b\n c")
@example("*a : b")
@example("&a\n")
@example("...")
@example("--- a\n...\n--- b")
def test_any_yaml_like_text_is_refused_with_a_complaint(text: str) -> None:
    assert loads_or_complains(text.encode()) is None


PLAIN = st.one_of(st.integers(), st.booleans(), st.none(), st.text(max_size=8), st.floats())
WORDS = st.sampled_from([*SECTIONS, *BY_NAME, "user_ids", "user_id", "since", "default_venue", "koge", "1"])


@given(
    st.recursive(
        PLAIN,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
        max_leaves=12,
    )
)
def test_any_tree_of_known_keys_loads_or_is_refused(tree: object) -> None:
    loads_or_complains(yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "replace"))


@settings(max_examples=200)
@given(
    st.integers(0, len(SHIPPED) - 1),
    st.sampled_from(["", " ", "\t", "\n", "-", ":", "1", "x", "[", "'", "&", "\x00"]),
)
def test_the_shipped_file_with_any_character_changed_loads_or_is_refused(at: int, character: str) -> None:
    loads_or_complains((SHIPPED[:at] + character + SHIPPED[at + 1 :]).encode())


AMOUNTS = st.decimals("0.000000000000000001", "999999999", allow_nan=False, allow_infinity=False, places=18)


@given(AMOUNTS)
def test_an_amount_is_exactly_what_was_written(amount: Decimal) -> None:
    written = format(amount, "f")
    config = read(GOOD + f"    single_trade_amount_usdt: {written}\n")
    kept = config.strategies[0].users[0].single_trade_amount_usdt
    assert kept == amount
    assert kept.as_tuple() == amount.as_tuple()  # not one digit more or less
    assert read(GOOD + f"    single_trade_amount_usdt: {money.text(kept)}\n").strategies == config.strategies


@given(st.floats(allow_nan=True, allow_infinity=True).map(repr))
def test_no_spelling_of_a_float_is_read_as_another_number(written: str) -> None:
    config = loads_or_complains(GOOD.replace("100", written).encode())
    if config is not None:
        assert config.strategies[0].target_volume == Decimal(written)


@pytest.mark.parametrize("users", [10_000])
def test_many_users_are_read_and_found(users: int) -> None:
    config = read(GOOD.replace("[1]", str(list(range(users)))))
    assert config.strategies[0].user(str(users - 1)).user_id == str(users - 1)

"""Amounts: exact, plain text, never a float, never an exponent."""

import threading
from decimal import Decimal, getcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otopilot import money

DIGITS = st.text("0123456789", min_size=1, max_size=30)
TEXTS = st.builds("{}{}.{}".format, st.sampled_from(["", "-"]), DIGITS, DIGITS)
AMOUNTS = TEXTS.map(money.parse)
GRIDS = st.sampled_from(["1", "0.01", "0.00000001", "0.05", "0.25", "10", "7"]).map(Decimal)
POSITIVE = st.decimals(0, 10**12, allow_nan=False, places=12)


@given(AMOUNTS)
def test_an_amount_and_its_text_are_the_same_amount(amount: Decimal) -> None:
    assert money.parse(money.text(amount)) == amount


@given(TEXTS)
def test_text_is_plain_and_has_no_needless_zero(text: str) -> None:
    plain = money.text(money.parse(text))
    assert "e" not in plain.lower()
    assert not plain.startswith("+")
    assert plain != "-0"
    assert "." not in plain or plain[-1] not in "0."
    assert money.text(money.parse(plain)) == plain


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("1E+5", "100000"),
        ("1E-8", "0.00000001"),
        ("48.0170", "48.017"),
        ("100", "100"),
        ("0.000", "0"),
        ("-0.0", "0"),
        ("-1.50", "-1.5"),
    ],
)
def test_no_amount_is_written_with_an_exponent(amount: str, text: str) -> None:
    assert money.text(Decimal(amount)) == text


@pytest.mark.parametrize(
    "text",
    ["", " 1", "1 ", "1e3", "1E-8", "NaN", "Infinity", "-inf", "1,5", "1_000", ".5", "5.", "٣", "--1", "1\n"],
)
def test_anything_but_a_plain_number_is_no_amount(text: str) -> None:
    with pytest.raises(ValueError, match="not a plain decimal number"):
        money.parse(text)


def test_an_endless_text_is_refused_without_repeating_it() -> None:
    with pytest.raises(ValueError) as caught:
        money.parse("1" * 100_000)
    assert len(str(caught.value)) < 100


@given(st.text())
def test_parse_gives_an_amount_or_a_value_error(text: str) -> None:
    try:
        assert money.parse(text).is_finite()
    except ValueError as error:
        assert "not a plain decimal number" in str(error)  # noqa: PT017 - both outcomes are right


def test_the_seeds_prices_are_exact() -> None:
    buy = money.plus_percent(Decimal(100), Decimal("0.5"))
    assert buy == Decimal("100.5")
    assert money.plus_percent(buy, Decimal(1)) == Decimal("101.505")
    assert money.plus_percent(Decimal(100), Decimal("-0.2")) == Decimal("99.8")


@given(POSITIVE, GRIDS)
def test_the_grid_lies_around_an_amount(amount: Decimal, grid: Decimal) -> None:
    low, high = money.floor_to(amount, grid), money.ceil_to(amount, grid)
    assert low <= amount <= high
    assert low % grid == high % grid == 0
    assert high - low == (grid if amount % grid else 0)


@given(POSITIVE, st.integers(0, 12))
def test_to_truncate_is_never_to_round_up(amount: Decimal, places: int) -> None:
    cut = money.truncate(amount, places)
    assert 0 <= amount - cut < Decimal(1).scaleb(-places)


def test_a_part_of_nothing_is_no_percentage() -> None:
    assert money.percent_of(Decimal(30), Decimal(120)) == 25
    assert money.percent_of(Decimal(30), Decimal(0)) == 0


@given(st.lists(st.integers(-(10**36), 10**36)))
def test_sums_of_amounts_lose_nothing(atoms: list[int]) -> None:
    amounts = [Decimal(each).scaleb(-18) for each in atoms]
    assert sum(amounts, money.ZERO).scaleb(18) == sum(atoms)


async def test_every_thread_and_task_counts_exactly() -> None:
    seen: list[int] = [getcontext().prec]
    thread = threading.Thread(target=lambda: seen.append(getcontext().prec))
    thread.start()
    thread.join()
    assert seen == [60, 60]

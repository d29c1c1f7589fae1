"""The seeds' price arithmetic, on any grid."""

from decimal import Decimal as D

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otopilot.instrument import Instrument, Venue
from strategy_service.prices import (
    Rise,
    Swing,
    grid_floor,
    open_sell_limit,
    prices,
    progress,
    residual_sale,
)
from tests.strategy_service.builders import KOGE, user_settings

TICKS = st.sampled_from([D("0.00000001"), D("0.0001"), D("0.01"), D("0.25"), D("1")])
REFERENCES = st.decimals(min_value=D("1.5"), max_value=D("100000"), places=8)
PERCENTAGES = st.decimals(min_value=D("-5"), max_value=D("5"), places=3)
STEPS = st.integers(0, 10)


def grid(tick: D) -> Instrument:
    return msgspec.structs.replace(KOGE, tick_size=tick)


def test_the_seeds_case_100_gives_100_5_and_101_505() -> None:
    buy, sell = prices(D(100), D("0.5"), D("1.0"), 0, D("0.2"), grid(D("0.001")))
    assert (buy, sell) == (D("100.5"), D("101.505"))


def test_each_step_of_the_ladder_adds_two_tenths_of_a_percent() -> None:
    bought = [prices(D(100), D("0.5"), D(1), k, D("0.2"), KOGE)[0] for k in range(6)]
    assert bought == [D("100.5"), D("100.7"), D("100.9"), D("101.1"), D("101.3"), D("101.5")]


@given(REFERENCES, PERCENTAGES, PERCENTAGES, STEPS, TICKS)
def test_a_buy_is_rounded_down_and_a_sell_up_by_less_than_a_tick(
    reference: D, offset: D, profit: D, step: int, tick: D
) -> None:
    buy, sell = prices(reference, offset, profit, step, D("0.2"), grid(tick))
    exact = reference * (1 + (offset + step * D("0.2")) / 100)
    assert exact - tick < buy <= exact
    exact_sell = exact * (1 + profit / 100)
    assert exact_sell <= sell < exact_sell + tick
    assert buy % tick == 0
    assert sell % tick == 0


@given(REFERENCES, TICKS, STEPS)
def test_the_sell_always_keeps_the_profit_over_the_buy(reference: D, tick: D, step: int) -> None:
    buy, sell = prices(reference, D("0.5"), D(1), step, D("0.2"), grid(tick))
    assert sell >= buy * D("1.01")


def test_alpha_may_be_applied_nine_ticks_lower_and_spot_may_not() -> None:
    assert KOGE.lowest_applied(D(100)) == D("99.91")
    assert msgspec.structs.replace(KOGE, venue=Venue.SPOT).lowest_applied(D(100)) == D(100)


def test_open_sells_are_the_venues_limit_less_a_tenth_and_a_setting_only_lowers_it() -> None:
    assert open_sell_limit(user_settings(), KOGE) == 180
    assert open_sell_limit(user_settings(max_open_sells=50), KOGE) == 50
    assert open_sell_limit(user_settings(max_open_sells=500), KOGE) == 180
    lists = msgspec.structs.replace(KOGE, max_num_order_lists=20)
    assert open_sell_limit(user_settings(), lists) == 18
    assert open_sell_limit(user_settings(), msgspec.structs.replace(KOGE, max_num_orders=1)) == 2
    assert open_sell_limit(user_settings(), msgspec.structs.replace(KOGE, max_num_orders=0)) is None


def test_a_residual_is_sold_from_1_05_minimum_notionals_on_at_cost_plus_profit() -> None:
    # 5 USDT at least: 5.25 are needed, at 101 a piece.
    assert residual_sale(D("0.0519"), D(100), D(1), KOGE) is None
    assert residual_sale(D("0.0529"), D(100), D(1), KOGE) == (D("0.052"), D("101.00"))
    assert residual_sale(D(1), None, D(1), KOGE) is None


@given(st.floats(0, 100), st.floats(0.001, 60), st.floats(0, 10_000))
def test_a_round_starts_on_its_own_grid_never_later_than_now(
    start: float, interval: float, late: float
) -> None:
    slot = grid_floor(start, interval, start + late)
    assert slot <= start + late + 1e-6
    assert start + late - slot < interval + 1e-6


def test_the_swing_is_over_the_window_and_forgets_what_left_it() -> None:
    swing = Swing(60.0)
    assert swing.percentage(0) == 0
    for second, price in ((0, "100"), (10, "104"), (20, "102")):
        swing.add(second, D(price))
    assert swing.percentage(30) == D(4)
    assert swing.percentage(61) == pytest.approx(D("1.96078431372549"))
    assert swing.percentage(300) == 0


def test_the_rise_is_of_the_last_moments_and_a_fall_is_none() -> None:
    rise = Rise()
    assert rise.percentage() == 0
    for moment, price in ((0.0, "100"), (0.25, "100.1"), (0.5, "100.2")):
        rise.add(moment, D(price))
    assert rise.percentage() == D("0.2")
    rise.add(0.75, D("100.3"))
    assert rise.percentage() == pytest.approx(D("0.1998"), abs=D("0.0001"))
    rise.add(2.0, D("99"))
    assert rise.percentage() == 0


def test_progress_is_cut_and_never_rounded_up() -> None:
    assert progress(D("1234.56"), D(16384)) == "7.53%"
    assert progress(D("99.9999"), D(100)) == "99.99%"
    assert progress(D(0), D(100)) == "0.00%"
    assert progress(D(101), D(100)) == "101.00%"

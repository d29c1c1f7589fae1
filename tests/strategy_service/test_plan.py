"""The plan: the seeds' estimates, prices and grids, cost, places, targets of each user."""

from dataclasses import replace
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otopilot.instrument import Instrument, Venue
from strategy_service.config import StrategyConfig, load_bytes
from strategy_service.plan import StrategyPlan, plan

FINE = Instrument(
    venue=Venue.ALPHA,
    symbol="ALPHA_22USDT",
    token="KOGE",
    base_asset="ALPHA_22",
    quote_asset="USDT",
    tick_size=Decimal("0.00000001"),
    step_size=Decimal("0.0001"),
    min_notional=Decimal("0.1"),
)
KOGE = Decimal("48")


def strategy(*amounts: str, target: str = "16384", more: str = "", own: str = "") -> StrategyConfig:
    """One user for each amount, with further lines for the strategy and for user 1."""
    users = list(range(1, len(amounts) + 1))
    text = f"""\
strategies:
  - strategy_id: koge
    target_token: KOGE
    target_chain: BSC
    target_volume: {target}
    user_ids: {users}
    {more}
user_overrides:
"""
    for user, amount in zip(users, amounts, strict=True):
        extra = f", {own}" if own and user == 1 else ""
        text += (
            f"  - {{user_id: {user}, strategies: {{koge: {{single_trade_amount_usdt: {amount}{extra}}}}}}}\n"
        )
    return load_bytes(text.encode(), "t.yaml").strategies[0]


def planned(config: StrategyConfig, price: Decimal = KOGE, **more: object) -> StrategyPlan:
    return plan(config, price=price, instrument=FINE, fee_rate=Decimal(0), **more)  # type: ignore[arg-type]


def seconds(figure: Decimal | None) -> int:
    assert figure is not None
    return round(figure)


def test_one_user_of_30_usdt_needs_547_rounds_and_546_seconds() -> None:
    result = planned(strategy("30"))
    assert result.rounds == 547
    assert seconds(result.duration_seconds) == 546
    assert result.volume == 16384


def test_three_users_of_100_usdt_a_second_need_164_seconds() -> None:
    result = planned(strategy("50", "30", "20"))
    assert seconds(result.duration_seconds) == 164
    assert [user.rounds for user in result.users] == [164, 164, 164]
    assert round(result.volume_per_second) == 100
    assert sum(user.volume for user in result.users) == pytest.approx(16384, abs=Decimal("0.000001"))


def test_prices_are_those_of_the_seeds() -> None:
    (user,) = planned(strategy("30"), Decimal(100)).users
    assert (user.buy_price, user.sell_price) == (Decimal("100.5"), Decimal("101.505"))


def test_a_buy_is_priced_down_and_a_sell_up_and_quantities_fit_the_step() -> None:
    rules = {"tick_size": Decimal("0.1"), "step_size": Decimal("0.01"), "min_notional": Decimal("5")}
    coarse = msgspec.structs.replace(FINE, venue=Venue.SPOT, **rules)
    (user,) = plan(strategy("30"), price=Decimal("10.01"), instrument=coarse, fee_rate=Decimal("0.001")).users
    assert (user.buy_price, user.sell_price) == (Decimal("10.0"), Decimal("10.2"))
    assert (user.quantity, user.sell_quantity) == (Decimal("3.00"), Decimal("2.99"))
    assert user.volume_per_round == 30


def test_cost_is_fees_less_gain() -> None:
    config = strategy("100", target="1000", more="buy_offset_percentage: 0")
    (user,) = plan(config, price=Decimal(10), instrument=FINE, fee_rate=Decimal("0.001")).users
    # A round: buys 10 at 10 (fee 0.1), sells 9.99 at 10.1 (fee 0.100899), gains 0.999; ten rounds.
    assert user.rounds == 10
    assert user.fees == Decimal("2.00899")
    assert user.cost == Decimal("2.00899") - Decimal("9.99")


def test_orders_beyond_the_market_cost_what_the_market_asks() -> None:
    # A BUY at 10.05 fills at 10, its SELL at 9.9495 too: fees are all there is. No SELL rests.
    config = strategy("100", target="1000", more="sell_profit_percentage: -1")
    result = plan(config, price=Decimal(10), instrument=FINE, fee_rate=Decimal("0.001"))
    assert result.cost == result.fees == result.cost_resting
    assert float(result.cost) == pytest.approx(2 * 0.001 * 1000 / 1.005, rel=1e-3)
    wide = plan(config, price=Decimal(10), instrument=FINE, fee_rate=Decimal("0.001"), spread=Decimal("0.2"))
    assert float(wide.cost - wide.fees) == pytest.approx(0.002 * 1000 / 1.005, rel=2e-3)


def test_a_sell_above_the_market_gains_what_lies_between_and_nothing_while_it_rests() -> None:
    config = strategy("100", target="1000", more="sell_profit_percentage: 1")
    result = plan(config, price=Decimal(10), instrument=FINE, fee_rate=Decimal("0.001"))
    # Bought at 10, not at 10.05; sold at 10.1505.
    assert float(result.cost - result.fees) == pytest.approx(-0.01505 * 1000 / 1.005, rel=2e-3)
    assert float(result.cost_resting) == pytest.approx(0.001 * 1000 / 1.005, rel=1e-3)


def test_a_plan_says_what_it_assumes() -> None:
    assert any("every BUY filled at once at the last price" in note for note in planned(strategy("30")).notes)


def test_what_is_counted_already_is_not_planned_again() -> None:
    config = strategy("50", "50", target="1000")
    assert planned(config, counted={"1": Decimal(600), "2": Decimal(300)}).left == 100
    done = planned(config, counted={"1": Decimal(1200)})
    assert (done.left, done.rounds, done.duration_seconds) == (0, 0, 0)
    assert "the target is reached already" in done.notes


def test_a_target_for_each_user_ends_with_the_slowest() -> None:
    result = planned(strategy("50", "25", target="100.5", more="target_scope: per_user"), Decimal(100))
    assert [user.rounds for user in result.users] == [3, 5]
    assert result.left == 201
    assert result.duration_seconds == result.users[1].duration_seconds
    assert planned(
        strategy("50", "25", target="100.5", more="target_scope: per_user"),
        Decimal(100),
        counted={"2": Decimal(200)},
    ).users[1].rounds == 0  # fmt: skip


def test_users_without_a_place_wait_for_one() -> None:
    shared = planned(strategy("50", "50", target="1000"), Decimal(100), max_concurrent_users=1)
    assert [user.rounds > 0 for user in shared.users] == [True, False]
    assert "1 of 2 users trade at once: the others wait for a place" in shared.notes
    own = planned(
        strategy("50.25", "50.25", "50.25", target="201", more="target_scope: per_user"),
        Decimal(100),
        max_concurrent_users=2,
    )
    assert [user.start_seconds for user in own.users] == [0, 0, 4]
    assert own.duration_seconds == 8


def test_sells_below_other_buys_go_one_at_a_time() -> None:
    falling = strategy("50.25", "50.25", target="201", more="sell_profit_percentage: -0.1")
    result = planned(falling, Decimal(100))
    (slow,) = [line for line in result.warnings if "one order pair at a time" in line]
    assert slow.endswith("25.12 USDT a second over all users")
    assert result.duration_seconds == 8  # four turns of 50.25 USDT, each up to 2 s
    alone = strategy("50.25", more="sell_profit_percentage: -0.1")
    assert "one order pair at a time" not in warned(alone)


def test_both_sides_count_when_asked() -> None:
    buys = planned(strategy("30"))
    both = planned(strategy("30", more="volume_side: both"))
    assert both.rounds < buys.rounds / 2 + 1
    assert any("every SELL filled" in note for note in both.notes)


def test_an_amount_below_the_smallest_order_is_a_problem_of_that_user_only() -> None:
    result = planned(strategy("0.05", "50", target="1000"))
    poor, good = result.users
    assert poor.problem.startswith("0.05 USDT a cycle is below the smallest order")
    assert (poor.rounds, poor.volume) == (0, 0)
    assert good.volume == 1000


def test_an_amount_whose_sell_is_too_little_net_of_fee_is_a_problem_too() -> None:
    coarse = msgspec.structs.replace(
        FINE, venue=Venue.SPOT, step_size=Decimal("0.1"), min_notional=Decimal(5)
    )
    config = strategy("5", more="buy_offset_percentage: 0\n    sell_profit_percentage: 0")
    (user,) = plan(config, price=Decimal(10), instrument=coarse, fee_rate=Decimal(0)).users
    assert user.problem == ""
    (user,) = plan(config, price=Decimal(10), instrument=coarse, fee_rate=Decimal("0.001")).users
    assert user.problem.startswith("5 USDT a cycle is below the smallest order, 0.6 KOGE")


def test_a_plan_in_which_nobody_can_trade_has_no_end() -> None:
    result = planned(strategy("0.05"))
    assert (result.duration_seconds, result.volume, result.rounds) == (None, 0, 0)
    assert "no user can trade" in result.notes
    dear = planned(replace(strategy("30"), target_scope="per_user"), Decimal("1e9"))
    assert dear.duration_seconds is None


def test_a_cost_limit_that_comes_first_is_named() -> None:
    config = strategy("100", target="1000", more="sell_profit_percentage: -1", own="max_cost_usdt: 5")
    wide = {"spread": Decimal("0.6")}  # 3 USDT on either side of 1000
    assert "user 1 reaches its cost limit of 5 USDT first" in planned(config, **wide).notes
    generous = strategy("100", target="1000", more="sell_profit_percentage: -1", own="max_cost_usdt: 500")
    assert not any("cost limit" in note for note in planned(generous, **wide).notes)


@pytest.mark.parametrize("price", ["0", "-1"])
def test_there_is_no_plan_without_a_price(price: str) -> None:
    with pytest.raises(ValueError, match="price above zero"):
        planned(strategy("30"), Decimal(price))


@given(
    st.lists(st.integers(5, 500), min_size=1, max_size=4),
    st.integers(1, 100_000),
    st.decimals("0.0001", "1000", places=4),
)
def test_the_planned_volume_is_the_target_and_the_last_round_is_needed(
    amounts: list[int], target: int, price: Decimal
) -> None:
    result = planned(strategy(*map(str, amounts), target=str(target)), price)
    assert result.volume == target
    for user in result.users:
        assert user.volume_per_round <= user.amount
        assert (user.rounds - 1) * user.volume_per_round < user.volume + Decimal("0.0000001")
        assert user.rounds * user.volume_per_round >= user.volume - Decimal("0.0000001")


def warned(config: StrategyConfig, **more: object) -> str:
    return "\n".join(planned(config, **more).warnings)


def test_an_interval_below_a_second_is_warned_of() -> None:
    short = strategy("30", more="trade_interval_seconds: 0.5")
    assert "user 1: an interval of 0.5 s is below 1 s" in warned(short)
    assert "interval" not in warned(strategy("30"))


def test_sells_that_rest_are_named_with_how_far_above_the_market_they_stand() -> None:
    assert "each SELL stands 1.5 % above the market and rests" in warned(strategy("30"))
    assert "rests" not in warned(strategy("30", more="sell_profit_percentage: -0.6"))
    assert "rests" not in warned(strategy("30", more="sell_timeout_seconds: 30"))


def test_more_rounds_than_room_for_open_sells_is_warned_of() -> None:
    config = strategy("30", target="3000")
    assert "101 rounds, but only 90 SELLs may rest" in warned(config, order_limits=(100, 0))
    assert "may rest:" not in warned(config, order_limits=(200, 0))
    assert "may rest:" not in warned(config)  # no limit is known
    fewer = strategy("30", target="3000", more="max_open_sells: 7")
    assert "only 7 SELLs may rest" in warned(fewer, order_limits=(200, 0))


def test_a_short_balance_is_warned_of_with_what_can_be_bound_at_once() -> None:
    config = strategy("30", "30", target="600")
    result = planned(config, free={"1": Decimal(100), "2": Decimal(1000)})
    (short,) = [line for line in result.warnings if "free" in line]
    assert short.startswith("user 1: 100 USDT are free, up to 300 can be bound at once")
    assert [round(user.needed) for user in result.users] == [300, 300]


def test_who_cannot_trade_at_all_is_warned_of_that_alone() -> None:
    result = planned(strategy("0.01", "30", more="trade_interval_seconds: 0.5"))
    problem = result.users[0].problem
    assert "below the smallest order" in problem
    assert [line for line in result.warnings if line.startswith("user 1:")] == [f"user 1: {problem}"]

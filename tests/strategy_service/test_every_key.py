"""Every key of the configuration acts: written in the file, it changes what a loop or a run does.

Each test goes the whole way from the text of the file, and would fail if its key were read and
then ignored, as max_concurrent_users and max_price_volatility_percentage once were. The table
at the end names the test of each key; a key without one fails.
"""

from collections.abc import Callable
from decimal import Decimal as D
from typing import Any

import msgspec
import pytest

from otopilot.instrument import Venue
from otopilot.order import LegRole
from otopilot.position import VolumeSide, VolumeWindow
from strategy_service.config import StrategyConfig, TradingConfig, keys, load_bytes
from strategy_service.reasons import Reason, RoundResult
from strategy_service.state import Cancel, Outcome, Rules, Seen
from strategy_service.status import UserState
from tests.strategy_service.builders import KOGE, canceled, filled, rules, standing
from tests.strategy_service.conftest import Desk
from tests.strategy_service.play import Play, cancels
from tests.strategy_service.test_supervisor import Make, states

BASE = {
    "strategy_id": "s",
    "target_token": "KOGE",
    "target_chain": "BSC",
    "target_volume": "1000",
    "user_ids": "[1]",
}


def configured(*, top: str = "", **own: object) -> TradingConfig:
    """A file with one strategy and these keys of it."""
    lines = [f"{key}: {value}" for key, value in (BASE | own).items() if value is not None]
    body = "\n    ".join(lines)
    return load_bytes(f"{top}strategies:\n  - {body}\n".encode(), "trading_config.yaml", ())


def one(**own: object) -> StrategyConfig:
    return configured(**own).strategies[0]


def play(**own: object) -> Play:
    """A loop that obeys that file."""
    config = one(**own)
    obeyed: Rules = msgspec.structs.replace(
        rules(), settings=config.users[0], sells_count=config.volume_side == "both"
    )
    return Play(obeyed)


def fills(loop: Play) -> Any:
    order = filled(loop.accepts())
    loop.said(Seen(order))
    return order


def misses(loop: Play) -> list[Cancel]:
    """The BUY does not fill: to its cancel, and past it to the next reading."""
    order = loop.accepts()
    found = cancels(loop.wait(3600))[:1]
    loop.said(Seen(canceled(order)))
    return found


async def running(desk: Make, config: TradingConfig) -> Desk:
    """A service with that file; every strategy started."""
    d = desk()
    d.configure(config)
    await d.supervisor.open()
    await d.supervisor.start()
    return d


# ------------------------------------------------------------------ one round


def single_trade_amount_usdt() -> None:
    assert play(single_trade_amount_usdt=50).begins().quantity == D("0.497")


def trade_interval_seconds() -> None:
    loop = play(trade_interval_seconds=7)
    loop.begins()
    fills(loop)
    loop.reads(last_cycle=1)
    loop.wait(6.9)
    assert loop.waits == Reason.INTERVAL
    loop.reads(last_cycle=1)
    loop.wait(0.2)
    assert loop.asked_buy.cycle == 2


def buy_offset_percentage() -> None:
    assert play(buy_offset_percentage=2).begins().working_price == D(102)


def sell_profit_percentage() -> None:
    assert play(sell_profit_percentage=-1).begins().pending_price == D("99.50")


def fill_timeout_seconds() -> None:
    loop = play(fill_timeout_seconds=9)
    loop.begins()
    loop.accepts()
    assert not cancels(loop.wait(8.9))
    assert [cancel.role for cancel in cancels(loop.wait(0.2))] == [LegRole.WORKING]


def slippage_step_percentage() -> None:
    loop = play(slippage_step_percentage=1)
    loop.begins()
    misses(loop)
    loop.reads(last_cycle=1)
    assert (loop.asked_buy.step, loop.asked_buy.working_price) == (1, D("101.50"))


def max_slippage_steps() -> None:
    loop = play(max_slippage_steps=1)
    loop.begins()
    for _ in range(2):
        misses(loop)
        loop.reads(last_cycle=1)
    assert loop.state.last_round is RoundResult.MISSED
    assert loop.rounds[0].tries == 2


def sell_timeout_seconds() -> None:
    for seconds, expected in ((10, 1), (100, 0)):
        loop = play(sell_timeout_seconds=seconds, trade_interval_seconds=5)
        loop.begins()
        order = fills(loop)
        loop.now += 11
        loop.reads(last_cycle=1, cycle_orders=(order,), open_orders=(order,))
        assert [cancel.role for cancel in cancels(loop.actions)] == [LegRole.PENDING] * expected


def max_sell_discount_percentage() -> None:
    loop = play(
        sell_timeout_seconds=10,
        trade_interval_seconds=5,
        slippage_step_percentage=10,
        max_sell_discount_percentage=1,
        max_slippage_steps=1,
    )
    loop.begins()
    order = fills(loop)
    loop.now += 11
    loop.reads(last_cycle=1, cycle_orders=(order,), open_orders=(order,))
    (cancel,) = cancels(loop.actions)
    assert cancel.reprice_to == D("99.50")  # 1 % under 100.5, not 10 % under the SELL


def max_open_sells() -> None:
    loop = play(max_open_sells=3)
    loop.reads(open_sells=3)
    assert loop.waits == Reason.MAX_OPEN_SELLS
    assert play(max_open_sells=4).begins(open_sells=3)
    assert play().begins(open_sells=179)  # the venue's 200 less 10 %
    full = play(max_open_sells=5000)
    full.reads(open_sells=180)
    assert full.waits == Reason.MAX_OPEN_SELLS


def max_quote_age_seconds() -> None:
    for age, expected in ((5, Reason.PLACING), (9, Reason.STALE_PRICE)):
        loop = play(max_quote_age_seconds=8)
        loop.confirmed = loop.now - age
        loop.reads()
        assert loop.waits == expected


def max_price_volatility_percentage() -> None:
    loop = play(max_price_volatility_percentage=2)
    loop.swing = D("2.1")
    loop.reads()
    assert loop.waits == Reason.VOLATILITY
    loop.swing = D("1.9")
    loop.wait(0.6)  # it goes on by itself
    assert loop.asked_buy


def max_cost_usdt() -> None:
    loop = play(max_cost_usdt=3)
    loop.reads(realised_cost=D(3), bought_quote=D(100000))
    assert loop.state.outcome is Outcome.COST_LIMIT


def max_cost_per_1000() -> None:
    loop = play(max_cost_per_1000=2)
    loop.reads(realised_cost=D(2), bought_quote=D(1000))
    assert loop.state.outcome is Outcome.COST_LIMIT
    assert play(max_cost_per_1000=2).begins(realised_cost=D(2), bought_quote=D(1001))


def volume_side() -> None:
    both = play(volume_side="both")
    both.reads(counted="960", target="1000")
    buy = play(volume_side="buy")
    buy.reads(counted="960", target="1000")
    # Where SELLs count, a BUY leaves room for its SELL.
    assert both.asked_buy.quantity < buy.asked_buy.quantity


# ------------------------------------------------------------------ a run


async def volatility_window_seconds(desk: Make) -> None:
    d = await running(desk, configured(volatility_window_seconds=2, trade_interval_seconds="0.05"))
    d.market.current = D(110)
    await d.until(lambda: d.supervisor.status("s").users[0].code is Reason.VOLATILITY)
    placed = len(d.orders.buys())
    await d.until(lambda: len(d.orders.buys()) > placed, seconds=10)  # calm again after two seconds


async def strategy_id(desk: Make) -> None:
    d = await running(desk, configured(strategy_id="other"))
    await d.until(lambda: bool(d.orders.buys()))
    assert d.orders.buys()[0].request_id == "other/1/1/0"


async def strategy_name(desk: Make) -> None:
    d = await running(desk, configured(strategy_name="For people"))
    assert d.supervisor.status("s").strategy_name == "For people"


async def enabled(desk: Make) -> None:
    d = await running(desk, configured(enabled="false"))
    assert not d.supervisor.status("s").is_running


async def venue(desk: Make) -> None:
    spot = msgspec.structs.replace(KOGE, venue=Venue.SPOT, symbol="KOGEUSDT", chain="")
    d = desk()
    d.market.instruments = [KOGE, spot]
    d.configure(configured(venue="spot", target_chain=None))
    await d.supervisor.open()
    await d.supervisor.start()
    assert d.supervisor.status("s").symbol == "KOGEUSDT"
    assert [m.venue for m in d.orders.written[0].members] == [Venue.SPOT]


async def target_token(desk: Make) -> None:
    other = msgspec.structs.replace(KOGE, token="AOP", symbol="ALPHA_9USDT")
    d = desk()
    d.market.instruments = [KOGE, other]
    d.configure(configured(target_token="AOP"))
    await d.supervisor.open()
    await d.supervisor.start()
    assert d.supervisor.status("s").symbol == "ALPHA_9USDT"


async def target_chain(desk: Make) -> None:
    d = desk()
    asked = []
    instrument = d.market.instrument

    async def told(venue: Venue, token: str, chain: str | None, max_age: float) -> Any:
        asked.append(chain)
        return await instrument(venue, token, chain, max_age)

    d.market.instrument = told  # type: ignore[method-assign]
    d.configure(configured(target_chain="Base"))
    await d.supervisor.open()
    await d.supervisor.start()
    assert asked == ["Base"]


async def target_volume(desk: Make) -> None:
    d = await running(desk, configured(target_volume=70, trade_interval_seconds="0.05"))
    await d.until(lambda: states(d.supervisor)["1"] is UserState.REACHED)
    assert 70 <= d.orders.counted("1") <= D("75.2")


async def target_scope(desk: Make) -> None:
    d = await running(desk, configured(target_scope="per_user", user_ids="[1, 2]"))
    assert set(d.orders.scopes) == {"s/1", "s/2"}
    assert [user.target for user in d.supervisor.status("s").users] == [1000, 1000]


async def volume_window(desk: Make) -> None:
    d = await running(desk, configured(volume_window="{since: 2026-01-31T00:00:00Z}"))
    (scope,) = d.orders.scopes.values()
    assert (scope.window, scope.since.isoformat()) == (VolumeWindow.SINCE, "2026-01-31T00:00:00+00:00")
    assert scope.side is VolumeSide.BUY


async def user_ids(desk: Make) -> None:
    d = await running(desk, configured(user_ids="[3, 2]", trade_interval_seconds="0.05"))
    await d.until(lambda: bool(d.orders.buys("2")) and bool(d.orders.buys("3")))
    assert not d.orders.buys("1")


async def max_concurrent_users(desk: Make) -> None:
    top = "global_settings:\n  max_concurrent_users: 2\n"
    d = await running(desk, configured(top=top, user_ids="[1, 2, 3]"))
    assert list(states(d.supervisor).values()).count(UserState.QUEUED) == 1


TESTS: dict[str, Callable[..., Any]] = {
    test.__name__: test
    for test in (
        strategy_id,
        strategy_name,
        enabled,
        venue,
        target_token,
        target_chain,
        target_volume,
        target_scope,
        volume_side,
        volume_window,
        user_ids,
        max_concurrent_users,
        single_trade_amount_usdt,
        trade_interval_seconds,
        buy_offset_percentage,
        sell_profit_percentage,
        fill_timeout_seconds,
        slippage_step_percentage,
        max_slippage_steps,
        sell_timeout_seconds,
        max_sell_discount_percentage,
        max_open_sells,
        max_quote_age_seconds,
        max_price_volatility_percentage,
        volatility_window_seconds,
        max_cost_usdt,
        max_cost_per_1000,
    )
}
OF_A_RUN = {name for name, test in TESTS.items() if "desk" in test.__annotations__}


def test_every_key_of_the_configuration_has_its_test() -> None:
    assert set(TESTS) == {*keys.BY_NAME, keys.USER_IDS, keys.MAX_CONCURRENT_USERS}


@pytest.mark.parametrize("key", sorted(set(TESTS) - OF_A_RUN))
def test_a_key_acts_on_a_round(key: str) -> None:
    TESTS[key]()


@pytest.mark.parametrize("key", sorted(OF_A_RUN))
async def test_a_key_acts_on_a_run(desk: Make, key: str) -> None:
    await TESTS[key](desk)


@pytest.mark.parametrize("key", [key.name for key in keys.BY_NAME.values() if key.has_global_default])
def test_a_key_acts_from_global_settings_too(key: str) -> None:
    """The same file with the value as default_<key> gives the same strategy."""
    value = {
        "venue": "spot",
        "target_scope": "per_user",
        "volume_side": "both",
        "volume_window": "all",
        "max_slippage_steps": "3",
        "max_open_sells": "7",
    }.get(key, "4.5")
    chain = None if key == "venue" else "BSC"
    told = configured(top=f"global_settings:\n  default_{key}: {value}\n", target_chain=chain)
    assert told.strategies[0] == one(**{key: value}, target_chain=chain)
    assert told.strategies[0] != one(target_chain="BSC")


def test_new_rules_come_in_between_rounds_and_not_before() -> None:
    loop = play()
    loop.begins()
    order = loop.accepts()
    assert not loop.state.between_rounds
    loop.said(Seen(filled(order)))
    loop.said(standing())
    assert loop.state.between_rounds

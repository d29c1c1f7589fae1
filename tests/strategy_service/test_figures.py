"""The venue's rules are read every five minutes, and soon again while they keep somebody from trading."""

from collections.abc import Callable
from decimal import Decimal as D

import msgspec
import pytest

from otopilot.instrument import Instrument, Venue
from strategy_service import figures
from strategy_service.preparation import RULES_SECONDS
from strategy_service.state import PlaceOto, PlaceSell, Rules
from tests.strategy_service.builders import KOGE, strategy
from tests.strategy_service.conftest import Desk
from tests.strategy_service.fakes import denied

FAST = {"trade_interval_seconds": D("0.05"), "fill_timeout_seconds": D("0.1")}
Make = Callable[..., Desk]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "_BLOCKING_SECONDS", 0.3)


def reason(desk: Desk) -> str:
    (user,) = desk.supervisor.status("s").users
    return user.reason_code


async def test_an_amount_that_was_too_small_for_a_moment_trades_soon_again(desk: Make) -> None:
    d = desk(strategy(users=("1",), target="100000", **FAST))
    d.market.instruments = [msgspec.structs.replace(KOGE, min_notional=D(1_000))]
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: reason(d) == "amount_too_small")
    d.market.instruments = [KOGE]
    await d.until(lambda: len(d.orders.buys()) >= 2)
    assert set(d.market.wanted_ages) == {RULES_SECONDS, 0.3}


async def test_a_strategy_that_is_kept_from_trading_has_nobody_elses_rules_read_anew(desk: Make) -> None:
    other = msgspec.structs.replace(KOGE, symbol="ALPHA_1USDT", token="GOOD", min_notional=D(1_000))
    d = desk(
        strategy(users=("1",), target="100000", **FAST),
        strategy("t", users=("2",), target="100000", target_token="GOOD", **FAST),
    )
    d.market.instruments = [KOGE, other]
    asked: list[str] = []
    instrument = d.market.instrument

    async def told(venue: Venue, token: str, chain: str | None, max_age_seconds: float) -> Instrument:
        asked.append(token)
        return await instrument(venue, token, chain, max_age_seconds)

    d.market.instrument = told  # type: ignore[method-assign]
    await d.supervisor.open()
    await d.supervisor.start()
    await d.until(lambda: asked.count("GOOD") >= 3)
    assert asked.count("KOGE") == 1


async def test_a_filter_that_has_changed_is_obeyed_soon_after_it_denied(desk: Make) -> None:
    d = desk(strategy(users=("1",), target="100000", **FAST))

    def check(asked: PlaceOto | PlaceSell, rules: Rules) -> None:
        if rules.instrument.tick_size != D("0.05"):
            raise denied("DENIED_FILTER", filter="PRICE_FILTER")

    d.orders.on_place = check
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: reason(d) == "filter")
    d.market.instruments = [msgspec.structs.replace(KOGE, tick_size=D("0.05"))]
    await d.until(lambda: len(d.orders.buys()) >= 2, seconds=20)

"""What one seed draws: users, markets, strategies, the venue's switches, when things die."""

import functools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal as D
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from otopilot.instrument import Venue
from paper_exchange.config import Config
from strategy_service.config import StrategyConfig, TradingConfig, UserSettings
from strategy_service.config.model import VolumeWindow
from tests.simulation.profiles import Profile

PAPER = Path(__file__).parents[2] / "config" / "paper.yaml"
NOON = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
NEAR_MIDNIGHT = datetime(2026, 6, 1, 23, 59, 20, tzinfo=UTC)

# (symbol, venue, token, chain, tick, step): coarse grids, so that prices meet.
MARKETS = (
    ("ALPHA_22USDT", Venue.ALPHA, "KOGE", "BSC", "0.005", "0.0001"),
    ("ALPHA_382USDT", Venue.ALPHA, "AOP", "BSC", "0.00001", "0.1"),
    ("BTCUSDT", Venue.SPOT, "BTC", None, "0.01", "0.00001"),
    ("BNBUSDT", Venue.SPOT, "BNB", None, "0.01", "0.001"),
)
SPLITS = ((8, 0), (5, 3), (4, 4), (3, 5), (0, 8))  # users of Alpha and of Spot


class Spread(StrEnum):
    """How a venue's users are spread over its two markets."""

    ONE = "all on one"
    APART = "half on each"
    BOTH = "everybody on both"


@dataclass(frozen=True)
class Scenario:
    """One seed's world."""

    seed: int
    profile: Profile
    start: datetime
    skew_ms: int
    exchange: Config
    strategies: tuple[StrategyConfig, ...]
    order_kills: tuple[float, ...]  # fractions of the trading time
    strategy_kills: tuple[float, ...]
    outages: tuple[tuple[float, float, Venue], ...]
    revoked: tuple[Venue, str] | None
    manual_orders: bool
    stop_mode: str
    places: int
    unread: tuple[Venue, str] | None = None  # whose history nobody can read

    @property
    def accounts(self) -> list[tuple[Venue, str]]:
        """Every (venue, user)."""
        pairs = {(s.venue, user): None for s in self.strategies for user in s.user_ids}
        return list(pairs)

    def trading(self, revision: str, strategies: "tuple[StrategyConfig, ...] | None" = None) -> TradingConfig:
        """The trading configuration, perhaps with changed strategies."""
        return TradingConfig(
            path="trading_config.yaml",
            revision=revision,
            strategies=strategies or self.strategies,
            max_concurrent_users=self.places,
        )


def draw(seed: int, profile: Profile) -> Scenario:
    """The scenario of a seed."""
    dice = random.Random(f"{seed}/{profile.name}/scenario")
    strategies = [
        _strategy(dice, f"s{number}", symbol, users)
        for number, (symbol, users) in enumerate(_spread(dice), 1)
    ]
    venues = sorted({strategy.venue for strategy in strategies})
    kills = sorted(dice.random() for _ in range(dice.randint(0, profile.order_kills)))
    outages = tuple(
        (dice.random(), dice.uniform(1, 6), dice.choice(venues))
        for _ in range(dice.randint(0, profile.outages))
    )
    chosen = dice.choice(strategies)
    revoked = (chosen.venue, chosen.user_ids[0]) if dice.random() < profile.revoked_user else None
    return Scenario(
        seed=seed,
        profile=profile,
        start=NEAR_MIDNIGHT if dice.random() < 0.3 else NOON,
        skew_ms=int(dice.uniform(-profile.skew_seconds, profile.skew_seconds) * 1000),
        exchange=_exchange(dice),
        strategies=tuple(strategies),
        order_kills=tuple(kills),
        strategy_kills=tuple(sorted(dice.random() for _ in range(dice.randint(0, profile.strategy_kills)))),
        outages=outages,
        revoked=revoked,
        manual_orders=dice.random() < profile.manual_orders,
        stop_mode=dice.choice(("drain", "drain", "cancel", "flatten")),
        places=dice.choice((8, 20)),
    )


def _spread(dice: random.Random) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Who trades which market."""
    first = 1
    for venue, count in zip((Venue.ALPHA, Venue.SPOT), dice.choice(SPLITS), strict=True):
        users = tuple(str(user) for user in range(first, first + count))
        symbols = [symbol for symbol, where, *_ in MARKETS if where is venue]
        first += count
        spread = dice.choice(tuple(Spread))
        if spread is Spread.ONE and users:
            yield dice.choice(symbols), users
        elif spread is Spread.APART and users:
            yield symbols[0], users[: count // 2]
            yield symbols[1], users[count // 2 :]
        elif users:
            yield symbols[0], users
            yield symbols[1], users


def _strategy(dice: random.Random, strategy_id: str, symbol: str, users: tuple[str, ...]) -> StrategyConfig:
    _, venue, token, chain, _, _ = next(market for market in MARKETS if market[0] == symbol)
    settings: dict[str, Any] = {
        "single_trade_amount_usdt": D(dice.choice((12, 20, 45))),
        "trade_interval_seconds": D(dice.choice(("0.5", "1", "2"))),
        "buy_offset_percentage": D(dice.choice(("0.1", "0.3", "0.5"))),
        "sell_profit_percentage": D(dice.choice(("-0.05", "0.1", "0.3", "0.3", "0.6", "0.6", "1.0", "1.0"))),
        "fill_timeout_seconds": D(dice.choice(("1", "2"))),
        "slippage_step_percentage": D("0.2"),
        "sell_timeout_seconds": dice.choice((None, None, D(6))),
        "max_price_volatility_percentage": D(20),
    }
    window = dice.choice((VolumeWindow(), VolumeWindow("all"), VolumeWindow("since", NOON)))
    return StrategyConfig(
        strategy_id=strategy_id,
        strategy_name=strategy_id,
        venue=venue,
        target_token=token,
        target_chain=chain,
        target_volume=D(1_000_000),
        target_scope=dice.choice(("shared", "per_user")),
        volume_side=dice.choice(("buy", "buy", "both")),
        volume_window=window,
        user_ids=users,
        users=tuple(UserSettings(user, strategy_id, **settings) for user in users),
    )


def _exchange(dice: random.Random) -> Config:
    raw = paper()
    partial = dice.choice(("0", "0", "0.3"))
    common = {"partial_fill_probability": partial, "default_balances": {"USDT": "50000"}}
    alpha = {
        "fill_delay_seconds": ["0.05", "0.3"],
        "pending_after_partial_cancel": dice.choice(("cancel", "size_filled")),
        "sibling_ends": dice.choice(("CANCELED", "EXPIRED")),
    }
    spot = {
        "fill_delay_seconds": dice.choice((["0", "0"], ["0.02", "0.2"])),
    }
    instruments = []
    for instrument in raw["instruments"]:
        market = next((m for m in MARKETS if m[0] == instrument["symbol"]), None)
        if market is None:
            continue
        path = {
            "start": instrument["path"]["start"],
            "kind": dice.choice(("swing", "swing", "random_walk")),
            "tick_interval_seconds": "1",
            "amplitude_percent": dice.choice(("0.8", "1.5")),
            "period_seconds": dice.choice(("10", "20")),
            "step_percent": dice.choice(("0.1", "0.3")),
            "band_percent": "3",
        }
        house = {"levels": "3", "level_notional": "2000", "spread_percent": "0.02"}
        changed = {"path": path, "house": house, "tick_size": market[4], "step_size": market[5]}
        changed["min_quantity"] = market[5]
        changed["min_notional"] = "5"
        if market[1] is Venue.SPOT:
            changed["opo_allowed"] = dice.choice(("true", "false"))
        instruments.append(instrument | changed)
    whole = raw | {
        "alpha": raw["alpha"] | common | alpha,
        "spot": raw["spot"] | common | spot,
        "instruments": instruments,
    }
    return Config.model_validate(whole)


@functools.cache
def paper() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load(PAPER.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    return loaded

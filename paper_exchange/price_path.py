"""Where the market goes by itself: a seeded price path per symbol.

The price is a pure function of the symbol's seed and how many ticks it has made, apart from the
random walk's last value; both are kept with the market, so a restart goes on where it stood.
"""

import csv
import random
from decimal import Decimal, InvalidOperation
from pathlib import Path

import msgspec

from paper_exchange.config import PathSettings
from paper_exchange.numbers import HUNDRED


class PathState(msgspec.Struct):
    """`pinned` overrides the path while it is set."""

    ticks: int
    price: Decimal
    pinned: Decimal | None = None


class PricePath:
    """Produces the next price; owns nothing but the rows of a replay."""

    def __init__(self, settings: PathSettings, seed: str) -> None:
        self._settings = settings
        self._seed = seed
        self._rows = _read_rows(settings.file) if settings.file else []

    def step(self, state: PathState) -> None:
        """Move one tick on; a pinned path stands still."""
        if state.pinned is not None:
            state.price = state.pinned
            return
        state.ticks += 1
        settings = self._settings
        if settings.kind == "swing":
            state.price = settings.start * (
                1 + settings.amplitude_percent / HUNDRED * self._wave(state.ticks)
            )
        elif settings.kind == "random_walk":
            state.price = self._walk(state)
        else:
            state.price = self._rows[state.ticks % len(self._rows)]

    def dice(self, number: int) -> random.Random:
        """Randomness that belongs to this number alone."""
        return random.Random(f"{self._seed}/{number}")  # noqa: S311 - a market, not a secret

    def _wave(self, ticks: int) -> Decimal:
        """A sine-like wave between -1 and 1, by Bhaskara's rational formula: exact in decimals."""
        elapsed = ticks * self._settings.tick_interval_seconds / self._settings.period_seconds
        phase = (elapsed + self._settings.start_phase) % 1
        half = phase * 2 if phase < Decimal("0.5") else phase * 2 - 1
        hump = half * (1 - half)
        wave = 16 * hump / (5 - 4 * hump)
        return wave if phase < Decimal("0.5") else -wave

    def _walk(self, state: PathState) -> Decimal:
        settings = self._settings
        step = Decimal(self.dice(state.ticks).randint(-1000, 1000)) / 1000 * settings.step_percent / HUNDRED
        band = settings.band_percent / HUNDRED
        low, high = settings.start * (1 - band), settings.start * (1 + band)
        moved = state.price * (1 + step)
        if not low <= moved <= high:
            moved = state.price * (1 - step)
        return min(max(moved, low), high)


def _read_rows(file: Path) -> list[Decimal]:
    """The last column of each row that is a positive number; a header is passed over."""
    with file.open(encoding="utf-8", newline="") as handle:
        rows = [row[-1] for row in csv.reader(handle) if row]
    prices = []
    for index, cell in enumerate(rows):
        try:
            price = Decimal(cell.strip())
        except InvalidOperation as error:
            if index == 0:
                continue
            raise ValueError(f"{file}: row {index + 1}: {cell!r} is not a price") from error
        if not price.is_finite() or price <= 0:
            raise ValueError(f"{file}: row {index + 1}: {cell!r} is not a price")
        prices.append(price)
    if not prices:
        raise ValueError(f"{file}: no prices")
    return prices

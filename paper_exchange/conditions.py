"""Conditions that fault rules impose on a venue: symbols withdrawn or changed, a clock off, books behind.

Read by admission and by every surface that shows them.
"""

from collections.abc import Sequence
from decimal import Decimal

from paper_exchange.config import Instrument
from paper_exchange.faults import Faults, Scope
from paper_exchange.market import Market
from paper_exchange.model import Account, Fill, VenueName
from paper_exchange.state import State


class Conditions:
    """Looks at the rules that stand now; uses none of them up."""

    def __init__(self, state: State, faults: Faults) -> None:
        self._state = state
        self._faults = faults

    @property
    def door_ms(self) -> int:
        """The clock at Spot's door: what `time` tells and timestamps are held against."""
        skews = self._faults.standing("clock_skew", Scope("spot"))
        return self._state.now_ms + sum(int(rule.seconds * 1000) for rule in skews)

    def is_withdrawn(self, symbol: str) -> tuple[bool, bool]:
        """Whether buying, and whether selling, is closed on the symbol."""
        scope = self._scope(self._state.markets[symbol].instrument)
        no_selling = self._faults.holds("offsell", scope)
        return no_selling or self._faults.holds("delist", scope), no_selling

    def is_gone(self, instrument: Instrument) -> bool:
        """Whether the venue no longer knows the symbol, as after a renaming."""
        return self._faults.holds("vanish", self._scope(instrument))

    def trading_status(self, symbol: str) -> str:
        """TRADING, or what a rule says."""
        rules = self._faults.standing("trading_status", self._scope(self._state.markets[symbol].instrument))
        return rules[0].code if rules else "TRADING"

    def listed(self, venue: VenueName) -> list[Market]:
        """The venue's markets that it still lists."""
        every = self._state.markets.values()
        return [m for m in every if m.instrument.venue == venue and not self.is_gone(m.instrument)]

    def told_fills(self, account: Account, fills: Sequence[Fill], endpoint: str) -> list[Fill]:
        """Those of an account's fills that its trade queries show already."""
        scope = Scope(account.venue, endpoint, account.user_id)
        lags = [int(rule.seconds * 1000) for rule in self._faults.standing("trades_lag", scope)]
        newest = self._state.now_ms - max(lags, default=0)
        return [fill for fill in fills if fill.time_ms <= newest]

    def apply_filters(self) -> None:
        """Instruments as the `filters` rules have them now, and as configured where none stands."""
        for base in self._state.config.instruments:
            changes: dict[str, Decimal] = {}
            for rule in self._faults.standing("filters", self._scope(base)):
                changes.update({str(name): value for name, value in rule.set.items()})
            market = self._state.markets[base.symbol]
            if changes or market.instrument is not base:
                market.instrument = base.model_copy(update=changes) if changes else base

    def _scope(self, instrument: Instrument) -> Scope:
        return Scope(instrument.venue, symbol=instrument.symbol)

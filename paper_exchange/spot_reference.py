"""Spot's reference prices, execution rules and block trades (binance-spot 2.1, 2.4)."""

from paper_exchange.config import Instrument, PriceRange
from paper_exchange.exchange import Exchange
from paper_exchange.numbers import text
from paper_exchange.spot_errors import SpotError, bad_combination, bad_symbol
from paper_exchange.spot_finding import SpotFinding
from paper_exchange.spot_info import STATUSES, SpotInfo
from paper_exchange.spot_params import Params
from paper_exchange.spot_wire import Ms, Row, price

MULTIPLIERS = {
    "bidLimitMultUp": "bid_up",
    "bidLimitMultDown": "bid_down",
    "askLimitMultUp": "ask_up",
    "askLimitMultDown": "ask_down",
}


class SpotReference:
    """What anybody may ask about the rules of execution."""

    def __init__(self, exchange: Exchange, finding: SpotFinding, info: SpotInfo) -> None:
        self._exchange = exchange
        self._finding = finding
        self._info = info

    def execution_rules(self, params: Params) -> Row:
        """Of one symbol, of some, of those in a status, or of all: one selector only."""
        symbol, symbols = params.text("symbol"), params.symbols()
        status = params.choice("symbolStatus", STATUSES, SpotError(-1122, "Invalid symbolStatus."))
        params.finish()
        if bool(symbol) + (symbols is not None) + bool(status) > 1:
            raise bad_combination()
        listed = {one.symbol: one for one in self._info.instruments()}
        names = [symbol] if symbol else list(listed) if symbols is None else symbols
        if not listed.keys() >= set(names):
            raise bad_symbol()
        chosen = [listed[name] for name in names if status in ("", self._info.status(listed[name]))]
        return {"symbolRules": [{"symbol": one.symbol, "rules": _rules(one)} for one in chosen]}

    def reference_price(self, params: Params) -> Row:
        instrument = self._finding.instrument(params.need("symbol"))
        params.finish()
        if instrument.reference_price == "never":
            raise SpotError(-2043, "This symbol doesn't have a reference price.")
        found = self._exchange.state.markets[instrument.symbol].reference_price
        return {
            "symbol": instrument.symbol,
            "referencePrice": None if found is None else price(instrument, found),
            "timestamp": Ms(self._exchange.now_ms),
        }

    def block_trades(self, params: Params) -> list[Row]:
        """There are none here; the call is checked like its twin for ordinary trades."""
        self._finding.instrument(params.need("symbol"))
        params.limit(500, 1000)
        params.whole("fromId")
        params.finish()
        return []


def _rules(instrument: Instrument) -> list[Row]:
    rule: PriceRange | None = instrument.price_range
    if rule is None:
        return []
    multipliers = {name: getattr(rule, field) for name, field in MULTIPLIERS.items()}
    found = {name: text(value) for name, value in multipliers.items() if value is not None}
    return [{"ruleType": "PRICE_RANGE"} | found]

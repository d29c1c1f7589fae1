"""Spot's exchangeInfo: each symbol with the filters the core really applies (binance-spot 2.2, 2.3).

Filters that would say something untrue are left out: there are no stop, trailing, iceberg or
pegged orders here, and the flags and order types say so.
"""

import re

from paper_exchange.config import Instrument, SpotSettings
from paper_exchange.exchange import Exchange
from paper_exchange.numbers import ZERO, text
from paper_exchange.spot_errors import SpotError, bad_combination, bad_symbol
from paper_exchange.spot_legs import KINDS
from paper_exchange.spot_limits import SpotLimits
from paper_exchange.spot_params import Params
from paper_exchange.spot_wire import Ms, Row, price, quantity

_WORD = re.compile("[A-Z0-9_]+")
STATUSES = ("TRADING", "END_OF_DAY", "HALT", "BREAK", "CANCEL_ONLY")


class SpotInfo:
    """What the venue lists."""

    def __init__(self, exchange: Exchange, limits: SpotLimits) -> None:
        self._exchange = exchange
        self._limits = limits

    def status(self, instrument: Instrument) -> str:
        """A symbol that is withdrawn, wholly or from buying, is halted."""
        if any(self._exchange.conditions.is_withdrawn(instrument.symbol)):
            return "HALT"
        return self._exchange.conditions.trading_status(instrument.symbol)

    def instruments(self) -> list[Instrument]:
        return [market.instrument for market in self._exchange.conditions.listed("spot")]

    def exchange_info(self, params: Params) -> Row:
        return self._info(params, self._limits.raw_row())

    def exchange_info_ws(self, params: Params) -> Row:
        return self._info(params, self._limits.connections_row())

    def _info(self, params: Params, transport_limit: Row) -> Row:
        chosen = self._chosen(params)
        shows_sets = params.flag("showPermissionSets", default=True)
        params.finish()
        return {
            "timezone": "UTC",
            "serverTime": Ms(self._exchange.conditions.door_ms),
            "rateLimits": [
                self._limits.weight_row(),
                *self._limits.order_rows(None, self._exchange.now_ms),
                transport_limit,
            ],
            "exchangeFilters": exchange_filters(self._exchange.state.config.spot),
            "symbols": [self._symbol_row(one, shows_sets) for one in chosen],
        }

    def _chosen(self, params: Params) -> list[Instrument]:
        symbol, symbols, permissions = params.text("symbol"), params.symbols(), params.text("permissions")
        status = params.choice("symbolStatus", STATUSES, SpotError(-1122, "Invalid symbolStatus."))
        if bool(symbol) + (symbols is not None) + bool(permissions) > 1:
            raise bad_combination()
        if status and (symbol or symbols is not None):
            raise bad_combination()
        listed = {one.symbol: one for one in self.instruments()}
        if symbol or symbols is not None:
            names = [symbol] if symbols is None else symbols
            if not listed.keys() >= set(names):
                raise bad_symbol()
            return [listed[name] for name in names]
        fitting = [one for one in listed.values() if status in ("", self.status(one))]
        wanted = set(_WORD.findall(permissions))
        return [one for one in fitting if not permissions or wanted & _permissions(one)]

    def _symbol_row(self, instrument: Instrument, shows_sets: bool) -> Row:
        return {
            "symbol": instrument.symbol,
            "status": self.status(instrument),
            "baseAsset": instrument.base,
            "baseAssetPrecision": instrument.base_precision,
            "quoteAsset": instrument.quote,
            "quotePrecision": instrument.quote_precision,
            "quoteAssetPrecision": instrument.quote_precision,
            "baseCommissionPrecision": instrument.base_precision,
            "quoteCommissionPrecision": instrument.quote_precision,
            "orderTypes": list(KINDS),
            "icebergAllowed": True,
            "ocoAllowed": False,
            "otoAllowed": instrument.oto_allowed,
            "opoAllowed": instrument.oto_allowed and instrument.opo_allowed,
            "quoteOrderQtyMarketAllowed": True,
            "allowTrailingStop": False,
            "cancelReplaceAllowed": instrument.cancel_replace_allowed,
            "amendAllowed": instrument.amend_allowed,
            "pegInstructionsAllowed": False,
            "isSpotTradingAllowed": True,
            "isMarginTradingAllowed": False,
            "filters": filters_of(instrument),
            "permissions": [],
            "permissionSets": [list(one) for one in instrument.permission_sets] if shows_sets else [],
            "defaultSelfTradePreventionMode": instrument.default_stp,
            "allowedSelfTradePreventionModes": list(instrument.allowed_stp),
        }


def exchange_filters(settings: SpotSettings) -> list[Row]:
    """The counts over all symbols that are limited here."""
    found: list[Row] = []
    if (orders := settings.exchange_max_num_orders) is not None:
        found.append({"filterType": "EXCHANGE_MAX_NUM_ORDERS", "maxNumOrders": orders})
    if (lists := settings.exchange_max_num_order_lists) is not None:
        found.append({"filterType": "EXCHANGE_MAX_NUM_ORDER_LISTS", "maxNumOrderLists": lists})
    return found


def _permissions(instrument: Instrument) -> set[str]:
    return {name for one in instrument.permission_sets for name in one}


def filters_of(instrument: Instrument) -> list[Row]:
    """The filters; `avgPriceMins` 0 means that the last price is the reference."""
    position: list[Row] = []
    if instrument.max_position is not None:
        limit = quantity(instrument, instrument.max_position)
        position = [{"filterType": "MAX_POSITION", "maxPosition": limit}]
    return [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": price(instrument, instrument.min_price),
            "maxPrice": price(instrument, instrument.max_price),
            "tickSize": price(instrument, instrument.tick_size),
        },
        {
            "filterType": "LOT_SIZE",
            "minQty": quantity(instrument, instrument.min_quantity),
            "maxQty": quantity(instrument, instrument.max_quantity),
            "stepSize": quantity(instrument, instrument.step_size),
        },
        {
            "filterType": "MARKET_LOT_SIZE",
            "minQty": quantity(instrument, ZERO),
            "maxQty": quantity(instrument, instrument.max_quantity),
            "stepSize": quantity(instrument, ZERO),
        },
        {
            "filterType": "PERCENT_PRICE_BY_SIDE",
            "bidMultiplierUp": text(instrument.percent_up),
            "bidMultiplierDown": text(instrument.percent_down),
            "askMultiplierUp": text(instrument.percent_up),
            "askMultiplierDown": text(instrument.percent_down),
            "avgPriceMins": instrument.avg_price_mins,
        },
        {
            "filterType": "NOTIONAL",
            "minNotional": price(instrument, instrument.min_notional),
            "applyMinToMarket": False,
            "maxNotional": price(instrument, instrument.max_notional),
            "applyMaxToMarket": False,
            "avgPriceMins": instrument.avg_price_mins,
        },
        {"filterType": "ICEBERG_PARTS", "limit": instrument.iceberg_parts},
        {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": instrument.max_num_orders},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": instrument.max_num_algo_orders},
        {"filterType": "MAX_NUM_ORDER_LISTS", "maxNumOrderLists": instrument.max_num_order_lists},
        {"filterType": "MAX_NUM_ORDER_AMENDS", "maxNumOrderAmends": instrument.max_num_order_amends},
        *position,
    ]

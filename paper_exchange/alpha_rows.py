"""Alpha's rows: the exchange's records in the venue's keys, types and number formats.

Pure functions from records to JSON values (binance-alpha 1, 3.5 and 3.7).
"""

from decimal import Decimal
from typing import Any

from paper_exchange.accounts import free_of, locked_of
from paper_exchange.config import Instrument
from paper_exchange.intervals import last_ms
from paper_exchange.market import Market
from paper_exchange.model import Account, AggTrade, Fill, Order, OrderList
from paper_exchange.numbers import EXACT, HUNDRED, ZERO, half_up, padded, text
from paper_exchange.tape import Candle

Row = dict[str, Any]

_FILTER_KEYS = [
    "minPrice",
    "maxPrice",
    "tickSize",
    "stepSize",
    "maxQty",
    "minQty",
    "limit",
    "minNotional",
    "maxNotional",
    "multiplierDown",
    "multiplierUp",
    "bidMultiplierUp",
    "askMultiplierUp",
    "bidMultiplierDown",
    "askMultiplierDown",
]


def token_row(market: Market, now_ms: int, *, offline: bool, offsell: bool, score: int) -> Row:
    instrument = market.instrument
    token = instrument.token
    if token is None:
        raise AssertionError(f"{instrument.symbol} has no token")
    day = market.tape.day(now_ms)
    price = market.last_price
    icon = f"https://bin.bnbstatic.com/images/web3-data/public/token/logos/{token.token_id}.png"
    return {
        "tokenId": token.token_id,
        "chainId": token.chain_id,
        "chainIconUrl": f"https://bin.bnbstatic.com/image/chain/{token.chain_id}.png",
        "chainName": token.chain_name,
        "contractAddress": token.contract_address,
        "name": token.name,
        "symbol": token.ticker,
        "iconUrl": icon,
        "price": text(price),
        "percentChange24h": text(_percent(day)),
        "volume24h": text(day.quote if day else ZERO),
        "marketCap": text(half_up(price * token.circulating_supply, 8)),
        "fdv": text(half_up(price * token.total_supply, 8)),
        "liquidity": text(instrument.house.level_notional * instrument.house.levels),
        "totalSupply": text(token.total_supply),
        "circulatingSupply": text(token.circulating_supply),
        "holders": "1000",
        "decimals": token.decimals,
        "listingCex": False,
        "hotTag": False,
        "cexCoinName": token.ticker,
        "canTransfer": False,
        "denomination": 1,
        "offline": offline,
        "tradeDecimal": 8,
        "alphaId": instrument.base,
        "offsell": offsell,
        "priceHigh24h": text(day.high if day else price),
        "priceLow24h": text(day.low if day else price),
        "count24h": str(day.trades if day else 0),
        "onlineTge": False,
        "onlineAirdrop": False,
        "score": score,
        "cexOffDisplay": False,
        "stockState": False,
        "listingTime": token.listing_ms,
        "mulPoint": token.multiplier,
        "bnExclusiveState": False,
    }


def _percent(day: Candle | None) -> Decimal:
    return half_up((day.close - day.open) / day.open * HUNDRED, 2) if day else ZERO


def symbol_row(instrument: Instrument, status: str) -> Row:
    """One pair of exchange info; every filter object carries every filter key."""
    notional = {"minNotional": text(instrument.min_notional)}, {"maxNotional": text(instrument.max_notional)}
    down, up = text(instrument.percent_down), text(instrument.percent_up)
    filters: list[Row] = [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": text(instrument.min_price),
            "maxPrice": text(instrument.max_price),
            "tickSize": text(instrument.tick_size),
        },
        {
            "filterType": "LOT_SIZE",
            "stepSize": padded(instrument.step_size, instrument.base_precision),
            "maxQty": text(instrument.max_quantity),
            "minQty": padded(instrument.min_quantity, instrument.base_precision),
        },
        {"filterType": "MAX_NUM_ORDERS", "limit": instrument.max_num_orders},
        {"filterType": "MIN_NOTIONAL", **notional[0]},
        {"filterType": "MAX_NOTIONAL", **notional[1]},
        {"filterType": "NOTIONAL", **notional[0], **notional[1]},
        {"filterType": "PERCENT_PRICE", "multiplierDown": down, "multiplierUp": up},
        {
            "filterType": "PERCENT_PRICE_BY_SIDE",
            "bidMultiplierUp": up,
            "askMultiplierUp": up,
            "bidMultiplierDown": down,
            "askMultiplierDown": down,
        },
    ]
    return {
        "symbol": instrument.symbol,
        "status": status,
        "baseAsset": instrument.base,
        "quoteAsset": instrument.quote,
        "pricePrecision": instrument.price_precision,
        "quantityPrecision": instrument.base_precision,
        "baseAssetPrecision": instrument.base_precision,
        "quotePrecision": instrument.quote_precision,
        "filters": [
            {"filterType": row["filterType"]} | {k: row.get(k) for k in _FILTER_KEYS} for row in filters
        ],
        "orderTypes": ["LIMIT"],
    }


def ticker_row(market: Market, now_ms: int) -> Row:
    instrument, day, trades = market.instrument, market.tape.day(now_ms), market.tape.trades
    last = market.last_price

    def price(value: Decimal) -> str:
        return padded(half_up(value, instrument.price_precision), instrument.price_precision)

    return {
        "symbol": instrument.symbol,
        "priceChange": price(day.close - day.open if day else ZERO),
        "priceChangePercent": text(half_up((day.close - day.open) / day.open * HUNDRED, 3)) if day else "0",
        "weightedAvgPrice": price(EXACT.divide(day.quote, day.base) if day and day.base else last),
        "lastPrice": price(last),
        "lastQty": padded(trades[-1].quantity if trades else ZERO, instrument.base_precision),
        "openPrice": price(day.open if day else last),
        "highPrice": price(day.high if day else last),
        "lowPrice": price(day.low if day else last),
        "volume": padded(day.base if day else ZERO, instrument.base_precision),
        "quoteVolume": text(day.quote if day else ZERO),
        "openTime": day.open_ms if day else now_ms,
        "closeTime": trades[-1].time_ms if trades else now_ms,
        "firstId": day.first_id if day else 0,
        "lastId": day.last_id if day else 0,
        "count": day.trades if day else 0,
    }


def agg_trade_row(trade: AggTrade, instrument: Instrument) -> Row:
    return {
        "a": trade.agg_id,
        "p": padded(trade.price, instrument.price_precision),
        "q": padded(trade.quantity, instrument.base_precision),
        "f": trade.first_id,
        "l": trade.last_id,
        "m": trade.buyer_is_maker,
        "T": trade.time_ms,
    }


def agg_kline_row(candle: Candle, interval: str, instrument: Instrument) -> list[str]:
    """A candle by contract: seven texts."""
    row = kline_row(candle, interval, instrument)
    return [*row[:5], row[7], row[6]]


def kline_row(candle: Candle, interval: str, instrument: Instrument) -> list[str]:
    prices = (candle.open, candle.high, candle.low, candle.close)
    return [
        str(candle.open_ms),
        *(padded(value, instrument.price_precision) for value in prices),
        text(candle.base),
        str(last_ms(candle.open_ms, interval)),
        text(candle.quote),
        str(candle.trades),
        text(candle.taker_base),
        text(candle.taker_quote),
        "0",
    ]


def depth_levels(market: Market, limit: int, *, crossed: bool) -> tuple[list[list[str]], list[list[str]]]:
    """Bids and asks; a crossed book shows an outside bid above the best ask (binance-alpha 1.3)."""
    bids, asks = market.book.depth("BUY", limit), market.book.depth("SELL", limit)
    if crossed and asks:
        phantom = market.on_grid(asks[0][0] * Decimal("1.0005"), "SELL")
        bids = [(phantom, asks[0][1]), *bids][:limit]
    instrument = market.instrument

    def level(price: Decimal, quantity: Decimal) -> list[str]:
        return [padded(price, instrument.price_precision), padded(quantity, instrument.base_precision)]

    return [level(*bid) for bid in bids], [level(*ask) for ask in asks]


def order_row(order: Order, order_list: OrderList | None, instrument: Instrument) -> Row:
    """A row of open orders, history and order detail."""
    average = half_up(order.quote / order.executed, instrument.price_precision) if order.executed else ZERO
    position = {"working": "OTO_WORKING", "pending": "OTO_PENDING"}.get(order.leg or "")
    return {
        "kind": "LIMIT",
        "symbol": order.symbol,
        "type": "LIMIT",
        "baseAsset": instrument.base,
        "quoteAsset": instrument.quote,
        "alphaId": instrument.base,
        "orderId": str(order.order_id),
        "status": order.status.value,
        "price": padded(order.price, instrument.price_precision),
        "avgPrice": text(average),
        "origQty": text(order.quantity),
        "executedQty": text(order.executed),
        "cumQuote": text(order.quote),
        "side": order.side,
        "stopPrice": "0",
        "time": order.created_ms,
        "updateTime": order.updated_ms,
        "orderListId": str(order.list_id) if order_list else "-1",
        "contingencyType": "OTO" if order_list else None,
        "contingencyOrderPosition": position,
        "workingTime": (order.working_ms or 0) if order_list else 0,
        "targetStrategy": None,
    }


def trade_row(fill: Fill, instrument: Instrument) -> Row:
    """A fill: id and tradeId repeat within one sweep, pageId never (binance-alpha 3.5)."""
    return {
        "symbol": fill.symbol,
        "id": str(fill.sweep_id),
        "orderId": str(fill.order_id),
        "tradeId": str(fill.sweep_id),
        "side": fill.side,
        "price": padded(fill.price, instrument.price_precision),
        "qty": padded(fill.quantity, instrument.base_precision),
        "quoteQty": padded(fill.quote, instrument.quote_precision),
        "commission": text(fill.fee),
        "commissionAsset": fill.fee_asset,
        "time": fill.time_ms,
        "pageId": str(fill.fill_id),
        "buyer": fill.side == "BUY",
        "baseAsset": instrument.base,
        "quoteAsset": instrument.quote,
        "orderType": "LIMIT",
        "lastTrade": fill.last,
    }


def wallet_row(account: Account, market: Market) -> Row:
    instrument = market.instrument
    token = instrument.token
    if token is None:
        raise AssertionError(f"{instrument.symbol} has no token")
    free, locked = free_of(account, instrument.base), locked_of(account, instrument.base)
    return {
        "chainId": token.chain_id,
        "contractAddress": token.contract_address,
        "cexAsset": False,
        "name": token.name,
        "symbol": token.ticker,
        "tokenId": instrument.base,
        "free": text(free),
        "freeze": "0",
        "locked": text(locked),
        "withdrawing": "0",
        "amount": text(free + locked),
        "valuation": padded(half_up((free + locked) * market.last_price, 8), 8),
    }

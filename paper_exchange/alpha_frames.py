"""Alpha's stream payloads: events of the exchange in the venue's keys (binance-alpha 2 and 3.6)."""

from decimal import Decimal

from paper_exchange.alpha_rows import Row, agg_trade_row, ticker_row, token_row
from paper_exchange.exchange import Exchange
from paper_exchange.intervals import candles, last_ms
from paper_exchange.market import Market
from paper_exchange.model import AggTrade, Execution, OrderEvent, Status
from paper_exchange.numbers import cut, padded, text
from paper_exchange.tape import Candle

EXECUTIONS: dict[Execution, str] = {"TRADE_PREVENTION": "EXPIRED"}


def order_frame(event: OrderEvent, market: Market) -> Row:
    """An executionReport; fee and list keys are absent where they do not apply."""
    order, fill, instrument = event.order, event.fill, market.instrument
    places = instrument.quote_precision

    def quantity(value: Decimal | None) -> str:
        return padded(value, 8) if value else "0"

    status = Status.EXPIRED if order.status is Status.EXPIRED_IN_MATCH else order.status
    report: Row = {
        "s": order.symbol,
        "c": order.client_id,
        "S": order.side,
        "o": "LIMIT",
        "f": "GTC",
        "q": quantity(order.quantity),
        "p": padded(order.price, instrument.price_precision),
        "ap": padded(cut(order.quote / order.executed, 9), 9) if order.executed else "0",
        "P": "0",
        "x": EXECUTIONS.get(event.execution, event.execution),
        "X": status.value,
        "i": str(order.order_id),
        "l": quantity(fill.quantity if fill else None),
        "z": quantity(order.executed),
        "L": padded(fill.price, instrument.price_precision) if fill else "0",
        "t": str(fill.sweep_id) if fill else "0",
        "m": fill.maker if fill else False,
        "ot": "LIMIT",
        "st": 1,
        "O": order.created_ms,
        "Z": padded(order.quote, places) if order.quote else "0",
        "Y": padded(fill.quote, places) if fill else "0",
        "Q": "0",
        "ba": instrument.base,
        "qa": instrument.quote,
        "id": event.event_id,
        "e": "executionReport",
        "T": event.time_ms,
        "u": order.updated_ms,
        "E": event.time_ms,
    }
    if fill is not None:
        report |= {"n": padded(fill.fee, 8), "N": fill.fee_asset}
    if order.list_id is not None:
        report |= {"il": str(order.list_id), "ct": "OTO", "cp": f"OTO_{(order.leg or '').upper()}"}
    return report


def agg_trade_frame(trade: AggTrade, market: Market) -> Row:
    row = agg_trade_row(trade, market.instrument)
    return {"e": "aggTrade", "E": trade.time_ms, "s": trade.symbol} | row


def trade_frame(trade: AggTrade, market: Market) -> Row:
    return {
        "e": "trade",
        "E": trade.time_ms,
        "T": trade.time_ms,
        "s": trade.symbol,
        "t": trade.last_id,
        "p": padded(trade.price, market.instrument.price_precision),
        "q": padded(trade.quantity, market.instrument.base_precision),
        "m": trade.buyer_is_maker,
    }


def book_ticker_frame(market: Market, now_ms: int) -> Row | None:
    """The best quotes, or None while a side is empty."""
    bid, ask = market.book.depth("BUY", 1), market.book.depth("SELL", 1)
    if not bid or not ask:
        return None
    prices, quantities = market.instrument.price_precision, market.instrument.base_precision
    return {
        "e": "bookTicker",
        "E": now_ms,
        "T": now_ms,
        "u": market.book.update_id,
        "s": market.instrument.symbol,
        "b": padded(bid[0][0], prices),
        "B": padded(bid[0][1], quantities),
        "a": padded(ask[0][0], prices),
        "A": padded(ask[0][1], quantities),
    }


def kline_frame(market: Market, now_ms: int, interval: str = "1m") -> Row | None:
    """The running candle."""
    candle = _running(market, interval)
    if candle is None:
        return None
    closes_ms = last_ms(candle.open_ms, interval)
    places = market.instrument.price_precision
    return {
        "e": "kline",
        "E": now_ms,
        "s": candle.symbol,
        "k": {
            "t": candle.open_ms,
            "T": closes_ms,
            "s": candle.symbol,
            "i": interval,
            "f": candle.first_id,
            "L": candle.last_id,
            "o": padded(candle.open, places),
            "c": padded(candle.close, places),
            "h": padded(candle.high, places),
            "l": padded(candle.low, places),
            "v": text(candle.base),
            "n": candle.trades,
            "x": now_ms > closes_ms,
            "q": text(candle.quote),
            "V": text(candle.taker_base),
            "Q": text(candle.taker_quote),
            "B": "0",
        },
    }


def contract_kline_frame(market: Market, interval: str) -> Row | None:
    """The running candle of a token by its contract."""
    candle, token = _running(market, interval), market.instrument.token
    if candle is None or token is None:
        return None
    places = market.instrument.price_precision
    return {
        "ca": f"{token.contract_address}@{token.chain_id}",
        "e": "kline",
        "k": {
            "o": padded(candle.open, places),
            "c": padded(candle.close, places),
            "h": padded(candle.high, places),
            "l": padded(candle.low, places),
            "v": text(candle.base),
            "ot": candle.open_ms,
            "ct": last_ms(candle.open_ms, interval) + 1,
            "i": interval,
        },
    }


def _running(market: Market, interval: str) -> Candle | None:
    """The newest candle; that of a minute is at hand, others are put together."""
    if interval == "1m":
        return market.tape.candles[-1] if market.tape.candles else None
    found = candles(market.tape, interval)
    return found[-1] if found else None


def mini_ticker_frame(market: Market, now_ms: int) -> Row:
    row = ticker_row(market, now_ms)
    return {
        "e": "24hrMiniTicker",
        "E": now_ms,
        "s": row["symbol"],
        "c": row["lastPrice"],
        "o": row["openPrice"],
        "h": row["highPrice"],
        "l": row["lowPrice"],
        "v": row["volume"],
        "q": row["quoteVolume"],
    }


def ticker_frame(market: Market, now_ms: int) -> Row:
    row = ticker_row(market, now_ms)
    return {
        "e": "24hrTicker",
        "E": now_ms,
        "s": row["symbol"],
        "p": row["priceChange"],
        "P": row["priceChangePercent"],
        "w": row["weightedAvgPrice"],
        "c": row["lastPrice"],
        "Q": row["lastQty"],
        "o": row["openPrice"],
        "h": row["highPrice"],
        "l": row["lowPrice"],
        "v": row["volume"],
        "q": row["quoteVolume"],
        "O": row["openTime"],
        "C": row["closeTime"],
        "F": row["firstId"],
        "L": row["lastId"],
        "n": row["count"],
    }


def depth_frame(
    market: Market, now_ms: int, before: int, bids: list[list[str]], asks: list[list[str]]
) -> Row:
    """A depth update that follows update id `before`."""
    return {
        "e": "depthUpdate",
        "E": now_ms,
        "T": now_ms,
        "s": market.instrument.symbol,
        "U": before + 1,
        "u": market.book.update_id,
        "pu": before,
        "b": bids,
        "a": asks,
    }


def ticker24_frame(exchange: Exchange, markets: list[Market]) -> Row:
    rows = []
    for market in markets:
        offline, offsell = exchange.conditions.is_withdrawn(market.instrument.symbol)
        row = token_row(market, exchange.now_ms, offline=offline, offsell=offsell, score=1)
        rows.append(
            {
                "ca": f"{row['contractAddress']}@{row['chainId']}",
                "p": row["price"],
                "pc24": row["percentChange24h"],
                "vol24": row["volume24h"],
                "mc": row["marketCap"],
                "fdv": row["fdv"],
                "liq": row["liquidity"],
                "hc": row["holders"],
                "cnt24": int(row["count24h"]),
                "s": str(row["score"]),
                "t": exchange.now_ms,
            }
        )
    return {"e": "tickerList", "d": rows}

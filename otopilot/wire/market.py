"""Instruments and prices, to the wire and back."""

from datetime import datetime

from otopilot.instrument import Instrument
from otopilot.quote import Quote
from otopilot.wire.enums import INSTRUMENT_STATUSES, SOURCES, VENUES
from otopilot.wire.values import amount, decimal, moment, optional_decimal, timestamp
from protos import market_pb2 as market


def instrument_to_pb(item: Instrument, fetched_at: datetime | None = None) -> market.Instrument:
    """An instrument for the wire."""
    return market.Instrument(
        venue=VENUES.to_pb(item.venue),
        symbol=item.symbol,
        token=item.token,
        chain=item.chain,
        base_asset=item.base_asset,
        quote_asset=item.quote_asset,
        status=INSTRUMENT_STATUSES.to_pb(item.status),
        tick_size=amount(item.tick_size),
        step_size=amount(item.step_size),
        min_price=amount(item.min_price),
        max_price=amount(item.max_price),
        min_quantity=amount(item.min_quantity),
        max_quantity=amount(item.max_quantity),
        min_notional=amount(item.min_notional),
        max_notional=amount(item.max_notional),
        bid_multiplier_down=amount(item.bid_multiplier_down),
        bid_multiplier_up=amount(item.bid_multiplier_up),
        ask_multiplier_down=amount(item.ask_multiplier_down),
        ask_multiplier_up=amount(item.ask_multiplier_up),
        max_num_orders=item.max_num_orders,
        max_num_order_lists=item.max_num_order_lists,
        oto_allowed=item.oto_allowed,
        opo_allowed=item.opo_allowed,
        buy_fee_rate=amount(item.buy_fee_rate),
        sell_fee_rate=amount(item.sell_fee_rate),
        fetched_at=timestamp(fetched_at),
    )


def instrument_from_pb(item: market.Instrument) -> Instrument:
    """An instrument off the wire. Raises ValueError."""
    return Instrument(
        venue=VENUES.from_pb(item.venue),
        symbol=item.symbol,
        token=item.token,
        chain=item.chain,
        base_asset=item.base_asset,
        quote_asset=item.quote_asset,
        status=INSTRUMENT_STATUSES.from_pb(item.status),
        tick_size=decimal(item.tick_size, "tick_size"),
        step_size=decimal(item.step_size, "step_size"),
        min_price=decimal(item.min_price, "min_price"),
        max_price=optional_decimal(item.max_price, "max_price"),
        min_quantity=decimal(item.min_quantity, "min_quantity"),
        max_quantity=optional_decimal(item.max_quantity, "max_quantity"),
        min_notional=decimal(item.min_notional, "min_notional"),
        max_notional=optional_decimal(item.max_notional, "max_notional"),
        bid_multiplier_down=optional_decimal(item.bid_multiplier_down, "bid_multiplier_down"),
        bid_multiplier_up=optional_decimal(item.bid_multiplier_up, "bid_multiplier_up"),
        ask_multiplier_down=optional_decimal(item.ask_multiplier_down, "ask_multiplier_down"),
        ask_multiplier_up=optional_decimal(item.ask_multiplier_up, "ask_multiplier_up"),
        max_num_orders=item.max_num_orders,
        max_num_order_lists=item.max_num_order_lists,
        oto_allowed=item.oto_allowed,
        opo_allowed=item.opo_allowed,
        buy_fee_rate=optional_decimal(item.buy_fee_rate, "buy_fee_rate"),
        sell_fee_rate=optional_decimal(item.sell_fee_rate, "sell_fee_rate"),
    )


def quote_to_pb(quote: Quote, now: datetime, stale_after_ms: int) -> market.Price:
    """A price for the wire, with its age at `now`."""
    age_ms = int(quote.age(now).total_seconds() * 1000)
    return market.Price(
        venue=VENUES.to_pb(quote.venue),
        symbol=quote.symbol,
        price=amount(quote.price),
        traded_at=timestamp(quote.traded_at),
        confirmed_at=timestamp(quote.confirmed_at),
        age_ms=age_ms,
        stale=age_ms > stale_after_ms,
        source=SOURCES.to_pb(quote.source),
        sequence=quote.sequence,
    )


def quote_from_pb(price: market.Price) -> Quote:
    """A price off the wire. Raises ValueError."""
    return Quote(
        venue=VENUES.from_pb(price.venue),
        symbol=price.symbol,
        price=decimal(price.price, "price"),
        traded_at=moment(price.traded_at),
        confirmed_at=moment(price.confirmed_at),
        source=SOURCES.from_pb(price.source),
        sequence=price.sequence,
    )

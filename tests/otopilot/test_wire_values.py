"""Times, missing values, ages and sides on their way over the wire."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from otopilot import wire
from otopilot.instrument import Side, Venue
from otopilot.position import VolumeSide
from otopilot.quote import Quote
from protos import order_pb2
from tests.otopilot.orders import START, at

TIMES = st.datetimes(datetime(2017, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(TIMES, st.integers(-23, 23))
def test_a_time_is_the_same_moment_in_utc(moment: datetime, hours: int) -> None:
    abroad = moment.astimezone(timezone(timedelta(hours=hours)))
    stamp = wire.timestamp(abroad)
    assert stamp is not None
    assert wire.moment(stamp) == moment
    assert wire.moment(stamp).tzinfo is UTC


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="has no zone"):
        wire.timestamp(datetime(2026, 11, 20))  # noqa: DTZ001 - that is the point


def test_a_time_beyond_the_calendar_is_a_value_error() -> None:
    with pytest.raises(ValueError):
        wire.moment(Timestamp(seconds=10**17))


def test_a_missing_amount_or_time_stays_missing() -> None:
    assert wire.amount(None) == ""
    assert wire.optional_decimal("", "price") is None
    assert wire.timestamp(None) is None
    assert wire.optional_moment(Timestamp(), present=False) is None
    with pytest.raises(ValueError, match="price: "):
        wire.decimal("", "price")


@pytest.mark.parametrize(("seconds", "stale"), [(3.0, False), (3.001, True), (-5.0, False)])
def test_a_price_is_stale_when_it_is_older_than_asked(seconds: float, stale: bool) -> None:
    quote = Quote(
        venue=Venue.ALPHA, symbol="ALPHA_22USDT", price=Decimal(1), traded_at=START, confirmed_at=START
    )
    message = wire.quote_to_pb(quote, at(seconds), 3000)
    assert message.stale is stale
    assert message.age_ms == max(0, int(seconds * 1000))


def test_the_side_of_a_scope_is_not_the_side_of_an_order() -> None:
    assert wire.side_from_pb(wire.side_to_pb(Side.SELL)) is Side.SELL
    assert wire.volume_side_to_pb(VolumeSide.BOTH) == order_pb2.VOLUME_SIDE_BOTH

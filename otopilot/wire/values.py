"""Plain values on the wire: times as Timestamp, amounts as text."""

from datetime import UTC, datetime
from decimal import Decimal

from google.protobuf.timestamp_pb2 import Timestamp

from otopilot import money


def timestamp(moment: datetime | None) -> Timestamp | None:
    """An aware time as a Timestamp; none stays none. Raises ValueError for a time without a zone."""
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no zone: it could be any time of a day")
    stamp = Timestamp()
    stamp.FromDatetime(moment.astimezone(UTC).replace(tzinfo=None))
    return stamp


def moment(stamp: Timestamp) -> datetime:
    """A Timestamp as aware UTC. Raises ValueError outside the years 1 to 9999."""
    return stamp.ToDatetime(tzinfo=UTC)


def optional_moment(stamp: Timestamp, present: bool) -> datetime | None:
    """A Timestamp as aware UTC, or none where the field is not set."""
    return moment(stamp) if present else None


def decimal(text: str, field: str) -> Decimal:
    """An amount that must be there. Raises ValueError that names the field."""
    try:
        return money.parse(text)
    except ValueError as error:
        raise ValueError(f"{field}: {error}") from None


def optional_decimal(text: str, field: str) -> Decimal | None:
    """An amount that may be missing."""
    return decimal(text, field) if text else None


def amount(value: Decimal | None) -> str:
    """An amount as text; none is empty."""
    return "" if value is None else money.text(value)

"""Vocabulary enums and their protobuf twins, whose names differ by a prefix only.

A member without a twin fails at import; a number without a member fails where it is read.
"""

from enum import StrEnum
from typing import Any, Generic, TypeVar

from otopilot.instrument import InstrumentStatus, Side, Venue
from otopilot.order import LegRole, LegStatus, OrderState, Purpose, RejectionKind
from otopilot.position import UserState, VolumeSide, VolumeWindow
from otopilot.quote import QuoteSource
from protos import market_pb2 as market
from protos import order_pb2 as orders

Name = TypeVar("Name", bound=StrEnum)


class Names(Generic[Name]):
    """One enum in both spellings, and the field that carries it."""

    def __init__(
        self, field: str, vocabulary: type[Name], prefix: str, twin: Any, unsaid: Name | None = None
    ) -> None:
        """`unsaid` is what a field that was not set means; it needs no number of its own."""
        numbers = dict(twin.items())
        if unsaid is not None:
            numbers.setdefault(f"{prefix}_{unsaid.name}", 0)
        self._field = field
        self._to_pb = {member: numbers[f"{prefix}_{member.name}"] for member in vocabulary}
        self._from_pb = {number: member for member, number in self._to_pb.items()}
        if unsaid is not None:
            self._from_pb[0] = unsaid

    def to_pb(self, member: Name) -> Any:
        """The member's number."""
        return self._to_pb[member]

    def from_pb(self, number: int) -> Name:
        """The number's member. Raises ValueError where it must be said, or is not known here."""
        try:
            return self._from_pb[number]
        except KeyError:
            known = ", ".join(member.name for member in self._to_pb)
            got = f"{number} is not known here" if number else "not given"
            raise ValueError(f"{self._field}: {got}; it is one of {known}") from None


VENUES = Names("venue", Venue, "VENUE", market.Venue)
INSTRUMENT_STATUSES = Names("status", InstrumentStatus, "INSTRUMENT_STATUS", market.InstrumentStatus)
SOURCES = Names("source", QuoteSource, "PRICE_SOURCE", market.PriceSource)
SIDES = Names("side", Side, "SIDE", orders.Side)
ROLES = Names("role", LegRole, "LEG_ROLE", orders.LegRole)
LEG_STATUSES = Names("status", LegStatus, "LEG_STATUS", orders.LegStatus)
ORDER_STATES = Names("state", OrderState, "ORDER_STATE", orders.OrderState)
REJECTIONS = Names("kind", RejectionKind, "REJECTION_KIND", orders.RejectionKind)
# An order without a purpose of its own is part of a cycle.
PURPOSES = Names("purpose", Purpose, "PURPOSE", orders.Purpose, unsaid=Purpose.OTO)
VOLUME_SIDES = Names("side", VolumeSide, "VOLUME_SIDE", orders.VolumeSide, unsaid=VolumeSide.BUY)
WINDOWS = Names("window", VolumeWindow, "VOLUME_WINDOW", orders.VolumeWindow, unsaid=VolumeWindow.DAY)
USER_STATES = Names("state", UserState, "USER_STATE", orders.UserState)

venue_to_pb = VENUES.to_pb
venue_from_pb = VENUES.from_pb
side_to_pb = SIDES.to_pb
side_from_pb = SIDES.from_pb
role_to_pb = ROLES.to_pb
role_from_pb = ROLES.from_pb
purpose_to_pb = PURPOSES.to_pb
purpose_from_pb = PURPOSES.from_pb
volume_side_to_pb = VOLUME_SIDES.to_pb
window_to_pb = WINDOWS.to_pb

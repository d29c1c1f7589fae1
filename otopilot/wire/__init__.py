"""Protobuf <-> vocabulary, both directions side by side.

The only place, with rpc, servicers and clients, that knows generated messages. Parsing
raises ValueError with the field's name for anything that is not what the contract says.
"""

from otopilot.wire.accounts import (
    position_from_pb,
    position_to_pb,
    scope_from_request,
    scope_to_request,
    user_from_pb,
    user_to_pb,
    volume_from_pb,
    volume_to_pb,
)
from otopilot.wire.enums import (
    purpose_from_pb,
    purpose_to_pb,
    role_from_pb,
    role_to_pb,
    side_from_pb,
    side_to_pb,
    venue_from_pb,
    venue_to_pb,
    volume_side_to_pb,
    window_to_pb,
)
from otopilot.wire.market import instrument_from_pb, instrument_to_pb, quote_from_pb, quote_to_pb
from otopilot.wire.orders import leg_from_pb, leg_to_pb, order_from_pb, order_to_pb
from otopilot.wire.values import amount, decimal, moment, optional_decimal, optional_moment, timestamp

__all__ = [
    "amount",
    "decimal",
    "instrument_from_pb",
    "instrument_to_pb",
    "leg_from_pb",
    "leg_to_pb",
    "moment",
    "optional_decimal",
    "optional_moment",
    "order_from_pb",
    "order_to_pb",
    "position_from_pb",
    "position_to_pb",
    "purpose_from_pb",
    "purpose_to_pb",
    "quote_from_pb",
    "quote_to_pb",
    "role_from_pb",
    "role_to_pb",
    "scope_from_request",
    "scope_to_request",
    "side_from_pb",
    "side_to_pb",
    "timestamp",
    "user_from_pb",
    "user_to_pb",
    "venue_from_pb",
    "venue_to_pb",
    "volume_from_pb",
    "volume_side_to_pb",
    "volume_to_pb",
    "window_to_pb",
]

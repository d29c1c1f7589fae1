"""What leaves as a message comes back as it was; what is not of the contract is refused by its name."""

import copy
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, get_type_hints

import msgspec
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from otopilot import money, wire
from otopilot.instrument import Instrument, InstrumentStatus, Venue
from otopilot.order import Fee, Leg, LegRole, Order, Purpose, RejectionKind, ScopeId, UserId, Wished
from otopilot.position import (
    MemberVolume,
    Position,
    ScopeMember,
    ScopeVolume,
    User,
    UserState,
    VolumeScope,
    VolumeSide,
    VolumeWindow,
)
from otopilot.quote import Quote, QuoteSource
from otopilot.wire.enums import (
    INSTRUMENT_STATUSES,
    LEG_STATUSES,
    ORDER_STATES,
    PURPOSES,
    REJECTIONS,
    ROLES,
    SIDES,
    SOURCES,
    USER_STATES,
    VENUES,
    VOLUME_SIDES,
    WINDOWS,
    Names,
)
from protos import market_pb2, order_pb2
from tests.otopilot.orders import START, WORKING, after, at, doubted, filled, oto, refused, traded
from tests.otopilot.stories import arrivals, stories

NAMES = st.text("abcXYZ0189_-/", min_size=1, max_size=20)
AMOUNTS = st.decimals(-(10**15), 10**15, places=12).map(lambda amount: money.parse(money.text(amount)))
TIMES = st.datetimes(datetime(2017, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


def built(kind: Any, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A struct of which every amount, and every given field, is drawn."""
    hints = get_type_hints(kind)
    amounts = {name: AMOUNTS for name, hint in hints.items() if hint is Decimal}
    amounts |= {name: maybe(AMOUNTS) for name, hint in hints.items() if hint == Decimal | None}
    return st.builds(kind, **(amounts | fields))


COUNTS = st.integers(0, 2**31 - 1)
INSTRUMENTS = built(
    Instrument,
    venue=st.sampled_from(Venue),
    symbol=NAMES,
    token=NAMES,
    chain=NAMES,
    base_asset=NAMES,
    quote_asset=NAMES,
    status=st.sampled_from(InstrumentStatus),
    max_num_orders=COUNTS,
    max_num_order_lists=COUNTS,
    max_position=st.none(),  # checked by whoever reads it from the venue, and told to nobody
    oto_allowed=st.booleans(),
    opo_allowed=st.booleans(),
)
QUOTES = built(
    Quote,
    venue=st.sampled_from(Venue),
    symbol=NAMES,
    traded_at=TIMES,
    confirmed_at=TIMES,
    source=st.sampled_from(QuoteSource),
    sequence=COUNTS,
)
USERS = built(
    User,
    user_id=NAMES.map(UserId),
    venue=st.sampled_from(Venue),
    state=st.sampled_from(UserState),
    reason_code=NAMES,
    reason=NAMES,
    credential_kind=NAMES,
    stored_at=maybe(TIMES),
)


def by_account(members: list[ScopeMember]) -> tuple[ScopeMember, ...]:
    return tuple(sorted(members, key=lambda member: (member.user_id, member.venue, member.symbol)))


MEMBERS = built(ScopeMember, user_id=NAMES.map(UserId), venue=st.sampled_from(Venue), symbol=NAMES)
SCOPE_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "scope_id": NAMES.map(ScopeId),
    "members": st.lists(MEMBERS, min_size=1, max_size=4).map(lambda members: by_account(members)),
    "side": st.sampled_from(VolumeSide),
    "revision": COUNTS,
}
SCOPES = built(
    VolumeScope,
    window=st.sampled_from([VolumeWindow.DAY, VolumeWindow.ALL]),
    since=st.none(),
    **SCOPE_FIELDS,
) | built(VolumeScope, window=st.just(VolumeWindow.SINCE), since=TIMES, **SCOPE_FIELDS)
VOLUMES = built(
    ScopeVolume,
    scope=SCOPES,
    complete=st.booleans(),
    members=st.lists(built(MemberVolume, user_id=NAMES.map(UserId), complete=st.booleans()), max_size=3).map(
        tuple
    ),
    window_start=maybe(TIMES),
)


@st.composite
def orders(draw: st.DrawFn) -> Order:
    """An order in any state, as the wire carries it: without trade keys and list id."""
    story = draw(stories())
    told = draw(arrivals(story.facts))[: draw(st.integers(0, len(story.facts)))]
    before = draw(st.sampled_from([[], [doubted()], [refused(RejectionKind.ABSENT)]]))
    wish = Wished(role=LegRole.WORKING, reason="stop", at=at(5))
    known = after(story.placed, [*before, *told, *draw(st.sampled_from([[], [wish]]))])
    legs = tuple(msgspec.structs.replace(leg, trade_keys=()) for leg in known.legs)
    purpose, scope = draw(st.sampled_from(Purpose)), draw(maybe(NAMES.map(ScopeId)))
    return msgspec.structs.replace(known, legs=legs, list_id=None, purpose=purpose, scope_id=scope)


POSITIONS = built(
    Position,
    user=USERS,
    last_cycle=COUNTS,
    cycle_orders=st.lists(orders(), max_size=2).map(tuple),
    open_orders=st.lists(orders(), max_size=2).map(tuple),
    cost_complete=st.booleans(),
    open_sells=COUNTS,
)


def sent(message: Message) -> Any:
    """The message as the other side reads it."""
    return type(message).FromString(message.SerializeToString())


@given(INSTRUMENTS)
def test_an_instrument_comes_back_as_it_was(item: Instrument) -> None:
    assert wire.instrument_from_pb(sent(wire.instrument_to_pb(item, START))) == item


@given(QUOTES)
def test_a_price_comes_back_as_it_was(quote: Quote) -> None:
    assert wire.quote_from_pb(sent(wire.quote_to_pb(quote, START, 3000))) == quote


@given(orders())
def test_an_order_comes_back_as_it_was(order: Order) -> None:
    assert wire.order_from_pb(sent(wire.order_to_pb(order))) == order


@given(USERS)
def test_a_user_comes_back_as_it_was(user: User) -> None:
    assert wire.user_from_pb(sent(wire.user_to_pb(user))) == user


@given(SCOPES, COUNTS)
def test_a_scope_comes_back_as_it_was(scope: VolumeScope, epoch: int) -> None:
    request = sent(wire.scope_to_request(scope, epoch))
    assert request.owner_epoch == epoch
    assert wire.scope_from_request(request) == scope


@given(VOLUMES)
def test_a_volume_comes_back_as_it_was(volume: ScopeVolume) -> None:
    message = sent(wire.volume_to_pb(volume))
    assert wire.volume_from_pb(message, volume.scope) == volume
    assert money.parse(message.left) == volume.left


@given(POSITIONS)
def test_a_position_comes_back_as_it_was(position: Position) -> None:
    assert wire.position_from_pb(sent(wire.position_to_pb(position))) == position


# ------------------------------------------------------------------ what is not of the contract

PLAIN = {"venue": Venue.ALPHA, "symbol": "ALPHA_22USDT"}
ONE = Decimal(1)
TOKEN = Instrument(
    token="KOGE", base_asset="ALPHA_22", quote_asset="USDT", tick_size=ONE, step_size=ONE, **PLAIN
)
USER = User(user_id=UserId("1"), venue=Venue.SPOT, state=UserState.READY)
FULL = after(
    oto(),
    [traded(WORKING, "a", 10), filled(WORKING), Wished(role=LegRole.PENDING, reason="stop", at=START)],
)
SCOPE = VolumeScope(
    scope_id=ScopeId("koge"), members=(ScopeMember(UserId("1"), Venue.ALPHA, "ALPHA_22USDT"),), target=ONE
)
MESSAGES: dict[str, tuple[Message, Callable[[Any], Any]]] = {
    "instrument": (wire.instrument_to_pb(TOKEN), wire.instrument_from_pb),
    "price": (
        wire.quote_to_pb(Quote(price=ONE, traded_at=START, confirmed_at=START, **PLAIN), START, 1),
        wire.quote_from_pb,
    ),
    "order": (wire.order_to_pb(FULL), wire.order_from_pb),
    "rejected order": (
        wire.order_to_pb(after(oto(), [refused(RejectionKind.VENUE)])),
        wire.order_from_pb,
    ),
    "user": (wire.user_to_pb(USER), wire.user_from_pb),
    "scope": (wire.scope_to_request(SCOPE, 1), wire.scope_from_request),
    "position": (
        wire.position_to_pb(Position(user=USER, cycle_orders=(FULL,), open_orders=(FULL,))),
        wire.position_from_pb,
    ),
}
AMOUNT_FIELDS = {
    name
    for kind in (Instrument, Quote, Leg, Fee, VolumeScope, Position)
    for name, hint in get_type_hints(kind).items()
    if hint in (Decimal, Decimal | None)
}


def _spoilt(message: Any, spoil: Callable[[Any, FieldDescriptor], bool]) -> Iterator[tuple[str, Any]]:
    """(field, the message with that one field spoilt) for every field at any depth that can be."""
    for field in message.DESCRIPTOR.fields:
        here = copy.deepcopy(message)
        if spoil(here, field):
            yield field.name, here
        if field.type != FieldDescriptor.TYPE_MESSAGE or field.message_type.name == "Timestamp":
            continue
        if field.is_repeated:
            for place, inner in enumerate(getattr(message, field.name)):
                for name, bad in _spoilt(inner, spoil):
                    whole = copy.deepcopy(message)
                    getattr(whole, field.name)[place].CopyFrom(bad)
                    yield name, whole
        elif message.HasField(field.name):
            for name, bad in _spoilt(getattr(message, field.name), spoil):
                whole = copy.deepcopy(message)
                getattr(whole, field.name).CopyFrom(bad)
                yield name, whole


def _unknown_number(message: Any, field: FieldDescriptor) -> bool:
    if field.type != FieldDescriptor.TYPE_ENUM:
        return False
    setattr(message, field.name, 99)
    return True


def _exponent(message: Any, field: FieldDescriptor) -> bool:
    if field.name not in AMOUNT_FIELDS:
        return False
    setattr(message, field.name, "1e3")
    return True


@pytest.mark.parametrize("what", MESSAGES)
@pytest.mark.parametrize("spoil", [_unknown_number, _exponent])
def test_a_number_or_an_amount_that_is_none_names_its_field(
    what: str, spoil: Callable[[Any, FieldDescriptor], bool]
) -> None:
    message, parse = MESSAGES[what]
    parse(message)
    spoilt = list(_spoilt(message, spoil))
    # A user has no amounts; everything else has something to spoil.
    assert spoilt or (what == "user" and spoil is _exponent)
    for field, bad in spoilt:
        with pytest.raises(ValueError) as caught:
            parse(sent(bad))
        assert field in str(caught.value).split(": ")[0], (field, str(caught.value))


def test_an_enum_that_is_not_given_says_what_it_may_be() -> None:
    with pytest.raises(ValueError, match="venue: not given; it is one of SPOT, ALPHA"):
        wire.venue_from_pb(0)


TWINS = [
    (market_pb2, {"Venue": VENUES, "InstrumentStatus": INSTRUMENT_STATUSES, "PriceSource": SOURCES}),
    (
        order_pb2,
        {
            "Side": SIDES,
            "LegRole": ROLES,
            "LegStatus": LEG_STATUSES,
            "OrderState": ORDER_STATES,
            "RejectionKind": REJECTIONS,
            "Purpose": PURPOSES,
            "VolumeSide": VOLUME_SIDES,
            "VolumeWindow": WINDOWS,
            "UserState": USER_STATES,
        },
    ),
]


@pytest.mark.parametrize(("contract", "twins"), TWINS)
def test_every_number_of_the_contract_is_a_member_of_the_vocabulary(
    contract: Any, twins: dict[str, Names[Any]]
) -> None:
    enums = contract.DESCRIPTOR.enum_types_by_name
    assert set(twins) == set(enums)
    for name, twin in twins.items():
        for number in filter(None, enums[name].values_by_number):
            assert twin.to_pb(twin.from_pb(number)) == number


def test_an_order_whose_state_is_not_what_its_legs_say_is_refused() -> None:
    message = wire.order_to_pb(FULL)
    message.state = order_pb2.ORDER_STATE_COMPLETED
    with pytest.raises(ValueError, match="state completed but its legs say triggered"):
        wire.order_from_pb(message)


def test_an_order_without_its_working_leg_is_refused() -> None:
    message = wire.order_to_pb(FULL)
    del message.legs[0]
    with pytest.raises(ValueError, match="legs: "):
        wire.order_from_pb(message)
    del message.legs[:]
    with pytest.raises(ValueError, match="legs: "):
        wire.order_from_pb(message)


def test_what_a_caller_leaves_out_has_its_meaning() -> None:
    request = wire.scope_to_request(SCOPE, 1)
    request.ClearField("side")
    request.ClearField("window")
    assert wire.scope_from_request(request) == SCOPE
    assert wire.purpose_from_pb(0) is Purpose.OTO


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda request: request.ClearField("members"), "members"),
        (lambda request: request.ClearField("scope_id"), "scope_id"),
        (lambda request: request.ClearField("target"), "target"),
        (lambda request: request.since.CopyFrom(wire.timestamp(START)), "since"),
        (lambda request: setattr(request, "window", order_pb2.VOLUME_WINDOW_SINCE), "since"),
    ],
)
def test_a_scope_that_cannot_be_is_refused(spoil: Callable[[Any], None], message: str) -> None:
    request = wire.scope_to_request(SCOPE, 1)
    spoil(request)
    with pytest.raises(ValueError, match=message):
        wire.scope_from_request(request)

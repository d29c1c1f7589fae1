"""Requests nobody should send: built from the protobuf descriptors, mostly right and wrong in a few places.

A request that is wrong everywhere is refused at its first field. So each starts from values that mean
something to the service, and a few of its fields get what a program, a person or an enemy might put there.
"""

from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

TIMESTAMP = "google.protobuf.Timestamp"
Good = Mapping[str, Callable[[], Any]]  # by the field's name: a value that means something

TEXTS = (
    "",
    " ",
    "\x00",
    "\n\r\t\x1b[31m",
    "NaN",
    "sNaN",
    "Infinity",
    "-0",
    "-1",
    "+1",
    "1e999",
    "1E-400",
    "1e3",
    "0." + "0" * 60 + "1",
    "9" * 60,
    "9" * 5_000,
    "99999999999999999999",
    "1_000",
    "1,5",
    "٣٤",  # digits, in the eyes of str.isdecimal
    "²",
    "0x10",
    "\u202e\u0000\ufeff",
    "ß" * 201,
    "🦀" * 200,
    "a" * 200,
    "a" * 201,
    "x" * 300_000,
    "../../../etc/passwd",
    "' OR 1=1; DROP TABLE orders --",
    "%s{0}${x}",
    "a/b/1/0",
    '{"headers": 1}',
    '{"headers": {"a": {"b": [1, null]}}}',
    "[" * 20_000,
)
ANY_TEXT = st.sampled_from(TEXTS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=40)

_INT_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_SECONDS = (-(2**63), -62_135_596_801, -1, 0, 253_402_300_799, 253_402_300_800, 2**63 - 1)
_NANOS = (-(2**31), -1, 0, 999_999_999, 10**9, 2**31 - 1)


def _integers(kind: int) -> st.SearchStrategy[int]:
    low, high = _INT_RANGES[kind]
    edges = [edge for edge in (low, -1, 0, 1, 2**31 - 1, 2**31, high) if low <= edge <= high]
    return st.sampled_from(edges) | st.integers(low, high)


def _enums(field: FieldDescriptor) -> st.SearchStrategy[int]:
    known = [value.number for value in field.enum_type.values]
    return st.sampled_from([*known, max(known) + 1, -1, 2**31 - 1])


def _timestamps(kind: type[Message]) -> st.SearchStrategy[Message]:
    return st.builds(kind, seconds=st.sampled_from(_SECONDS), nanos=st.sampled_from(_NANOS))


def _one(field: FieldDescriptor, good: Good) -> st.SearchStrategy[Any]:
    """A nasty value of the field, one of them where it is repeated."""
    if field.message_type is not None:
        if field.message_type.full_name == TIMESTAMP:
            return _timestamps(GetMessageClass(field.message_type))
        return messages(field.message_type, good)
    if field.enum_type is not None:
        return _enums(field)
    if field.cpp_type in _INT_RANGES:
        return _integers(field.cpp_type)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return st.booleans()
    if field.type == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=60) | ANY_TEXT.map(str.encode)
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return ANY_TEXT
    assert field.cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT)
    return st.floats(width=32)


def _nasty(field: FieldDescriptor, good: Good) -> st.SearchStrategy[Any]:
    """A nasty value of the field; of a repeated one, none to very many."""
    one = _one(field, good)
    if not field.is_repeated:
        return one
    return st.lists(one, max_size=3) | one.map(lambda each: [each] * (1_500 if len(str(each)) < 300 else 2))


@st.composite
def messages(draw: st.DrawFn, kind: Descriptor, good: Good) -> Message:
    """A message of that kind: good values where there are such, nasty ones in two at most, some left out."""
    fields = list(kind.fields)
    spoiled = draw(st.sets(st.integers(0, len(fields) - 1), max_size=2)) if fields else set()
    values: dict[str, Any] = {}
    for index, field in enumerate(fields):
        if index in spoiled:
            values[field.name] = draw(_nasty(field, good))
        elif field.name in good and draw(st.integers(0, 19)) < 19:
            values[field.name] = good[field.name]()
    return GetMessageClass(kind)(**values)

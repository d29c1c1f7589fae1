"""YAML text to a tree of raw scalars that know where they stand.

The only module that touches PyYAML. It takes the parser's events and leaves its type guessing
alone: a scalar keeps its exact text, so no number ever passes through a float and no token
name becomes a boolean. What has no place in this file (tags, anchors, aliases, merge keys, a
second document, duplicate keys) is refused here, each with its place.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from strategy_service.config.problems import Origin, Problems, shown

MAX_BYTES = 4 * 1024 * 1024
MAX_NODES = 500_000
MAX_DEPTH = 16
MAX_SCALAR = 4_096

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NOT_TEXT = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value as written; plain means without quotes."""

    origin: Origin
    text: str
    plain: bool


@dataclass(frozen=True, slots=True)
class Listing:
    """A YAML sequence."""

    origin: Origin
    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a mapping and what it holds."""

    key: Scalar
    value: "Node"


@dataclass(frozen=True, slots=True)
class Table:
    """A YAML mapping; the first of two equal keys is kept, the second is a problem."""

    origin: Origin
    entries: dict[str, Entry]


@dataclass(frozen=True, slots=True)
class Broken:
    """Something already complained about: nobody needs to complain again."""

    origin: Origin


Node = Scalar | Listing | Table | Broken


def read_tree(content: bytes, file: str, problems: Problems) -> Node | None:
    """The document as a tree, None when it is empty.

    Mistakes that leave the rest readable go to problems; what does not is raised as ConfigError.
    """
    text = _decode(content, file, problems)
    reader = _Reader(text, file, problems)
    try:
        return reader.document()
    except yaml.YAMLError as error:
        raise problems.fatal(*_syntax_error(error, text, file)) from None


def _decode(content: bytes, file: str, problems: Problems) -> str:
    if len(content) > MAX_BYTES:
        raise problems.fatal(Origin(file, 0, 0), f"the file is larger than {MAX_BYTES // 1024} KiB")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        good = content[: error.start].decode("utf-8-sig", "replace")
        raise problems.fatal(
            _origin_of(good, len(good), file), f"not UTF-8 text (byte 0x{content[error.start]:02x})"
        ) from None
    if wrong := _NOT_TEXT.search(text):
        code = f"U+{ord(wrong.group()):04X}"
        raise problems.fatal(_origin_of(text, wrong.start(), file), f"not plain text (character {code})")
    return text


def _origin_of(text: str, index: int, file: str) -> Origin:
    return Origin(file, text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index))


def _syntax_error(error: yaml.YAMLError, text: str, file: str) -> tuple[Origin, str]:
    """Place and words of a parser error."""
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or str(error).splitlines()[0]
    if mark is None:
        return Origin(file, 0, 0), f"not valid YAML: {what}"
    origin = Origin(file, mark.line + 1, mark.column + 1)
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return origin, "a tab indents this line: YAML allows only spaces there"
    context = getattr(error, "context", None)
    return origin, f"not valid YAML: {what}{f' ({context})' if context else ''}"


class _Reader:
    """Turns parser events into nodes, one document deep."""

    def __init__(self, text: str, file: str, problems: Problems) -> None:
        self._events: Iterator[Event] = iter(yaml.parse(text, Loader=_LOADER))
        self._file = file
        self._problems = problems
        self._count = 0

    def document(self) -> Node | None:
        """The only document of the stream."""
        next(self._events)  # the stream's start
        if isinstance(next(self._events), StreamEndEvent):
            return None
        tree = self._node(next(self._events), "", 0)
        next(self._events)  # the document's end
        after = next(self._events)
        if isinstance(after, DocumentStartEvent):
            self._problems.add(self._origin(after, ""), "a second YAML document: one file is one document")
        return tree

    def _origin(self, event: Event, path: str) -> Origin:
        mark = event.start_mark
        assert mark is not None  # every event of a parsed text has one
        return Origin(self._file, mark.line + 1, mark.column + 1, path)

    def _node(self, event: Event, path: str, depth: int) -> Node:
        origin = self._origin(event, path)
        self._count += 1
        if self._count > MAX_NODES:
            raise self._problems.fatal(origin, f"more than {MAX_NODES} values in one file")
        if depth > MAX_DEPTH:
            raise self._problems.fatal(origin, f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, AliasEvent):
            self._problems.add(origin, "YAML aliases (*name) are not used here: write the value out")
            return Broken(origin)
        if getattr(event, "anchor", None):
            self._problems.add(origin, "YAML anchors (&name) are not used here: write the value out")
        if (tag := getattr(event, "tag", None)) not in (None, "!"):
            self._problems.add(origin, f"YAML tags ({shown(str(tag))}) are not used here")
        if isinstance(event, SequenceStartEvent):
            return self._listing(origin, path, depth)
        if isinstance(event, MappingStartEvent):
            return self._table(origin, path, depth)
        assert isinstance(event, ScalarEvent)
        return self._scalar(event, origin)

    def _scalar(self, event: ScalarEvent, origin: Origin) -> Node:
        if len(event.value) > MAX_SCALAR:
            self._problems.add(origin, f"a value of more than {MAX_SCALAR} characters")
            return Broken(origin)
        return Scalar(origin, event.value, plain=not event.style)

    def _listing(self, origin: Origin, path: str, depth: int) -> Listing:
        items: list[Node] = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            items.append(self._node(event, f"{path}[{len(items)}]", depth + 1))
        return Listing(origin, tuple(items))

    def _table(self, origin: Origin, path: str, depth: int) -> Table:
        entries: dict[str, Entry] = {}
        while not isinstance(event := next(self._events), MappingEndEvent):
            key = self._node(event, path, depth + 1)
            name = key.text if isinstance(key, Scalar) else "?"
            step = name if name.isprintable() and len(name) <= 64 else shown(name)
            below = f"{path}.{step}" if path else step
            value = self._node(next(self._events), below, depth + 1)
            if not isinstance(key, Scalar):
                if not isinstance(key, Broken):
                    self._problems.add(key.origin, "a key must be a plain word")
            elif key.plain and name == "<<":
                self._problems.add(key.origin, "YAML merge keys (<<) are not used here: write the keys out")
            elif name in entries:
                first = entries[name].key.origin
                self._problems.add(_at(key.origin, below), f"this key stands already in line {first.line}")
            else:
                entries[name] = Entry(Scalar(_at(key.origin, below), name, key.plain), value)
        return Table(origin, entries)


def _at(origin: Origin, path: str) -> Origin:
    return Origin(origin.file, origin.line, origin.column, path)

"""The YAML tree to the three layers as written: every key known, every value read.

Works through the whole tree whatever it finds, so that all mistakes show at once. What the
values mean together is for resolve.py.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from strategy_service.config import keys, values
from strategy_service.config.keys import Key
from strategy_service.config.model import Sourced
from strategy_service.config.problems import BUILT_IN, Origin, Problems, did_you_mean, shown
from strategy_service.config.values import Reported, Wrong
from strategy_service.config.yaml_source import Broken, Entry, Listing, Node, Scalar, Table

_GLOBAL_KEYS: dict[str, Key] = {
    key.global_name: key for key in keys.BY_NAME.values() if key.has_global_default
} | {keys.VOLATILITY: keys.BY_NAME[keys.VOLATILITY]}
_CONCURRENT = values.whole(1, 1_000_000)
_OVERRIDE_KEYS: dict[str, Key] = {key.name: key for key in keys.PER_USER}
_STRATEGY_KEYS = (*keys.BY_NAME, keys.USER_IDS)

Layer = dict[str, Sourced]  # the values one place of the file sets, by key


@dataclass(slots=True)
class RawStrategy:
    """One entry of strategies. given holds every key written, also those that could not be read."""

    origin: Origin
    layer: Layer = field(default_factory=dict)
    given: frozenset[str] = frozenset()
    users: dict[str, Origin] = field(default_factory=dict)
    users_origin: Origin = BUILT_IN

    @property
    def strategy_id(self) -> str | None:
        """Its id, None when that could not be read."""
        found = self.layer.get("strategy_id")
        return str(found.value) if found else None


@dataclass(frozen=True, slots=True)
class RawOverride:
    """What one user has of its own in one strategy."""

    user_id: str
    user_origin: Origin
    strategy_id: str
    strategy_origin: Origin
    layer: Layer


@dataclass(slots=True)
class Sections:
    """The file as written."""

    global_layer: Layer = field(default_factory=dict)
    max_concurrent_users: Sourced | None = None
    strategies: list[RawStrategy] = field(default_factory=list)
    overrides: list[RawOverride] = field(default_factory=list)
    unread_strategy_ids: bool = False  # an id was unreadable: do not call others unknown
    unread_users: set[str] = field(default_factory=set)  # strategies with an unreadable user id


def read_sections(tree: Node | None, file: str, problems: Problems) -> Sections:
    """Read all three sections; every mistake goes to problems."""
    sections = Sections()
    if tree is None or (isinstance(tree, Scalar) and tree.plain and not tree.text):
        problems.add(Origin(file, 1, 1), "the file is empty: it needs at least strategies")
        return sections
    table = _table(tree, "the sections " + ", ".join(keys.SECTIONS), problems)
    if table is None:
        return sections
    for name, entry in table.entries.items():
        if name == "global_settings":
            _read_globals(entry.value, sections, problems)
        elif name == "strategies":
            _read_strategies(entry.value, sections, problems)
        elif name == "user_overrides":
            _read_overrides(entry.value, sections, problems)
        else:
            _unknown(entry, keys.SECTIONS, problems)
    if "strategies" not in table.entries:
        problems.add(table.origin, "strategies is missing: the file needs it")
    return sections


def _read_globals(node: Node, sections: Sections, problems: Problems) -> None:
    table = None if _empty(node) else _table(node, "a table of default_<key> settings", problems)
    if table is None:
        return
    known = (*_GLOBAL_KEYS, keys.MAX_CONCURRENT_USERS)
    for name, entry in table.entries.items():
        if name == keys.MAX_CONCURRENT_USERS:
            sections.max_concurrent_users = _sourced(_CONCURRENT, entry, problems)
        elif key := _GLOBAL_KEYS.get(name):
            if key.name in sections.global_layer:
                first = sections.global_layer[key.name].origin
                problems.add(
                    entry.key.origin,
                    f"stands already in line {first.line}, with the other spelling: keep one of the two",
                )
            elif sourced := _sourced(key.read, entry, problems):
                sections.global_layer[key.name] = sourced
        elif name in keys.BY_NAME or name == keys.USER_IDS:
            if name in keys.BY_NAME and keys.BY_NAME[name].has_global_default:
                problems.add(entry.key.origin, f"unknown key (did you mean default_{name}?)")
            else:
                problems.add(entry.key.origin, "belongs to one strategy, not to global_settings")
        else:
            _unknown(entry, known, problems)


def _read_strategies(node: Node, sections: Sections, problems: Problems) -> None:
    listing = _listing(node, "a list of strategies", problems)
    for item in listing.items if listing else ():
        table = _table(item, "the keys of one strategy", problems)
        if table is None:
            sections.unread_strategy_ids = True
            continue
        raw = RawStrategy(table.origin, given=frozenset(table.entries))
        for name, entry in table.entries.items():
            if name == keys.USER_IDS:
                if not _read_users(entry, raw, problems):
                    sections.unread_users.add(_id_text(table))
            elif key := keys.BY_NAME.get(name):
                if sourced := _sourced(key.read, entry, problems):
                    raw.layer[name] = sourced
            elif name.removeprefix("default_") in keys.BY_NAME:
                better = name.removeprefix("default_")
                problems.add(entry.key.origin, f"unknown key (did you mean {better}?)")
            elif name == keys.MAX_CONCURRENT_USERS:
                problems.add(entry.key.origin, "belongs to global_settings")
            else:
                _unknown(entry, _STRATEGY_KEYS, problems)
        if raw.strategy_id is None:
            sections.unread_strategy_ids = True
        sections.strategies.append(raw)


def _id_text(table: Table) -> str:
    entry = table.entries.get("strategy_id")
    return entry.value.text if entry and isinstance(entry.value, Scalar) else ""


def _read_users(entry: Entry, raw: RawStrategy, problems: Problems) -> bool:
    """Fill raw.users; False when some entry could not be read."""
    listing = _listing(entry.value, "a list of user ids such as [1, 2]", problems)
    if listing is None:
        return False
    raw.users_origin = listing.origin
    if not listing.items:
        problems.add(listing.origin, "at least one user id is wanted")
    whole = True
    for item in listing.items:
        user_id = _value(values.identifier, item, problems)
        if user_id is None:
            whole = False
        elif user_id in raw.users:
            first = raw.users[user_id]
            problems.add(
                item.origin, f"user {user_id} is listed twice (first at {first.line}:{first.column})"
            )
        else:
            raw.users[user_id] = item.origin
    return whole


def _read_overrides(node: Node, sections: Sections, problems: Problems) -> None:
    listing = None if _empty(node) else _listing(node, "a list of {user_id, strategies}", problems)
    seen: dict[str, Origin] = {}
    for item in listing.items if listing else ():
        table = _table(item, "user_id and strategies", problems)
        if table is None:
            continue
        for name, entry in table.entries.items():
            if name not in ("user_id", "strategies"):
                _unknown(entry, ("user_id", "strategies"), problems)
        for name in ("user_id", "strategies"):
            if name not in table.entries:
                problems.add(table.origin, f"{name} is missing")
        user = table.entries.get("user_id")
        user_id = _value(values.identifier, user.value, problems) if user else None
        if user and user_id and user_id in seen:
            problems.add(
                user.value.origin,
                f"user {user_id} has overrides already in line {seen[user_id].line}: put them together there",
            )
        elif user and user_id:
            seen[user_id] = user.value.origin
        own = table.entries.get("strategies")
        strategies = _table(own.value, "a table of strategy ids", problems) if own else None
        for entry in strategies.entries.values() if strategies else ():
            _read_override(entry, user_id, user, sections, problems)


def _read_override(
    entry: Entry, user_id: str | None, user: Entry | None, sections: Sections, problems: Problems
) -> None:
    """One strategy's table inside one user's overrides."""
    strategy_id = _value(values.identifier, entry.key, problems)
    table = _table(entry.value, "the keys to override", problems)
    if table is None:
        return
    layer: Layer = {}
    for name, below in table.entries.items():
        if key := _OVERRIDE_KEYS.get(name):
            if sourced := _sourced(key.read, below, problems):
                layer[name] = sourced
        elif name in _STRATEGY_KEYS:
            problems.add(
                below.key.origin, "belongs to the strategy, whose users share it: no user can override it"
            )
        elif name.removeprefix("default_") in _OVERRIDE_KEYS:
            problems.add(below.key.origin, f"unknown key (did you mean {name.removeprefix('default_')}?)")
        else:
            _unknown(below, _OVERRIDE_KEYS, problems)
    if user and user_id and strategy_id:
        sections.overrides.append(
            RawOverride(user_id, user.value.origin, strategy_id, entry.key.origin, layer)
        )


def _sourced(read: values.Reader[object], entry: Entry, problems: Problems) -> Sourced | None:
    """The entry's value with the place it stands at; None, with a problem, when it is wrong."""
    try:
        return Sourced(read(entry.value), entry.value.origin)  # type: ignore[arg-type]
    except Wrong as wrong:
        problems.add((wrong.node or entry.value).origin, str(wrong))
    except Reported:
        pass
    return None


def _value(read: values.Reader[str], node: Node, problems: Problems) -> str | None:
    try:
        return read(node)
    except Wrong as wrong:
        problems.add((wrong.node or node).origin, str(wrong))
    except Reported:
        pass
    return None


def _unknown(entry: Entry, known: Iterable[str] | Mapping[str, object], problems: Problems) -> None:
    name = entry.key.text
    problems.add(entry.key.origin, f"unknown key {shown(name)}{did_you_mean(name, list(known))}")


def _empty(node: Node) -> bool:
    """Whether every line of a section is a comment: that is a section left out."""
    return isinstance(node, Scalar) and node.plain and node.text in ("", "~", "null")


def _table(node: Node, what: str, problems: Problems) -> Table | None:
    if isinstance(node, Table):
        return node
    if not isinstance(node, Broken):
        problems.add(node.origin, _instead(node, f"a table is wanted here: {what}"))
    return None


def _listing(node: Node, what: str, problems: Problems) -> Listing | None:
    if isinstance(node, Listing):
        return node
    if not isinstance(node, Broken):
        problems.add(node.origin, _instead(node, f"{what} is wanted here"))
    return None


def _instead(node: Node, wanted: str) -> str:
    if isinstance(node, Scalar):
        return f"{wanted}, not {shown(node.text)}" if node.text else f"the value is missing: {wanted}"
    return f"{wanted}, not a {'list' if isinstance(node, Listing) else 'table'}"

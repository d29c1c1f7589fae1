"""Which layer wins: built-in < global_settings.default_* < strategies[] < user_overrides[].

A stack is all values of one key, lowest layer first: the last one is in force, it shadows the
others (product section 2).
"""

from collections.abc import Mapping

from strategy_service.config import keys
from strategy_service.config.keys import Key
from strategy_service.config.model import Sourced
from strategy_service.config.problems import BUILT_IN, DERIVED
from strategy_service.config.sections import Layer, RawStrategy, Sections

Stack = tuple[Sourced, ...]

_BUILT_IN: dict[str, Sourced] = {key.name: Sourced(key.default, BUILT_IN) for key in keys.BY_NAME.values()}


def stack(sections: Sections, raw: RawStrategy, key: Key) -> Stack:
    """All values of the key in this strategy, below the overrides; empty when nothing gives one."""
    if key is keys.VENUE:
        lowest = Sourced("alpha", DERIVED) if "target_chain" in raw.layer else None
    elif key.name == "strategy_name" and "strategy_id" in raw.layer:
        lowest = Sourced(raw.layer["strategy_id"].value, BUILT_IN)
    elif key.name in (*keys.REQUIRED, "strategy_id"):
        lowest = None
    else:
        lowest = _BUILT_IN[key.name]
    layers = (lowest, sections.global_layer.get(key.name), raw.layer.get(key.name))
    return tuple(sourced for sourced in layers if sourced is not None)


def in_force(sections: Sections, raw: RawStrategy, override: Layer) -> Mapping[str, Sourced]:
    """Every per-user key's value for a user with these overrides."""
    return {key.name: override.get(key.name) or stack(sections, raw, key)[-1] for key in keys.PER_USER}


def venue_of(sections: Sections, raw: RawStrategy) -> str | None:
    """The strategy's venue, None when nothing says it."""
    found = stack(sections, raw, keys.VENUE)
    return str(found[-1].value) if found else None

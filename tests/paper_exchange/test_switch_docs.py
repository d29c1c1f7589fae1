"""docs/paper-switches.md names every setting of both venues with its default, and tests play each."""

import json
import re
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import BaseModel

from paper_exchange.config import AlphaSettings, Instrument, SpotSettings, VenueSettings
from tests.paper_exchange.desk import ROOT

PAGE = (ROOT / "docs" / "paper-switches.md").read_text(encoding="utf-8")
HERE = Path(__file__)
SECTIONS: dict[str, type[BaseModel]] = {
    "Both venues": VenueSettings,
    "Spot": SpotSettings,
    "Alpha": AlphaSettings,
    "An instrument": Instrument,
}


def told(section: str) -> dict[str, str]:
    """Settings of a section and the defaults it tells; several in one row stand in the same order."""
    found = {}
    part = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    for names, default in re.findall(r"^\| (`[^|]+`) \| ([^|]+) \|", part, re.MULTILINE):
        listed = re.findall("`([a-z_0-9]+)`", names)
        defaults = default.split(", ") if len(listed) > 1 and default != "must be given" else [default]
        defaults *= len(listed) // len(defaults)
        found |= dict(zip(listed, defaults, strict=True))
    return found


def plain(model: type[BaseModel], name: str) -> str:
    """A field's default as the page writes it."""
    field = model.model_fields[name]
    if field.is_required():
        return "must be given"
    if field.default is None:
        return "none"
    if isinstance(field.default, str | Decimal | int) and not isinstance(field.default, bool):
        return str(field.default)
    return json.dumps(field.default)


def own(section: str) -> set[str]:
    """The settings that a section must tell."""
    shared = set() if section == "Both venues" else set(VenueSettings.model_fields)
    return set(SECTIONS[section].model_fields) - shared


@pytest.mark.parametrize("section", ["Both venues", "Spot", "Alpha"])
def test_the_page_names_every_setting(section: str) -> None:
    assert set(told(section)) == own(section)


@pytest.mark.parametrize("section", SECTIONS)
def test_the_page_tells_the_defaults(section: str) -> None:
    rows = told(section)
    assert rows
    assert rows == {name: plain(SECTIONS[section], name) for name in rows}


def test_every_setting_is_played_by_a_test() -> None:
    names = {name for section in SECTIONS for name in told(section)}
    names -= {"buyer_fee", "seller_fee", "fill_delay_seconds", "default_balances"}  # every test has these
    tests = [p for p in (ROOT / "tests").rglob("*.py") if p != HERE]
    text = "\n".join(path.read_text(encoding="utf-8") for path in tests)
    assert {name for name in names if not re.search(rf"\b{name}\b", text)} == set()

"""docs/seed-coverage.md keeps its word: all rows are there, and every test it names exists."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "seed-coverage.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (\d+) ✓ \| (.+) \| (.+) \|$", re.MULTILINE)
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
ROWS = [(int(number), asked, shown) for number, asked, shown in ROW.findall(PAGE)]
CONFLICTS = 11


@cache
def defined_in(path: Path) -> frozenset[str]:
    """The tests that a file defines."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, kinds))


def test_the_rows_1_to_107_are_all_there_once_and_in_order() -> None:
    assert [number for number, _, _ in ROWS] == list(range(1, 108))
    assert all(asked.strip() for _, asked, _ in ROWS)


@pytest.mark.parametrize(("number", "shown"), [(number, shown) for number, _, shown in ROWS])
def test_a_row_names_tests_and_nothing_else(number: int, shown: str) -> None:
    assert NAMED.sub("", shown).replace("<br>", "") == "", f"row {number}"
    assert NAMED.search(shown), f"row {number}"


@pytest.mark.parametrize(("file", "name"), sorted(set(NAMED.findall(PAGE))))
def test_a_test_that_the_page_names_exists(file: str, name: str) -> None:
    path = ROOT / file
    assert path.is_file(), file
    assert name in defined_in(path), f"{file} has no {name}"


def test_every_conflict_of_the_origin_is_settled_with_a_test() -> None:
    _, _, table = PAGE.partition("## Where the two disagree")
    rows = [
        line for line in table.splitlines() if line.startswith("| ") and not line.startswith("| conflict")
    ]
    assert len(rows) == CONFLICTS
    assert all(NAMED.search(row) for row in rows)

"""Every row of the fault catalogue has a test that exists, and the reference page names every switch."""

import ast
import re
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

from paper_exchange.faults import FaultKind
from tests.faults.catalogue import ROWS, Row

TESTS = Path(__file__).resolve().parents[1]
PAGE = TESTS.parent / "docs" / "faults.md"


@cache
def functions(file: str) -> frozenset[str]:
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    return frozenset(
        node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def test_the_catalogue_has_sixty_rows_each_once() -> None:
    assert [row.number for row in ROWS] == list(range(1, 61))


@pytest.mark.parametrize("row", ROWS, ids=[f"row_{row.number:02}" for row in ROWS])
def test_a_row_is_proven_by_tests_that_exist_or_says_why_not(row: Row) -> None:
    assert row.tests or row.reason
    for test in row.tests:
        file, _, name = test.partition("::")
        assert name in functions(file), test


def test_the_reference_page_has_a_line_for_every_row_and_names_every_switch() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert [int(found) for found in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)] == list(range(1, 61))
    for kind in get_args(FaultKind):
        assert f"`{kind}`" in text, kind

"""One table: each of the venues' own payloads in tests/fixtures, and the test that reads or answers it.

The samples are the venues' published examples and captures, those named `synthetic` or `composed`
excepted, which were put together from them. What a paper exchange can answer is compared with its
answer by keys and JSON types; what it refuses on purpose is read by the adapter.
"""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
FIXTURES = TESTS / "fixtures"

PAPER, ORDERS, MARKET = "paper_exchange", "order_service/venues", "market_service"

COVERED: dict[str, dict[str, str]] = {
    "spot": {},
    "alpha": {},
}


def cover(venue: str, test: str, names: str) -> None:
    """These samples are covered by this test file."""
    for name in names.split():
        assert name not in COVERED[venue], f"{name} is listed twice"
        COVERED[venue][name] = test

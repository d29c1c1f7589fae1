"""A fresh desk with KOGE pinned at 48, so that fills are where a test expects them."""

import pytest

from tests.paper_exchange.desk import Desk


@pytest.fixture
def desk() -> Desk:
    made = Desk()
    made.pin("48")
    return made

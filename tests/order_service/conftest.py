"""Quiet logs: the tests of this folder cause thousands of alarms on purpose."""

import logging
from collections.abc import Iterator
from typing import Any, cast

import pytest
import structlog
from structlog.testing import capture_logs


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """No log lines, and the configuration as it was afterwards."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


@pytest.fixture
def aloud(quiet: None) -> Iterator[list[dict[str, Any]]]:
    """What is logged, for a test that listens."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    with capture_logs() as lines:
        yield cast(list[dict[str, Any]], lines)

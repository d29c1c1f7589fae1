"""Public clients on one running paper exchange, and the table of what each of them did there.

A test names its row by `@pytest.mark.operation("...")` and its column by its module's CLIENT. A cell
says ok, the exception class by which the client's user learns of a refusal, or what failed.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from tests.clients.venue import Keys, Venue, running

pytest.register_assert_rewrite("tests.clients.books")

Refused = Callable[[type[Exception]], AbstractContextManager[pytest.ExceptionInfo[Any]]]
Cells = dict[str, dict[str, str]]

TABLE = pytest.StashKey[Cells]()
# The whole run shares one address, so its budget is that of many callers; test_limits meets a real one.
WEIGHT_LIMIT = 100_000


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TABLE] = {}
    config.addinivalue_line("markers", "operation(name): the row of the table of clients a test fills")
    # What the clients do with the libraries under them: older names, sockets left to the collector.
    for warning in (
        "ignore:websockets:DeprecationWarning",
        "ignore:parameter 'timeout':DeprecationWarning",
        "ignore:unclosed:ResourceWarning",
    ):
        config.addinivalue_line("filterwarnings", warning)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[Any]:
    report: pytest.TestReport = yield
    marker = item.get_closest_marker("operation")
    if marker is not None and (report.when == "call" or report.failed):
        cell = dict(report.user_properties).get("refusal", "ok")
        if call.excinfo is not None:
            cell = f"FAILED: {call.excinfo.typename}"
        row = item.config.stash[TABLE].setdefault(marker.args[0], {})
        row[item.module.CLIENT] = str(cell)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table: rows by their group, which stands before the colon, then as they were met."""
    rows = config.stash[TABLE]
    names = sorted(rows, key=lambda name: name.rpartition(":")[0])
    clients = sorted({client for row in rows.values() for client in row})
    if not clients:
        return
    lines = [["operation", *clients]]
    lines += [[name, *(rows[name].get(client, "-") for client in clients)] for name in names]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    terminalreporter.section("public clients on the paper exchange")
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        terminalreporter.line("  ".join(cells).rstrip())


@pytest.fixture(scope="session")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    with running(tmp_path_factory.mktemp("venue"), weight_limit_per_minute=WEIGHT_LIMIT) as started:
        yield started


@pytest.fixture
def keys(venue: Venue) -> Keys:
    """A new account that holds 20,000 USDT and one BTC."""
    return venue.open_account(btc="1")


@pytest.fixture
def refused(record_property: Callable[[str, object], None]) -> Refused:
    """`with refused(SomeError) as error:` expects it, and tells the table."""

    @contextmanager
    def expect(kind: type[Exception]) -> Iterator[pytest.ExceptionInfo[Any]]:
        with pytest.raises(kind) as caught:
            yield caught
        assert caught.type is kind
        code = getattr(caught.value, "code", "") or getattr(caught.value, "status_code", "")
        record_property("refusal", f"{kind.__name__} {code}".rstrip())

    return expect

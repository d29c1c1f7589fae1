"""A desk per test: ports nobody uses, a world on a temporary directory, nothing left behind."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.system.harness import Desk


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A fresh desk."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(4)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        ports = [each.getsockname()[1] for each in sockets]
    made = Desk(tmp_path, dict(zip(("paper", "market", "order", "strategy"), ports, strict=True)))
    yield made
    made.end()

"""Follows WatchStrategies from a thread of its own, over restarts of the service.

Only the newest status of each strategy is kept: a slow screen skips, it delays nobody.
"""

import threading
from types import TracebackType
from typing import Any

import grpc

from protos import strategy_pb2 as pb
from strategy_service.cli.clients import Service

RETRY_SECONDS = 0.3
JOIN_SECONDS = 5.0
INTERVAL_MS = 250


class Watcher:
    """Use it as a context manager; it owns its thread and the stream."""

    def __init__(self, service: Service[Any], strategy_ids: list[str]) -> None:
        self._service = service
        self._request = pb.WatchStrategiesRequest(strategy_ids=strategy_ids, interval_ms=INTERVAL_MS)
        self._lock = threading.Lock()
        self._newest: dict[str, pb.StrategyStatus] = {}
        self._trouble = ""
        self._closed = threading.Event()
        self._call: Any = None
        self._thread = threading.Thread(target=self._follow, name="watch-strategies", daemon=True)

    def __enter__(self) -> "Watcher":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        with self._lock:
            call = self._call
        if call is not None:
            call.cancel()
        self._thread.join(JOIN_SECONDS)

    def newest(self) -> dict[str, pb.StrategyStatus]:
        """The newest status of each strategy by its id."""
        with self._lock:
            return dict(self._newest)

    def trouble(self) -> str:
        """Why there is no news at the moment; empty when there is."""
        with self._lock:
            return self._trouble

    def _follow(self) -> None:
        while not self._closed.is_set():
            try:
                call = self._service.stub.WatchStrategies(self._request)
                with self._lock:
                    self._call = call
                if self._closed.is_set():
                    call.cancel()
                for news in call:
                    self._take(news)
            except grpc.RpcError as error:
                self._note(self._service.error(error).message)
            self._closed.wait(RETRY_SECONDS)

    def _take(self, news: pb.WatchStrategiesResponse) -> None:
        with self._lock:
            self._trouble = ""
            for each in news.strategies:
                self._newest[each.strategy_id] = each

    def _note(self, trouble: str) -> None:
        with self._lock:
            self._trouble = trouble

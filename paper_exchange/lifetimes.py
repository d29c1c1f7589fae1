"""How long a stream connection lives: its term, the server's going, and pings that are not answered.

All on the world's clock, so that a day passes in a test as it does at the venue (binance-spot 5, 6).
"""

from collections import deque
from collections.abc import Callable

from paper_exchange.faults import Faults, Scope

PING_MS = 20_000
PONG_WITHIN_MS = 60_000


class Ping(bytes):
    """Handed to `send` instead of a frame: a ping with this payload."""


class Keepalive:
    """Pings on their beat; an answer must carry the payload of one of them, and come in time."""

    def __init__(
        self,
        send: Callable[[bytes], None],
        now_ms: int,
        ping_ms: int = PING_MS,
        within_ms: int = PONG_WITHIN_MS,
    ) -> None:
        self._send = send
        self._ping_ms = ping_ms
        self._within_ms = within_ms
        self._next_ms = now_ms + ping_ms
        self._waiting: deque[tuple[int, bytes]] = deque()

    def next_due(self) -> int:
        if not self._waiting:
            return self._next_ms
        return min(self._next_ms, self._waiting[0][0] + self._within_ms)

    def advance(self, now_ms: int) -> bool:
        """Ping if it is time; False: the client has not answered for too long."""
        if self._waiting and now_ms >= self._waiting[0][0] + self._within_ms:
            return False
        if now_ms >= self._next_ms:
            payload = str(now_ms).encode()
            self._waiting.append((now_ms, payload))
            self._next_ms = now_ms + self._ping_ms
            self._send(Ping(payload))
        return True

    def pong(self, payload: bytes) -> None:
        """An answer to one ping is one to those before it; a pong nobody asked for is none."""
        if any(payload == asked for _, asked in self._waiting):
            while self._waiting.popleft()[1] != payload:
                continue


class Lifetime:
    """When a connection ends by itself: after its term, or sooner once the server said that it goes."""

    def __init__(self, now_ms: int, seconds: int, warning_seconds: int = 0) -> None:
        self.until_ms = now_ms + seconds * 1000
        self._warn_ms = self.until_ms - warning_seconds * 1000 if warning_seconds else None
        self._warned = False

    def next_due(self) -> int:
        return self.until_ms if self._warn_ms is None else min(self._warn_ms, self.until_ms)

    def warns(self, faults: Faults, scope: Scope, now_ms: int) -> bool:
        """Whether the server says now that it goes: before the term ends if the settings want it, or
        by a rule, `seconds` of which later it hangs up."""
        if self._warn_ms is not None and now_ms >= self._warn_ms:
            self._warn_ms = None
            self._warned = True
            return True
        if self._warned or not (rule := faults.strike(scope, "shutdown")):
            return False
        self._warned = True
        self._warn_ms = None
        self.until_ms = min(self.until_ms, now_ms + int(rule.seconds * 1000))
        return True

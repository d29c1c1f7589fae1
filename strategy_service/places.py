"""Places of max_concurrent_users: distinct users that run at once, first come first served."""

from collections import Counter
from collections.abc import Callable

Granted = Callable[[], None]


class Places:
    """Hands out places and takes them back. A user that has one may run in several strategies."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._held: Counter[str] = Counter()
        self._queue: dict[object, tuple[str, Granted]] = {}

    @property
    def anybody_waits(self) -> bool:
        """Would a place that is given back be used?"""
        return bool(self._queue)

    def resize(self, capacity: int) -> None:
        """Another limit; nobody loses its place by it."""
        self._capacity = capacity
        self._hand_out()

    def ask(self, who: object, user_id: str, granted: Granted) -> None:
        """Queue for a place; `granted` is called when it is there, perhaps at once."""
        self._queue[who] = (user_id, granted)
        self._hand_out()

    def leave(self, who: object) -> None:
        """Wait no longer."""
        self._queue.pop(who, None)

    def give_back(self, user_id: str) -> None:
        """Somebody's run of this user does not need its place any more."""
        self._held[user_id] -= 1
        if self._held[user_id] <= 0:
            del self._held[user_id]
        self._hand_out()

    def _hand_out(self) -> None:
        for who, (user_id, granted) in list(self._queue.items()):
            if who not in self._queue:
                continue  # left meanwhile
            if user_id in self._held or len(self._held) < self._capacity:
                del self._queue[who]
                self._held[user_id] += 1
                granted()

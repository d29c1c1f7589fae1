"""A count in a fixed window of time, as venues keep them: ours, corrected by what they tell."""

YOUNG_SECONDS = 3.0  # of a window; clocks that differ by more are refused (reliability 8)


class Window:
    """A count in fixed windows of so many seconds, aligned to the epoch."""

    def __init__(self, limit: int, seconds: float) -> None:
        self.limit = limit
        self.seconds = seconds
        self._count = 0
        self._started = 0.0
        self._follows = False  # upon a window that was counted, too
        self._told = 0

    def used(self, now: float) -> int:
        """The count of the window that now lies in."""
        start = now - now % self.seconds
        if start != self._started:
            self._follows = start - self._started == self.seconds
            self._started, self._count, self._told = start, 0, 0
        return self._count

    def fits(self, amount: int, now: float) -> bool:
        """Is there room? What is greater than the whole limit goes when nothing else does."""
        used = self.used(now)
        return used + amount <= self.limit or used == 0

    def add(self, amount: int, now: float) -> None:
        """Count; a negative amount is given back."""
        self._count = max(0, self.used(now) + amount)

    def set(self, count: int, now: float) -> None:
        """The venue told its own count. A greater one may at first be of its window before: clocks differ."""
        if count <= self.used(now) or not self.is_young(now):
            self._count = count

    def is_young(self, now: float) -> bool:
        """Has it just followed upon another?"""
        self.used(now)
        return self._follows and now - self._started < YOUNG_SECONDS

    def ends_in(self, now: float) -> float:
        """Seconds until the next window."""
        return self.seconds - now % self.seconds

    def most_told(self, count: int, now: float) -> int:
        """The greatest count that the venue told in this window, this one included."""
        self.used(now)
        self._told = max(self._told, count)
        return self._told

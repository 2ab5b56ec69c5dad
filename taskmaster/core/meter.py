"""The rate of a growing count."""

from __future__ import annotations

from collections import deque


class Meter:
    """The rate of a growing count over about the last ten seconds."""

    __slots__ = ("_seen",)

    SECONDS = 10.0  # long enough for a steady number, short enough to show a change while somebody is watching
    STEP_SECONDS = 0.1  # between two samples: about a hundred of them

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def observe(self, now: float, count: int) -> None:
        """The count stands at `count`."""
        if self._seen and now - self._seen[-1][0] < self.STEP_SECONDS:
            return
        self._seen.append((now, count))
        while len(self._seen) > 2 and now - self._seen[1][0] >= self.SECONDS:
            self._seen.popleft()

    def rate(self, now: float, count: int) -> float:
        """Per second; 0 before the first sample."""
        if not self._seen or now <= self._seen[0][0]:
            return 0.0
        then, before = self._seen[0]
        return (count - before) / (now - then)

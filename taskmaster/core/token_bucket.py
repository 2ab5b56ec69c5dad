"""A limit on the rate at which jobs are handed out."""

from __future__ import annotations


class TokenBucket:
    """At most `rate` jobs per second, using a bucket that holds a tenth of a second's worth; None is no limit."""

    __slots__ = ("_at", "_level", "rate")

    def __init__(self, rate: float | None) -> None:
        self.rate = rate
        self._level = self._most()
        self._at: float | None = None

    def allowed(self, now: float) -> int | None:
        """How many jobs may go out now; None is any number."""
        if self.rate is None:
            return None
        if self._at is not None:
            self._level = min(self._most(), self._level + (now - self._at) * self.rate)
        self._at = now
        return int(self._level + 1e-9)  # a sum of steps may fall short of a whole job by its rounding error

    def spent(self, jobs: int) -> None:
        """`jobs` jobs went out."""
        if self.rate is not None:
            self._level -= jobs

    def due(self, now: float) -> float | None:
        """When the next job may go out; None if there is no limit."""
        if self.rate is None:
            return None
        return now + max(0.0, (1 - self._level) / self.rate)

    def _most(self) -> float:
        return max(1.0, (self.rate or 0) / 10)

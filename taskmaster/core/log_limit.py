"""How often one thing may be logged: strangers and misconfigured fleets repeat themselves thousands of times."""

from __future__ import annotations

from math import inf

from taskmaster import defaults


class LogLimit:
    """Lets a line through at most once in `seconds`."""

    __slots__ = ("_next", "_seconds")

    def __init__(self, seconds: float = defaults.TURNED_AWAY_SECONDS) -> None:
        self._seconds = seconds
        self._next = -inf

    def allows(self, now: float) -> bool:
        """Whether to log the line now; if so, the next one has to wait."""
        if now < self._next:
            return False
        self._next = now + self._seconds
        return True

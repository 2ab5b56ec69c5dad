"""The newest request of a slave: whether its answer is awaited, and for how long the master has been silent."""

from __future__ import annotations

from math import inf

from taskmaster import defaults
from taskmaster.core.wire import Frames


class OutstandingRequest:
    """At most one request awaits its answer; a newer one takes its place.

    The master may hold a *parkable* one until it has work. Only such a request may be overtaken.
    """

    def __init__(self, now: float) -> None:
        self.seq = 0
        self.frames: Frames | None = None  # None once it has been answered
        self.parkable = False
        self.sent_at = now
        self._silent_since = now
        self._resent = 0  # times in a row
        self._lost = False  # with its connection

    @property
    def awaited(self) -> bool:
        """Whether an answer is yet to come."""
        return self.frames is not None

    @property
    def answer_is_due(self) -> bool:
        """Whether an answer is yet to come that the master does not hold back: nothing can be said before it."""
        return self.awaited and not self.parkable

    @property
    def tries(self) -> int:
        """How often in a row it has gone out without an answer."""
        return self._resent + 1

    def silence(self, now: float) -> float:
        """Seconds since the master should have spoken; 0 where no answer is awaited."""
        return now - self._silent_since if self.awaited else 0.0

    def overtakable_at(self, trip: float) -> float:
        """When a newer request may take its place: once a parkable one is surely held, `trip` being the seconds that an
        answer takes. Overtaken sooner, it would lose the jobs in its answer."""
        return self.sent_at + max(defaults.REPORT_SECONDS_IDLE, 2 * trip) if self.parkable else inf

    def begin(self, now: float) -> int:
        """A new request goes out now; returns its number."""
        if not self.awaited or (self.parkable and not self._resent):
            self._silent_since = now  # silence counts from the question; a master that holds one is not silent
        self.seq += 1
        self.sent_at = now
        return self.seq

    def resend(self, now: float) -> int:
        """It goes out once more; returns how often it has, in a row."""
        self._resent += 1
        self.sent_at = now
        return self._resent

    def answered(self, now: float) -> None:
        """Its answer came."""
        self.frames, self._silent_since, self._resent, self._lost = None, now, 0, False

    def reconnected(self) -> None:
        """The connection broke and was made again: a request that awaits its answer is lost, and one is due now.

        A master gives up on a slave that it does not hear again within a quarter of a second, two across a network.
        """
        self._lost = self.awaited
        if not self._lost:
            self.hasten()

    def hasten(self) -> None:
        """The next request is overdue."""
        self.sent_at = -inf

    def recover(self, now: float) -> bool:
        """Whether it was lost with its connection; if so it goes out again now."""
        lost, self._lost = self._lost, False
        if lost:
            self.sent_at = now
        return lost

"""The newest request of a slave: whether its answer is awaited, and for how long the master has been silent."""

from __future__ import annotations

from math import inf

from taskmaster import defaults
from taskmaster.core.transfer import Transfer
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
        self._carried_before: Transfer | None = None  # by the connection, when the request went out,
        self._carried: Transfer | None = None  # and at the last look
        self._moved_at = -inf  # when bytes were seen to move since it went out

    @property
    def awaited(self) -> bool:
        """Whether an answer is outstanding."""
        return self.frames is not None

    @property
    def answer_is_due(self) -> bool:
        """Whether an answer is outstanding that the master does not hold back: nothing can be sent before it."""
        return self.awaited and not self.parkable

    @property
    def tries(self) -> int:
        """How often in a row it has gone out without an answer."""
        return self._resent + 1

    def silence(self, now: float) -> float:
        """Seconds since the master should have answered; 0 if no answer is outstanding."""
        return now - self._silent_since if self.awaited else 0.0

    def overtakable_at(self, trip: float) -> float:
        """When a newer request may replace it: once the master must be holding a parkable one, `trip` being the seconds
        that an answer takes. If it were overtaken sooner, the jobs in its answer would be lost."""
        if not self.parkable:
            return inf
        trip = max(trip, self._carried.trip if self._carried is not None else 0.0)
        held_at = self.sent_at + max(defaults.REPORT_SECONDS_IDLE, 2 * trip)
        return max(held_at, self._moved_at + defaults.ARRIVING_PAUSE_SECONDS) if self._arriving else held_at

    def overdue_at(self, timeout: float) -> float:
        """When to ask again, `timeout` being the seconds of silence before that. Bytes that move are no silence."""
        if self._moved_at >= self.sent_at:
            return self._moved_at + max(timeout, defaults.STALL_SECONDS)
        return self.sent_at + timeout

    @property
    def _arriving(self) -> bool:
        """Whether an answer with jobs seems to be on its way."""
        before, now = self._carried_before, self._carried
        return before is not None and now is not None and now.received - before.received >= defaults.ARRIVING_BYTES

    def sent(self, transfer: Transfer | None) -> None:
        """It went out; None where it is not known what the connection has carried."""
        self._carried_before = self._carried = transfer
        self._moved_at = -inf

    def carried(self, transfer: Transfer | None, now: float) -> None:
        """A look at the connection."""
        before, self._carried = self._carried, transfer
        if before is not None and transfer is not None and transfer.moved_since(before):
            self._moved_at = self._silent_since = now

    def begin(self, now: float) -> int:
        """A new request goes out now; returns its number."""
        if not self.awaited or (self.parkable and not self._resent):
            self._silent_since = now  # silence counts from the request; a master that holds one is not silent
        self.seq += 1
        self.sent_at = now
        return self.seq

    def resend(self, now: float) -> int:
        """It is sent again; returns how many times in a row that has happened."""
        self._resent += 1
        self.sent_at = now
        return self._resent

    def answered(self, now: float) -> None:
        """Its answer has arrived."""
        self.frames, self._silent_since, self._resent, self._lost = None, now, 0, False

    def reconnected(self) -> None:
        """Reconnected: the outstanding request is lost, and one is due now.

        A master gives up on a slave that is not heard again within a quarter of a second, or two over a network.
        """
        self._lost = self.awaited
        if not self._lost:
            self.hasten()

    def hasten(self) -> None:
        """The next request is overdue."""
        self.sent_at = -inf

    def recover(self, now: float) -> bool:
        """Whether it was lost with its connection; if so, it is to be sent again now."""
        lost, self._lost = self._lost, False
        if lost:
            self.sent_at = now
        return lost

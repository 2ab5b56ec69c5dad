"""Decides which jobs a slave gets, and how many: shares, rate limit, isolation of suspects, pauses and drains."""

from __future__ import annotations

from math import inf

from taskmaster import defaults
from taskmaster.core.chunks import Chunk
from taskmaster.core.lease_size import lease_size
from taskmaster.core.roster import Roster
from taskmaster.core.session import Session
from taskmaster.core.token_bucket import TokenBucket
from taskmaster.core.window import Window
from taskmaster.core.wire import Poll


class Leasing:
    """Grants leases on the window's jobs; when and how a slave is answered is up to the dispatcher."""

    def __init__(self, window: Window, slaves: Roster, rate: float | None) -> None:
        self.handed_out_to = window.head  # every job below this offset has been leased at least once
        self.paused = False  # while true, grants nothing
        self._window = window
        self._slaves = slaves
        self._bucket = TokenBucket(rate)
        self._drain_limit = inf  # while draining: grants only jobs below this offset
        self._isolated = ""  # the slave that runs suspects, and gets no other jobs while there are any

    # -- how much may be granted

    def any_work(self, now: float) -> bool:
        """Whether a slave that holds nothing would be granted a lease."""
        if self.paused or not self._any_ready():
            return False
        return self._window.suspects or self._bucket.allowed(now) != 0

    def rate_due(self, now: float) -> float | None:
        """When the rate limit allows the next job; None unless ready jobs are waiting for that."""
        return self._bucket.due(now) if self._window.ready and self._bucket.allowed(now) == 0 else None

    def drain(self) -> None:
        """From now on grant only jobs that have been leased before.

        If others were granted, some would be settled above an unsettled one, and a resumed run would repeat them.
        """
        self._drain_limit = self.handed_out_to
        self._window.withdraw_chances()
        self.paused = False

    @property
    def draining(self) -> bool:
        return self._drain_limit != inf

    @property
    def drained(self) -> bool:
        """Whether every job leased before the drain began is settled."""
        return self._window.watermark >= self._drain_limit and not self._window.again

    # -- one lease

    def lease(self, session: Session, poll: Poll, now: float) -> list[Chunk]:
        """Grant jobs in answer to this request; none if it wants none or is allowed none."""
        window = self._window
        if self.paused or poll.want == 0 or poll.state != "run" or window.holds_suspect(session.slave_id):
            return []
        if poll.want > window.ready and not self.draining:
            window.look_ahead.starved()
        if not self._any_ready():
            return []
        if window.suspects and self._isolated_slave(session) == session.slave_id:
            idle = window.leased(session.slave_id) == 0
            return self._granted(window.lease_suspect(session.slave_id, poll.seq, now)) if idle else []
        want = self._size(session, poll.want, now)
        if want == 0:
            return []
        return self._granted(
            window.lease(session.slave_id, poll.seq, want, defaults.LEASE_BYTES, now, self._drain_limit))

    def _any_ready(self) -> bool:
        if self._window.ready and self._drain_limit == inf:
            return True  # the usual case: which jobs they are matters only while draining
        return self._window.any_ready_below(self._drain_limit)

    def _isolated_slave(self, candidate: Session) -> str:
        """The slave that runs suspects, one lease at a time and nothing else; the candidate, unless there is one."""
        free = not self._window.holds_suspect(self._isolated)
        if self._isolated not in self._slaves or (free and self._window.leased(candidate.slave_id) == 0):
            self._isolated = candidate.slave_id
        return self._isolated

    def _size(self, session: Session, want: int, now: float) -> int:
        if self._window.ready == 0:
            return 0
        returned = self._window.next_was_returned
        size = lease_size(want, self._window.ready, self._window.size, len(self._slaves), returned,
                          session.batch)
        allowed = self._bucket.allowed(now)
        return size if allowed is None else min(size, allowed)

    def _granted(self, chunks: list[Chunk]) -> list[Chunk]:
        for chunk in chunks:
            self._bucket.spent(chunk.count)
            self._window.look_ahead.handed_out(chunk.count)
            self.handed_out_to = max(self.handed_out_to, chunk.end)
        return chunks

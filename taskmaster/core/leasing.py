"""Decides which jobs a slave gets, and how many: shares, rate limit, isolation of suspects, pauses and drains."""

from __future__ import annotations

from math import inf

from taskmaster import defaults
from taskmaster.core.backup_policy import BackupPolicy
from taskmaster.core.chunks import Chunk
from taskmaster.core.lease_size import lease_size
from taskmaster.core.leased_cursors import encode_cursors
from taskmaster.core.roster import Roster
from taskmaster.core.session import Session
from taskmaster.core.token_bucket import TokenBucket
from taskmaster.core.window import Window
from taskmaster.core.wire import Lease, Poll

HEARTBEAT_MS = int(1000 * defaults.HEARTBEAT_SECONDS)
HEARTBEAT_MS_TAIL = int(1000 * defaults.HEARTBEAT_SECONDS_TAIL)


class Leasing:
    """Grants leases on the window's jobs; when and how a slave is answered is up to the dispatcher."""

    def __init__(self, window: Window, slaves: Roster, rate: float | None, backups: bool = False) -> None:
        self.handed_out_to = window.head  # every job below this offset has been leased at least once
        self.paused = False  # while true, grants nothing
        self._window = window
        self._slaves = slaves
        self._bucket = TokenBucket(rate)
        self._drain_limit = inf  # while draining: grants only jobs below this offset
        self._backups = BackupPolicy(window) if backups else None
        self._isolated = ""  # the slave that runs suspects, and gets no other jobs while there are any

    def as_sent(self, chunk: Chunk) -> Lease:
        """What the slave gets for this chunk."""
        first, count, form = chunk.first, chunk.count, chunk.batch.form
        cursors = encode_cursors(self._window.cursors_to_send(first, count), form)
        return Lease(first, count, chunk.attempt, form, chunk.batch.blob(), cursors)

    # -- how much may be granted

    def any_work(self, now: float) -> bool:
        """Whether a slave that holds nothing would be granted a lease."""
        if self.paused:
            return False
        if not self._any_ready():
            policy = self._backup_policy(now)
            return policy is not None and policy.any_due(now)
        return self._window.suspects or self._bucket.allowed(now) != 0

    def next_due(self, now: float) -> float | None:
        """When there may be work for slaves that wait for it, if nothing else happens: when the rate limit allows the
        next ready job, or when jobs that others have are to be looked at again; None if neither is to be expected."""
        if self._window.ready:
            return self._bucket.due(now) if self._bucket.allowed(now) == 0 else None
        policy = None if self.paused else self._backup_policy(now)
        return policy.look_at if policy is not None and policy.is_tail else None

    @property
    def heartbeat_ms(self) -> int:
        """How often slaves are to be heard. At the end of a run one that runs in vain what another has settled should
        soon learn that."""
        last = self._window.pulled_all and self._backups is not None and len(self._slaves) > 1
        return HEARTBEAT_MS_TAIL if last else HEARTBEAT_MS

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
            return self._back_up(session, poll, now)
        if window.suspects and self._isolated_slave(session) == session.slave_id:
            idle = window.held(session.slave_id) == 0
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
        if self._isolated not in self._slaves or (free and self._window.held(candidate.slave_id) == 0):
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

    def _backup_policy(self, now: float) -> BackupPolicy | None:
        """None while no job may be backed up."""
        return None if self.draining or self._bucket.allowed(now) == 0 else self._backups

    def _back_up(self, session: Session, poll: Poll, now: float) -> list[Chunk]:
        """One job that another slave has had for too long, if this one has a thread without a job."""
        policy, idle = self._backup_policy(now), self._window.held(session.slave_id) < session.threads
        chunk = policy.next_for(session.slave_id, now) if policy is not None and idle else None
        if chunk is None:
            return []
        self._bucket.spent(1)
        return [self._window.lease_backup(chunk, session.slave_id, poll.seq, now)]

    def _granted(self, chunks: list[Chunk]) -> list[Chunk]:
        for chunk in chunks:
            self._bucket.spent(chunk.count)
            self._window.look_ahead.handed_out(chunk.count)
            self.handed_out_to = max(self.handed_out_to, chunk.end)
        return chunks

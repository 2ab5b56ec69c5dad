"""Which running jobs an idle slave is given as well, once nothing else is left to hand out.

At the end of a run the slaves wait for the last jobs. If one of those takes far longer than others did, its slave may
be slow, overloaded or gone without a word, and another one may be done with it first. Handlers are idempotent, so
trying costs nothing but the time of a slave that is idle. Pure: the time is an argument.
"""

from __future__ import annotations

from collections.abc import Iterable

from taskmaster import defaults
from taskmaster.core.chunks import Chunk
from taskmaster.core.window_view import WindowView


def overdue(chunks: Iterable[Chunk], limit: float, now: float) -> list[Chunk]:
    """Those of these leased chunks that have been out for `limit` seconds, the longest first, as far as they may be
    backed up."""
    found = [chunk for chunk in chunks if now - chunk.since >= limit and _may_be_backed_up(chunk)]
    return sorted(found, key=lambda chunk: (chunk.since, chunk.first))


def _may_be_backed_up(chunk: Chunk) -> bool:
    """Not twice in an attempt; and not where the job itself seems to be the cause, because it has failed before, or
    may have killed a slave."""
    suspicion = chunk.suspicion
    return not chunk.backed_up and chunk.attempt == 1 and not suspicion.deaths and not suspicion.isolated


def limit_of(seconds: Iterable[float]) -> float | None:
    """How long a job may be out before it is backed up; `seconds` is how long others were. None if nobody knows yet."""
    known = sorted(seconds)
    return max(defaults.BACKUP_SECONDS, defaults.BACKUP_MEDIANS * known[len(known) // 2]) if known else None


class BackupPolicy:
    """Looks at the window every BACKUP_LOOK_SECONDS, once all jobs have been pulled and none waits for a slave."""

    def __init__(self, window: WindowView) -> None:
        self.look_at = 0.0  # when the leases are to be looked at again
        self._window = window
        self._overdue: list[Chunk] = []  # at the last look

    @property
    def is_tail(self) -> bool:
        """Whether no slave could be given a job that nobody else has, now or soon."""
        window = self._window
        return window.pulled_all and not window.ready and not window.suspects and window.next_due() is None

    def any_due(self, now: float) -> bool:
        """Whether there is a job to back up, for some slave."""
        if not self.is_tail:
            return False
        if now >= self.look_at:
            self.look_at = now + defaults.BACKUP_LOOK_SECONDS
            limit = limit_of(self._window.lease_times.seconds)
            self._overdue = [] if limit is None else overdue(self._window.leases(), limit, now)
        else:
            self._overdue = [chunk for chunk in self._overdue if self._is_out(chunk)]
        return bool(self._overdue)

    def next_for(self, slave_id: str, now: float) -> Chunk | None:
        """The jobs that another slave has had for longest; the first of them is to be backed up."""
        if not self.any_due(now):
            return None
        chunk = next((one for one in self._overdue if one.holder != slave_id), None)
        if chunk is not None and len(chunk.left) > 1:
            self.look_at = now  # the others in it are as late
        return chunk

    def _is_out(self, chunk: Chunk) -> bool:
        return self._window.is_leased(chunk) and _may_be_backed_up(chunk)

"""The window as those see it who only read it: the loop, the state on disk, the status line, the leasing policy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from taskmaster import defaults
from taskmaster.core.backups import Backups
from taskmaster.core.chunks import Chunk, Chunks
from taskmaster.core.lease_times import LeaseTimes
from taskmaster.core.look_ahead import LookAhead
from taskmaster.core.runs import Runs
from taskmaster.core.second_chances import SecondChances
from taskmaster.core.settled import Snapshot
from taskmaster.core.watermark import Watermark
from taskmaster.job import NO_CURSOR


@dataclass(frozen=True)
class ResumePoint:
    """Where a run can be resumed: `offset` of the first job to pull again; `cursor` for the source, frozen, NO_CURSOR
    where it is that of the start of this run; and what is settled from there on."""

    offset: int
    cursor: Any
    above: Snapshot
    complete: bool  # whether everything that is settled from there on is in `above`
    whole: bool  # whether what is settled above the watermark is in it


class WindowView:
    """The jobs in flight, offsets [watermark, head): everything below the watermark is settled."""

    def __init__(self, first: int, size: int, most_bytes: int, attempts: int | None) -> None:
        self.size = size
        self.attempts = attempts  # None: as many as the handler asks for
        self.look_ahead = LookAhead(size)
        self._first = first
        self.passed_over = 0  # jobs that an earlier run had settled above its watermark
        self.results_bytes = 0  # of results that wait to be written; set by their owner
        self.pulled_all = False  # no more jobs come in this run; set by whoever pulls them
        self.backups = Backups()
        self.lease_times = LeaseTimes()
        self._most_bytes = most_bytes
        self._mark = Watermark(first)
        self._chunks = Chunks()
        self._again = SecondChances()

    @property
    def watermark(self) -> int:
        return self._mark.offset

    @property
    def head(self) -> int:
        """The offset of the next job of the source."""
        return self._mark.head

    @property
    def in_flight(self) -> int:
        return self.head - self.watermark - self._mark.settled_above + len(self._again)

    @property
    def settled(self) -> int:
        """How many jobs were settled here, above and below the watermark."""
        return self.head - self._first - self.in_flight + len(self._again) + self._again.settled

    @property
    def settled_again(self) -> int:
        """How many failed jobs of earlier runs were handled here, or failed again."""
        return self._again.settled

    @property
    def again(self) -> int:
        """How many failed jobs of earlier runs are in flight."""
        return len(self._again)

    @property
    def kept_bytes(self) -> int:
        """Bytes of cursors, and of what is kept of settled jobs until a checkpoint has been made of it."""
        return self._mark.bytes

    def room(self) -> int:
        """How many more jobs may be pulled: the span stays within `size`, what is kept in memory within `most_bytes`,
        and what is ready within the look-ahead.

        READY_BYTES of ready payloads are enough: more of them would have left the processor's cache by the time they
        are sent.
        """
        kept = self._chunks.bytes + self._mark.bytes + self.results_bytes
        if kept >= self._most_bytes or self._chunks.ready_bytes >= defaults.READY_BYTES:
            return 0
        free = self.watermark + self.size - self.head - len(self._again)
        return max(0, min(free, self.look_ahead.jobs - self._chunks.ready))

    # -- where the run can be resumed

    def resume_point(self, now: float, whole: bool | None = None) -> ResumePoint:
        """What a checkpoint says now. The `whole` of what is settled above the watermark is in it, or none; where that
        is left open, the whole of it if the watermark stands."""
        taken = self.stands(now) if whole is None else whole
        complete = taken or whole is not None or self._mark.settled_above == 0
        return ResumePoint(self._mark.resume_offset, self._mark.cursor, self._mark.snapshot(taken), complete, taken)

    def take_settled_again(self) -> Runs:
        """The failed jobs of earlier runs that were settled since the last call, handled or not."""
        return self._again.take_settled()

    def stands(self, now: float) -> bool:
        """Whether the job at the watermark was handed out for the first time more than STANDS_SECONDS ago.

        What is settled above it was handed out later, so until then that is little.
        """
        oldest = self.oldest()
        since = None if oldest is None else oldest.out_since
        return since is not None and now - since > defaults.STANDS_SECONDS

    # -- the job at the watermark

    def oldest(self) -> Chunk | None:
        """The chunk whose first unsettled job is at the watermark; None if nothing of the source is in flight."""
        return self._chunks.lowest() if not self._again else self._chunks.at(self.watermark)

    def cursor_of(self, offset: int) -> Any:
        """Where to resume after this job, as it was frozen."""
        return self._again.cursor_of(offset) if offset < self._first else self._mark.cursor_of(offset)

    def cursors_of(self, first: int, count: int) -> list[Any] | None:
        """The cursors of these unsettled jobs, frozen; None if none of them has its own."""
        return self._mark.cursors.of(first, count)

    def cursors_to_send(self, first: int, count: int) -> list[Any] | None:
        """The same, also for a failed job of an earlier run, which is alone."""
        return [self._again.cursor_of(first)] if first < self._first else self.cursors_of(first, count)

    @property
    def next_cursor(self) -> Any:
        """The cursor of the job at the watermark; NO_CURSOR if it has none of its own."""
        return self._mark.cursors.own(self.watermark)

    @property
    def next_is_plain(self) -> bool:
        """Whether the job at the watermark has no cursor of its own."""
        return self.next_cursor is NO_CURSOR

    def first_unfinished(self) -> Callable[[], Any] | None:
        """Decodes the payload of the job at the watermark, in any thread; None if nothing is in flight."""
        chunk = self.oldest()
        return None if chunk is None else chunk.batch.reader(self.watermark - chunk.first)

    # -- what may be leased, and who holds what

    @property
    def ready(self) -> int:
        """Jobs that may be leased now, without the suspects."""
        return self._chunks.ready

    @property
    def next_was_returned(self) -> bool:
        """Whether the first job to be leased has been with a slave before."""
        chunk = self._chunks.next_ready()
        return chunk is not None and chunk.granted_by_seq > 0

    @property
    def suspects(self) -> bool:
        """Whether suspects are waiting for a slave that holds nothing else."""
        return self._chunks.next_suspect() is not None

    def any_ready_below(self, offset: float) -> bool:
        """Whether a job below `offset`, suspect or not, may be leased now."""
        found = [chunk for chunk in (self._chunks.next_ready(), self._chunks.next_suspect()) if chunk is not None]
        return any(chunk.first < offset for chunk in found)

    def leased(self, holder: str) -> int:
        """How many unsettled jobs `holder` has on lease."""
        return sum(len(chunk.left) for chunk in self._chunks.held_by(holder))

    def held(self, holder: str) -> int:
        """The same with those that it has on a second lease."""
        return self.leased(holder) + self.backups.count_of(holder)

    def leases(self) -> Iterator[Chunk]:
        """All chunks on lease."""
        return self._chunks.leases()

    def is_leased(self, chunk: Chunk) -> bool:
        """Whether this chunk is still in the window as it is, and on lease."""
        return self._chunks.is_leased(chunk)

    def leased_since(self, holder: str, offset: int) -> float | None:
        """When this slave was given this job; None if it does not have it."""
        chunk = self._chunks.at(offset)
        return chunk.since if chunk is not None and self.is_leased(chunk) and chunk.holder == holder else None

    def next_due(self) -> float | None:
        """When the next retry becomes ready."""
        return self._chunks.next_due()

    def holds_suspect(self, holder: str) -> bool:
        return any(chunk.suspicion.isolated for chunk in self._chunks.held_by(holder))

"""The jobs between watermark and head: admit, lease, settle, fail, take back.

It knows nothing of messages, and of slaves only a name; time is an argument, in seconds.

    admit -> READY -> lease -> LEASED -> settle -> settled -> below the watermark, forgotten
               ^                  |--> fail -> DELAYED (next attempt) -> READY, or buried: settled as a failure
               '---- take back ---'    (the slave died, or no longer lists it)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from taskmaster import defaults
from taskmaster.core.backoff import Backoff
from taskmaster.core.chunks import Chunk, Chunks, State
from taskmaster.core.codec import BadJob, Batch
from taskmaster.core.runs import Run, Runs, pieces
from taskmaster.core.watermark import Watermark
from taskmaster.core.wire import FailedAttempt
from taskmaster.job import NO_CURSOR


RETRY = Backoff(defaults.RETRY_SECONDS, defaults.RETRY_SECONDS_MOST, spread=0.25)  # the jobs of a lease fail together


@dataclass(frozen=True)
class AbandonedJob:
    """A job given up on, with all that the failures file tells of it; its payload is `batch`'s only job."""

    offset: int
    cursor: Any
    attempts: int
    kind: str
    error: str
    message: str
    traceback: str
    holder: str
    batch: Batch | None


@dataclass(frozen=True)
class Settled:
    """What came of an acknowledgement: jobs settled by it, jobs that were already, and others who hold them still."""

    fresh: int
    repeated: int
    drops: tuple[tuple[str, Run], ...]


class Window:
    """The ledger of jobs in flight, offsets [watermark, head): everything below the watermark is settled."""

    STRIKES_TO_ISOLATE = 2  # one death is an accident of the slave's; two make the jobs it held suspects
    ISOLATE_PARTS = 8  # a batch of 64 suspects is down to single jobs after two more deaths

    def __init__(self, first: int, size: int, most_bytes: int, attempts: int) -> None:
        self.size = size
        self.attempts = attempts
        self.head = first
        self._most_bytes = most_bytes
        self._mark = Watermark(first)
        self._chunks = Chunks()

    # -- what it says of itself

    @property
    def watermark(self) -> int:
        return self._mark.offset

    @property
    def cursor(self) -> Any:
        """Where to go on after the job just below the watermark; NO_CURSOR when none was settled here yet."""
        return self._mark.cursor

    def room(self, now: float) -> int:
        """How many more jobs may be pulled: the span stays within `size`, the payloads within their bytes.

        Of payloads that nobody asked for yet, READY_BYTES are enough: more would only be cold when they are sent.
        What is done above a job that takes long is done again after a crash: then STALLED_SPAN_JOBS are enough.
        """
        if self._chunks.bytes >= self._most_bytes or self._chunks.ready_bytes >= defaults.READY_BYTES:
            return 0
        span = min(self.size, defaults.STALLED_SPAN_JOBS) if self._stalled(now) else self.size
        return max(0, self.watermark + span - self.head)

    def _stalled(self, now: float) -> bool:
        """Whether the job at the watermark has been with a slave for SPAN_SECONDS, or waits for one."""
        oldest = self.oldest()
        return oldest is not None and (oldest.state is not State.LEASED or now - oldest.since > defaults.SPAN_SECONDS)

    @property
    def in_flight(self) -> int:
        return self.head - self.watermark - self._mark.settled_above

    @property
    def ready(self) -> int:
        """Jobs that may be leased at once, suspects not counted."""
        return self._chunks.ready

    @property
    def next_was_leased(self) -> bool:
        """Whether the first job that may be leased was in a slave's hands before."""
        chunk = self._chunks.next_ready()
        return chunk is not None and chunk.granted_by_seq > 0

    @property
    def suspects(self) -> bool:
        """Whether a suspect waits for a slave of its own."""
        return self._chunks.next_suspect() is not None

    def ready_below(self, offset: float) -> bool:
        """Whether a job below `offset` may be leased at once."""
        found = [chunk for chunk in (self._chunks.next_ready(), self._chunks.next_suspect()) if chunk is not None]
        return any(chunk.first < offset for chunk in found)

    def leased(self, holder: str) -> int:
        """How many unsettled jobs `holder` has on lease."""
        return sum(len(chunk.left) for chunk in self._chunks.held_by(holder))

    def holds_suspect(self, holder: str) -> bool:
        return any(chunk.isolated for chunk in self._chunks.held_by(holder))

    def oldest(self) -> Chunk | None:
        """The chunk that holds the watermark where it is."""
        return self._chunks.lowest()

    @property
    def next_is_plain(self) -> bool:
        """Whether the job at the watermark has no cursor of its own."""
        return bool(self._mark.cursor_of(self.watermark) == self.watermark + 1)

    def first_unfinished(self) -> Callable[[], Any] | None:
        """Decodes the payload at the watermark when called, in any thread; None where nothing is in flight."""
        chunk = self.oldest()
        return None if chunk is None else chunk.batch.reader(self.watermark - chunk.first)

    # -- from the source

    def admit(self, batch: Batch, cursors: Sequence[Any] | None = None) -> None:
        """The next jobs of the source; `cursors`, one for each, where they have their own."""
        if cursors is not None:
            self._mark.trace(self.head, cursors)
        self._chunks.insert(Chunk(self.head, batch))
        self.head += batch.count

    def admit_bad(self, bad: BadJob, cursor: Any = NO_CURSOR) -> AbandonedJob:
        """The next job of the source cannot be sent: it is settled as a failure, without an attempt."""
        offset = self.head
        self._mark.trace(offset, [cursor])
        self.head += 1
        buried = AbandonedJob(offset, self._mark.cursor_of(offset), 0, bad.kind, bad.error, bad.message, "", "", None)
        self._mark.settle(offset, 1)
        return buried

    # -- to and from slaves

    def lease(self, holder: str, granted_by_seq: int, want: int, most_bytes: int, now: float,
              below: float = inf) -> list[Chunk]:
        """Up to `want` ready jobs, lowest offsets first, within `most_bytes` unless one job alone is larger.

        To cut a chunk costs decoding and encoding it: it is not done to top up what is more than half already.
        """
        leased: list[Chunk] = []
        half_jobs, half_bytes = want / 2, most_bytes / 2
        while want > 0 and (chunk := self._chunks.next_ready()) is not None and chunk.first < below:
            fits = chunk.count * most_bytes // max(1, chunk.batch.size)
            count = min(want, max(fits, 0 if leased else 1))
            enough = want <= half_jobs or most_bytes <= half_bytes
            if count <= 0 or (count < chunk.count and enough):
                break
            if count < chunk.count:
                self._chunks.cut(chunk, count)
            leased.append(self._chunks.grant(chunk, holder, granted_by_seq, now))
            want -= chunk.count
            most_bytes -= chunk.batch.size
        return leased

    def lease_suspect(self, holder: str, granted_by_seq: int, now: float) -> list[Chunk]:
        """One chunk of suspects, for a slave that holds nothing else."""
        chunk = self._chunks.next_suspect()
        return [self._chunks.grant(chunk, holder, granted_by_seq, now)] if chunk is not None else []

    def settle(self, holder: str, first: int, count: int) -> Settled:
        """`holder` says these are done: final, whoever has them on lease by now; a late success counts.

        What was never leased cannot be done, and is left as it is.
        """
        fresh, drops = 0, []
        for chunk in self._chunks.crossing(first, count):
            if not chunk.granted_by_seq:
                continue
            runs = chunk.left.inside(first, count)
            fresh += sum([length for _, length in runs])
            if chunk.state is State.LEASED and chunk.holder != holder:
                drops += [(chunk.holder, run) for run in runs]
            self._settle_in(chunk, runs)
        return Settled(fresh, count - fresh, tuple(drops))

    def fail(self, holder: str, failures: Iterable[FailedAttempt], now: float) -> tuple[list[AbandonedJob], int]:
        """Attempts that failed: what is given up on, and how many are tried again.

        Only the newest attempt's failure counts: a late one says nothing about the attempt that is running now.
        """
        buried: list[AbandonedJob] = []
        again: dict[int, tuple[Chunk, Runs]] = {}
        for failure in failures:
            chunk = self._chunks.at(failure.offset)
            if chunk is None or not self._is_newest(chunk, holder, failure):
                continue
            if chunk.attempt >= self.attempts:
                buried.append(self._bury(chunk, failure))
            else:
                again.setdefault(chunk.first, (chunk, Runs()))[1].add(failure.offset, 1)
        for chunk, runs in again.values():
            self._retry(chunk, list(runs), now)
        return buried, sum(len(runs) for _, runs in again.values())

    def renew(self, holder: str, request: int, held: Runs) -> int:
        """A lease lives on by what the slave says it holds: what it does not list goes back; returns how many jobs.

        Not the leases granted in answer to this request or a later one: the slave cannot have known of them.
        """
        missing = 0
        for chunk in self._chunks.held_by(holder):
            if chunk.granted_by_seq >= request:
                continue
            gone = [run for first, count in chunk.left for run in held.outside(first, count)]
            if gone:
                missing += sum(count for _, count in gone)
                self._requeue(chunk, gone)
        return missing

    def forfeit(self, holder: str, how: str) -> list[AbandonedJob]:
        """`holder` is dead: all it held goes back, under suspicion; returns the jobs it is now sure were the cause."""
        buried = []
        for chunk in self._chunks.held_by(holder):
            if chunk.isolated and chunk.count == 1 and chunk.isolated_deaths + 1 >= self.attempts:
                buried.append(self._bury(chunk, _killer(chunk, how)))
            else:
                self._strike(chunk)
        return buried

    def give_back(self, holder: str) -> None:
        """`holder` has left in good order: what it still held goes back, and nothing is held against it."""
        for chunk in self._chunks.held_by(holder):
            self._requeue(chunk, list(chunk.left))

    # -- time

    def wake(self, now: float) -> bool:
        """Put retries that are due among the ready; returns whether there were any."""
        return self._chunks.wake(now)

    def next_due(self) -> float | None:
        return self._chunks.next_due()

    # -- how it is done

    def _settle_in(self, chunk: Chunk, runs: Sequence[Run]) -> None:
        for first, count in runs:
            chunk.left.remove(first, count)
            self._mark.settle(first, count)
        if not chunk.left:
            self._chunks.remove(chunk)
        elif chunk.state is not State.LEASED:
            self._chunks.replace(chunk, list(chunk.left))

    @staticmethod
    def _is_newest(chunk: Chunk, holder: str, failure: FailedAttempt) -> bool:
        mine = chunk.state is State.LEASED and chunk.holder == holder
        return mine and failure.attempt == chunk.attempt and failure.offset in chunk.left

    def _bury(self, chunk: Chunk, failure: FailedAttempt) -> AbandonedJob:
        offset = failure.offset
        cursor, batch = self._mark.cursor_of(offset), chunk.batch.slice(offset - chunk.first, 1)
        buried = AbandonedJob(offset, cursor, failure.attempt, failure.kind, failure.error, failure.message,
                              failure.traceback, chunk.holder, batch)
        self._settle_in(chunk, [(offset, 1)])
        return buried

    def _retry(self, chunk: Chunk, runs: list[Run], now: float) -> None:
        for part in self._split_off(chunk, runs):
            part.attempt += 1
            part.state = State.DELAYED
            part.due = now + RETRY.delay(chunk.attempt, part.first)
            self._chunks.insert(part)

    def _strike(self, chunk: Chunk) -> None:
        struck = chunk.suspect_deaths + 1
        runs = list(chunk.left)
        if struck >= self.STRIKES_TO_ISOLATE:
            runs = [piece for run in runs for piece in pieces(run, self.ISOLATE_PARTS)]
        for part in self._split_off(chunk, runs):
            part.suspect_deaths = struck
            part.isolated = struck >= self.STRIKES_TO_ISOLATE
            part.isolated_deaths = chunk.isolated_deaths + (1 if chunk.isolated and chunk.count == 1 else 0)
            self._chunks.insert(part)

    def _requeue(self, chunk: Chunk, runs: list[Run]) -> None:
        for part in self._split_off(chunk, runs):
            self._chunks.insert(part)

    def _split_off(self, chunk: Chunk, runs: list[Run]) -> list[Chunk]:
        """Take `runs` out of a chunk: ready chunks, not yet inserted; the rest of it stays as and where it is."""
        parts = [chunk.slice(run, State.READY) for run in runs]
        for first, count in runs:
            chunk.left.remove(first, count)
        self._chunks.replace(chunk, list(chunk.left))
        return parts


def _killer(chunk: Chunk, how: str) -> FailedAttempt:
    times = chunk.isolated_deaths + 1
    message = f"the slave that ran it, and nothing else, died: {how}, {times} times"
    return FailedAttempt(chunk.first, times, "killed", "SlaveKilled", message, "")

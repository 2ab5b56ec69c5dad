"""The jobs between watermark and head: admit, lease, settle, fail, requeue.

It knows nothing of messages, and slaves only by their ids; time is an argument, in seconds.

    admit -> READY -> lease -> LEASED -> settle -> settled -> below the watermark, discarded
               ^                  |--> fail -> DELAYED (next attempt) -> READY, or abandoned: settled as a failure
               '----- requeue ----'    (the slave died or left, or no longer lists it)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any

from taskmaster import defaults
from taskmaster.core.abandoned import AbandonedJob
from taskmaster.core.backups import Backup
from taskmaster.core.blame import Suspicion
from taskmaster.core.chunks import Chunk, State
from taskmaster.core.codec import BadJob, Batch
from taskmaster.core.retrying import seconds_until_next
from taskmaster.core.runs import Run, Runs
from taskmaster.core.second_chances import FailedJob
from taskmaster.core.settled import Entry, entry_of_bad
from taskmaster.core.window_view import WindowView
from taskmaster.core.wire import FailedAttempt
from taskmaster.job import NO_CURSOR


@dataclass(frozen=True)
class Settled:
    """Result of an ack: newly settled, already settled, and the other holders to notify, each with its run."""

    fresh: int
    repeated: int
    drops: tuple[tuple[str, Run], ...]
    runs: tuple[Run, ...] = field(default=(), compare=False)  # the newly settled


class Window(WindowView):
    """Records what happens to the jobs in flight."""

    # -- from the source

    def admit(self, batch: Batch, cursors: Sequence[Any] | None = None, size: int = 0) -> None:
        """Add the next jobs of the source; `cursors`, one for each and `size` bytes in all, unless none has its own."""
        self._chunks.insert(Chunk(self.head, batch))
        self._mark.admit(batch.count, cursors, size)

    def admit_settled(self, entry: Entry, cursors: Sequence[Any] | None = None, size: int = 0) -> None:
        """The next jobs of the source were settled by an earlier run."""
        self._mark.admit(entry.count, cursors, size)
        self._mark.settle_identified(entry)
        self.passed_over += entry.count

    def admit_again(self, job: FailedJob) -> None:
        """A job below the first one of this run, which failed in an earlier run, has another chance."""
        if job.offset < self._first and self._chunks.at(job.offset) is None:  # a file may have a record twice
            self._again.admit(job)
            self._chunks.insert(Chunk(job.offset, job.batch))

    def withdraw_chances(self) -> None:
        """Take back what `admit_again` added and no slave has had yet."""
        for chunk in self._chunks.crossing(*self._again.span) if self._again else ():
            if chunk.first in self._again and not chunk.granted_by_seq:
                self._chunks.remove(chunk)
                self._again.withdraw(chunk.first)

    def end_of_source(self) -> None:
        """The source has no more jobs."""
        self._mark.exhausted = True

    def admit_bad(self, bad: BadJob, cursor: Any = NO_CURSOR) -> AbandonedJob:
        """The next job of the source cannot be sent: settle it as a failure, without an attempt."""
        offset = self.head
        self._mark.admit(1, None if cursor is NO_CURSOR else [cursor])
        job = AbandonedJob(offset, self._mark.cursor_of(offset), 0, bad.kind, bad.error, bad.message, "", "", None)
        self._mark.settle_identified(entry_of_bad(offset, bad, cursor))
        return job

    # -- to and from slaves

    def lease(self, holder: str, granted_by_seq: int, want: int, most_bytes: int, now: float,
              below: float = inf) -> list[Chunk]:
        """Lease up to `want` ready jobs, lowest offsets first, within `most_bytes` unless the first alone is larger.

        To cut a chunk costs decoding and encoding it: this is not done for a lease that is more than half full.
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
        """Lease one chunk of suspects, to a slave that holds nothing else."""
        chunk = self._chunks.next_suspect()
        return [self._chunks.grant(chunk, holder, granted_by_seq, now)] if chunk is not None else []

    def lease_backup(self, chunk: Chunk, holder: str, granted_by_seq: int, now: float) -> Chunk:
        """Lease the first unsettled job of a leased chunk to a second slave; the first success settles it.

        The attempt has failed only once it has failed on both.
        """
        job = self._chunks.single_out(chunk)
        job.backed_up = True
        self.backups.add(job.first, Backup(holder, granted_by_seq, now))
        return job

    def settle(self, holder: str, first: int, count: int) -> Settled:
        """`holder` reports these jobs as done. That is final, whoever holds them by now: a late success counts.

        Jobs that were never leased cannot be done, and stay as they are.
        """
        fresh, drops, settled = 0, [], []
        for chunk in self._chunks.crossing(first, count):
            if not chunk.granted_by_seq:
                continue
            runs = chunk.left.inside(first, count)
            fresh += sum([length for _, length in runs])
            settled += runs
            if chunk.state is State.LEASED and chunk.holder != holder:
                drops += [(chunk.holder, run) for run in runs]
            if self.backups.leases:
                drops += self.backups.settle(holder, runs)
            self._settle_in(chunk, runs)
        return Settled(fresh, count - fresh, tuple(drops), tuple(settled))

    def fail(self, holder: str, failures: Iterable[FailedAttempt], now: float) -> tuple[list[AbandonedJob], int]:
        """Attempts failed: returns the jobs abandoned, and how many others will be retried.

        Only a failure of the newest attempt counts: an older one says nothing about the attempt that is running now.
        """
        abandoned: list[AbandonedJob] = []
        retries: dict[int, tuple[Chunk, dict[int, FailedAttempt]]] = {}  # by the chunk's first offset
        for failure in failures:
            chunk = self._chunks.at(failure.offset)
            if chunk is None or not self._is_newest(chunk, holder, failure):
                continue
            if self._hand_over(chunk):
                continue
            if seconds_until_next(failure, self.attempts) is None:
                abandoned.append(self._abandon(chunk, failure))
            else:
                retries.setdefault(chunk.first, (chunk, {}))[1].setdefault(failure.offset, failure)
        for chunk, failed in retries.values():
            self._retry(chunk, failed, now)
        return abandoned, sum(len(failed) for _, failed in retries.values())

    def renew(self, holder: str, request: int, held: Runs) -> int:
        """Renew the leases of the jobs that the slave lists, and requeue the others; returns how many those are.

        Leases granted in answer to this request or a later one stay: the slave cannot know of them yet.
        """
        requeued = 0
        for chunk in self._chunks.held_by(holder):
            if chunk.granted_by_seq >= request:
                continue
            missing = [run for first, count in chunk.left for run in held.outside(first, count)]
            if missing:
                requeued += sum(count for _, count in missing)
                self._requeue(chunk, missing)
        if self.backups.leases:
            self.backups.renew(holder, request, held)
        return requeued

    def forfeit(self, holder: str, how: str, blame: bool) -> list[AbandonedJob]:
        """`holder` died: requeue its jobs, as suspects if one of them is to `blame`.

        Returns those now proven to kill their slaves, abandoned.
        """
        abandoned, alone = [], self.held(holder) == 1
        for chunk in self._chunks.held_by(holder):
            suspicion = chunk.suspicion.after_death(alone, blame)
            if suspicion.is_proven(self.attempts or defaults.ATTEMPTS):
                abandoned.append(self._abandon(chunk, suspicion.verdict(chunk.left.first, how)))
            else:
                self._suspect(chunk, suspicion)
        for offset in self.backups.leave(holder):
            chunk = self._chunks.crossing(offset, 1)[0]
            chunk.suspicion = chunk.suspicion.after_death(alone, blame)
        return abandoned

    def readopt(self, holder: str, request: int, held: Runs, now: float) -> Runs:
        """`holder` was taken for dead and is back: lease to it again those of its jobs that no other slave was given.

        Returns them. What its supposed death told against them is withdrawn.
        """
        adopted = Runs()
        for run in held:
            for chunk in self._chunks.crossing(*run):
                if chunk.state is not State.LEASED and chunk.granted_by_seq:
                    for part in self._chunks.split_off(chunk, chunk.left.inside(*run)):
                        self._lease_again(part, holder, request, now)
                        adopted.add(part.first, part.count)
        return adopted

    def give_back(self, holder: str) -> None:
        """`holder` left in good order: requeue its jobs, without suspicion."""
        for chunk in self._chunks.held_by(holder):
            self._requeue(chunk, list(chunk.left))
        self.backups.leave(holder)

    # -- time

    def wake(self, now: float) -> bool:
        """Make the retries that are due ready; returns whether there were any."""
        return self._chunks.wake(now)

    # -- steps

    def _settle_in(self, chunk: Chunk, runs: Sequence[Run]) -> None:
        for first, count in runs:
            chunk.left.remove(first, count)
            if first < self._first:
                self._again.settle(first)
            else:
                self._mark.settle(first, count, chunk.batch, first - chunk.first)
        if not chunk.left:
            self._chunks.remove(chunk)
        elif chunk.state is not State.LEASED:
            self._chunks.replace(chunk, list(chunk.left))

    @staticmethod
    def _is_newest(chunk: Chunk, holder: str, failure: FailedAttempt) -> bool:
        held = chunk.state is State.LEASED and chunk.holder == holder
        return held and failure.attempt == chunk.attempt and failure.offset in chunk.left

    def _abandon(self, chunk: Chunk, failure: FailedAttempt) -> AbandonedJob:
        offset = failure.offset
        cursor, batch = self.cursor_of(offset), chunk.batch.slice(offset - chunk.first, 1)
        job = AbandonedJob(offset, cursor, failure.attempt, failure.kind, failure.error, failure.message,
                           failure.traceback, chunk.holder, batch, self._again.rounds_of(offset) + 1)
        self._settle_in(chunk, [(offset, 1)])
        return job

    def _retry(self, chunk: Chunk, failed: Mapping[int, FailedAttempt], now: float) -> None:
        """Neighbours that ask for the same time are retried together, when the first of them is due."""
        together: dict[int, Runs] = {}
        for offset, failure in failed.items():
            together.setdefault(failure.retry_ms, Runs()).add(offset, 1)
        for part in self._chunks.split_off(chunk, [run for runs in together.values() for run in runs]):
            part.attempt += 1
            part.state = State.DELAYED
            part.due = now + (seconds_until_next(failed[part.first], self.attempts) or 0.0)
            self._chunks.insert(part)

    def _suspect(self, chunk: Chunk, suspicion: Suspicion) -> None:
        if self._hand_over(chunk):
            chunk.suspicion = suspicion
            return
        for part in self._chunks.split_off(chunk, suspicion.split(list(chunk.left))):
            part.suspicion = suspicion
            self._chunks.insert(part)

    def _lease_again(self, part: Chunk, holder: str, request: int, now: float) -> None:
        # Granted before this request, which lists it; never 0, with which its report of success would not count.
        part.state, part.holder, part.granted_by_seq, part.since = State.LEASED, holder, max(1, request - 1), now
        part.suspicion = part.suspicion.withdrawn()
        self._chunks.insert(part)

    def _hand_over(self, chunk: Chunk) -> bool:
        """If a second slave has it as well, it alone has it from now on; whether that is so."""
        backup = self.backups.pop(chunk.first) if self.backups.leases else None
        if backup is None:
            return False
        self._chunks.hand_over(chunk, backup.holder, backup.granted_by_seq, backup.since)
        return True

    def _requeue(self, chunk: Chunk, runs: list[Run]) -> None:
        if self._hand_over(chunk):
            return
        for part in self._chunks.split_off(chunk, runs):
            self._chunks.insert(part)

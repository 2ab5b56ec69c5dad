"""Broken second leases."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from taskmaster.core import wire
from taskmaster.core.abandoned import AbandonedJob
from taskmaster.core.backup_policy import BackupPolicy, overdue
from taskmaster.core.chunks import Chunk
from taskmaster.core.dispatch import Dispatcher
from taskmaster.core.runs import Run
from taskmaster.core.window import Settled, Window


class _HastyPolicy(BackupPolicy):
    @property
    def is_tail(self) -> bool:
        window = self._window
        return not window.ready and not window.suspects and window.next_due() is None


class _EagerPolicy(BackupPolicy):
    def any_due(self, now: float) -> bool:
        if self.is_tail:
            self._overdue = overdue(self._window.leases(), 0.0, now)
        return super().any_due(now)


class _GreedyPolicy(BackupPolicy):
    @property
    def is_tail(self) -> bool:
        return self._window.pulled_all and not self._window.ready and not self._window.suspects


class _WithPolicy(Dispatcher):
    policy: type[BackupPolicy]

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        if self._leasing._backups is not None:
            self._leasing._backups = self.policy(self.window)


class BacksUpBeforeTheEnd(_WithPolicy):
    """Does not wait until the source has ended."""

    policy = _HastyPolicy


class BacksUpWhatHasJustBegun(_WithPolicy):
    """Whatever is running is late."""

    policy = _EagerPolicy


class BacksUpWhileRetriesWait(_WithPolicy):
    """Does not keep slaves free for the next attempts of failed jobs."""

    policy = _GreedyPolicy


class CountsBothResults(Window):
    """Counts a job as handled once for each of its two slaves."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._twice: set[int] = set()

    def lease_backup(self, chunk: Chunk, holder: str, granted_by_seq: int, now: float) -> Chunk:
        job = super().lease_backup(chunk, holder, granted_by_seq, now)
        self._twice.add(job.first)
        return job

    def settle(self, holder: str, first: int, count: int) -> Settled:
        done = super().settle(holder, first, count)
        again = sum(1 for at in self._twice if first <= at < first + count) if done.repeated == count else 0
        return Settled(done.fresh + again, done.repeated - again, done.drops, done.runs)


class ChargesTheFirstOfTwoFailures(Window):
    """Does not wait for the other slave."""

    def fail(
        self, holder: str, failures: Iterable[wire.FailedAttempt], now: float,
    ) -> tuple[list[AbandonedJob], int]:
        for failure in failures:
            self.backups.pop(failure.offset)
        return super().fail(holder, failures, now)


class RequeuesWhatTheSecondRuns(Window):
    """When the first slave is gone, a third one is given the job."""

    def _suspect(self, chunk: Chunk, suspicion: Any) -> None:
        self.backups.pop(chunk.first)
        super()._suspect(chunk, suspicion)

    def _requeue(self, chunk: Chunk, runs: list[Run]) -> None:
        self.backups.pop(chunk.first)
        super()._requeue(chunk, runs)


class BacksUpForEver(Window):
    """Each time a second slave has failed, another is tried."""

    def lease_backup(self, chunk: Chunk, holder: str, granted_by_seq: int, now: float) -> Chunk:
        job = super().lease_backup(chunk, holder, granted_by_seq, now)
        job.backed_up = False
        return job

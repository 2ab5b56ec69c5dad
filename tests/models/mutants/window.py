"""Broken windows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from taskmaster.core import wire
from taskmaster.core.abandoned import AbandonedJob
from taskmaster.core.blame import Suspicion
from taskmaster.core.chunks import Chunk, State
from taskmaster.core.codec import Batch
from taskmaster.core.runs import Run, Runs
from taskmaster.core.watermark import Watermark
from taskmaster.core.window import Settled, Window


class RenewsBySession(Window):
    """A slave that is heard keeps everything it was ever granted."""

    def renew(self, holder: str, request: int, held: Runs) -> int:
        return 0


class RequeuesNothing(Window):
    """Dead slaves keep their leases."""

    def forfeit(self, holder: str, how: str, blame: bool) -> list[AbandonedJob]:
        return []


class LateFailureOverridesLateSuccess(Window):
    """Only the holder's success counts, but anybody's failure."""

    def settle(self, holder: str, first: int, count: int) -> Settled:
        chunk = self._chunks.at(first)
        if chunk is None or chunk.holder != holder:
            return Settled(0, count, ())
        return super().settle(holder, first, count)

    @staticmethod
    def _is_newest(chunk: Chunk, holder: str, failure: wire.FailedAttempt) -> bool:
        return failure.offset in chunk.left


class LateFailureCounts(Window):
    """The failure of an earlier attempt counts against the present one."""

    @staticmethod
    def _is_newest(chunk: Chunk, holder: str, failure: wire.FailedAttempt) -> bool:
        return chunk.state is State.LEASED and failure.offset in chunk.left


class SettlesWhatWasNeverLeased(Window):
    """Whoever reports a job as done is believed."""

    def settle(self, holder: str, first: int, count: int) -> Settled:
        for chunk in self._chunks.crossing(first, count):
            chunk.granted_by_seq = chunk.granted_by_seq or 1
        return super().settle(holder, first, count)


class SettlesWhatFailed(Window):
    """A failed attempt settles the job silently."""

    def fail(
        self, holder: str, failures: Iterable[wire.FailedAttempt], now: float,
    ) -> tuple[list[AbandonedJob], int]:
        for failure in failures:
            self.settle(holder, failure.offset, 1)
        return [], 0


class HastyWatermark(Watermark):
    """Moves with any settled job."""

    def settle(self, first: int, count: int, batch: Batch | None = None, index: int = 0) -> None:
        super().settle(self.offset, max(1, first + count - self.offset))


class WatermarkPassesAnUnsettledJob(Window):
    """Its watermark is hasty."""

    def __init__(self, first: int, size: int, most_bytes: int, attempts: int) -> None:
        super().__init__(first, size, most_bytes, attempts)
        self._mark = HastyWatermark(first)


class WatermarkPassesARetry(Window):
    """The watermark does not wait for jobs that wait for their next attempt."""

    def _retry(self, chunk: Chunk, runs: list[Run], now: float) -> None:
        super()._retry(chunk, runs, now)
        for first, count in runs:
            self._mark.settle(first, count)


class ForgetsTheSpan(Window):
    """Bounds what is unsettled instead of the span: behind a stuck job the rest runs on without end."""

    def room(self) -> int:
        return self.size - self.in_flight


class PutsSettledJobsBack(Window):
    """Takes back the whole lease, including its settled jobs."""

    def _requeue(self, chunk: Chunk, runs: list[Run]) -> None:
        super()._requeue(chunk, [(chunk.first, chunk.count)])


class BlamesTheNeighbours(Window):
    """Blames a slave's death on the neighbours of the job that caused it, too."""

    def _suspect(self, chunk: Chunk, suspicion: Suspicion) -> None:
        deaths = min(chunk.suspicion.isolated_deaths + 1, self.attempts - 1)
        runs = [(offset, 1) for first, count in chunk.left for offset in range(first, first + count)]
        for part in self._chunks.split_off(chunk, runs):
            part.suspicion = replace(suspicion, isolated=True, isolated_deaths=deaths)
            self._chunks.insert(part)


class ChargesWithoutEvidence(Window):
    """Takes each death for the work of a job: also a lost connection, or a kill from outside."""

    def forfeit(self, holder: str, how: str, blame: bool) -> list[AbandonedJob]:
        return super().forfeit(holder, how, True)


class ChargesNobody(Window):
    """Ignores the evidence."""

    def forfeit(self, holder: str, how: str, blame: bool) -> list[AbandonedJob]:
        return super().forfeit(holder, how, False)


class ReadoptsNothing(Window):
    """A slave that returns drops all that it has."""

    def readopt(self, holder: str, request: int, held: Runs, now: float) -> Runs:
        return Runs()


class ReadoptsByWord(Window):
    """A slave that returns keeps what it has, and the others are given it, too."""

    def readopt(self, holder: str, request: int, held: Runs, now: float) -> Runs:
        return held

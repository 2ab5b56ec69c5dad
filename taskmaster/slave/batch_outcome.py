"""What a call of the handler means for each of the jobs that it had."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from taskmaster.core.result_codec import encode_result
from taskmaster.core.runs import Run, Runs
from taskmaster.core.wire import FailedAttempt
from taskmaster.slave.job_batch import JobBatch
from taskmaster.slave.slice import Slice

Describe = Callable[[int, BaseException], FailedAttempt]
"""Makes the failure of the job with this offset."""


class WrongResults(TypeError):
    """A handler of batches returned something other than one result for each job."""


@dataclass(frozen=True)
class BatchOutcome:
    """What became of the `jobs` with these numbers, in offsets.

    `results` has, for each run that settled, the lines of what was returned for it; it is empty if nobody wants them.
    """

    jobs: list[Run] = field(default_factory=list)
    settled: list[Run] = field(default_factory=list)
    results: list[bytes] = field(default_factory=list)
    failed: list[FailedAttempt] = field(default_factory=list)


def of_result(batch: JobBatch, jobs: Run, result: Any, describe: Describe) -> BatchOutcome:
    """The handler returned this for these jobs. Raises WrongResults."""
    outcome = BatchOutcome([jobs])
    parts = batch.parts(jobs)
    if not batch.results:
        outcome.settled.extend([(part.first, part.count) for part in parts])
        return outcome
    values = iter(_one_for_each(jobs[1], result))
    for part in parts:
        _keep_results(part, values, outcome, describe)
    return outcome


def of_error(batch: JobBatch, jobs: Run, error: BaseException, describe: Describe) -> BatchOutcome:
    """All of these jobs have failed in this way."""
    return BatchOutcome([jobs], failed=[describe(offset, error) for offset in batch.offsets(jobs)])


def _one_for_each(jobs: int, result: Any) -> Iterable[Any]:
    if result is None:
        return [None] * jobs
    if not isinstance(result, (list, tuple)):
        raise WrongResults(f"The handler returned a {type(result).__name__} for {_plural(jobs, 'job')}. Return None, "
                           "or a list with one result for each job, in their order.")
    if len(result) != jobs:
        raise WrongResults(f"The handler returned {_plural(len(result), 'result')} for {_plural(jobs, 'job')}. Return "
                           "one for each job, in their order, or None.")
    return result


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _keep_results(part: Slice, values: Iterator[Any], outcome: BatchOutcome, describe: Describe) -> None:
    """The results of this part are next in `values`. A job whose result JSON cannot hold has failed."""
    good, lines = Runs([(part.first, part.count)]), []
    for offset in range(part.first, part.first + part.count):
        try:
            lines.append(encode_result(next(values)))
        except BaseException as error:
            lines.append(b"")
            good.remove(offset, 1)
            outcome.failed.append(describe(offset, error))
    for first, count in good:
        outcome.settled.append((first, count))
        outcome.results.append(b"".join(lines[first - part.first:first - part.first + count]))

"""Decides from facts alone when and how a run ends: the server's loop gathers them and does the rest."""

from __future__ import annotations

from dataclasses import dataclass, replace

from taskmaster.core.budget import FailureBudget
from taskmaster.core.codec import BadJob
from taskmaster.errors import (EXIT_DONE, EXIT_DONE_WITH_FAILURES, EXIT_ERROR, EXIT_INTERRUPTED, EXIT_SOURCE_FAILED,
                               EXIT_TOO_MANY_FAILURES, TaskmasterError)


@dataclass(frozen=True)
class Ending:
    """How a run ends.

    `code` is the exit code, `reason` what the slaves are told, `error` what the user is told. With `drains`, the jobs
    that were handed out are finished first, including retries. A run is `finished` when its source is
    exhausted and every job is settled. With `keeps_slaves`, slaves are left to wait for the next master. After one that
    `tries_again`, the next run begins with the failed jobs.
    """

    code: int
    reason: str
    error: BaseException | None = None
    drains: bool = False
    finished: bool = False
    keeps_slaves: bool = False
    tries_again: bool = False


INTERRUPTED = Ending(EXIT_INTERRUPTED, "the master was interrupted", drains=True, keeps_slaves=True)
TOO_MANY_FAILURES = Ending(EXIT_TOO_MANY_FAILURES, "too many jobs failed", tries_again=True)


@dataclass(frozen=True)
class Facts:
    """The facts that decide how a run ends, at one moment.

    `source_end` is how the run ends once nothing is in flight, None while the source may yield more. `settled` says
    that nothing is in flight. `handled` and `failed` count the jobs of this run, `failed_before` those of earlier runs
    that are still in the failures file. `crew_verdict` is the exit code of this process's own slaves once all of them
    have ended for good. `state_lost` is why nothing can be saved now.
    """

    interrupted: bool = False
    source_end: Ending | None = None
    settled: bool = False
    handled: int = 0
    failed: int = 0
    failed_before: int = 0
    crew_verdict: int | None = None
    state_lost: TaskmasterError | None = None


def ending_for(facts: Facts, budget: FailureBudget) -> Ending | None:
    """How the run ends now; None when it continues."""
    if facts.state_lost is not None:
        return Ending(facts.state_lost.exit_code, "the master's state is gone", facts.state_lost)
    done = facts.source_end if facts.settled else None
    if facts.crew_verdict is not None and done is None:
        return _crew_ended(facts.crew_verdict)
    if facts.interrupted:
        return INTERRUPTED
    if budget.spent(facts.failed, facts.failed + facts.handled):
        return TOO_MANY_FAILURES
    if done is not None and done.code == EXIT_DONE and facts.failed + facts.failed_before:
        return replace(done, code=EXIT_DONE_WITH_FAILURES)
    return done


def source_exhausted(limited: bool) -> Ending:
    """The source has no more jobs; or, when `limited`, no more are wanted in this run."""
    return Ending(EXIT_DONE, "all jobs are done", finished=not limited)


def source_failed(error: BaseException) -> Ending:
    """The source raised a SourceError or StateMismatch of ours, or anything of the user's."""
    code = error.exit_code if isinstance(error, TaskmasterError) else EXIT_SOURCE_FAILED
    return Ending(code, "the source failed", error)


def first_job_unsendable(bad: BadJob) -> Ending:
    """The very first job cannot be encoded: most likely none can, so the run ends at once."""
    return Ending(EXIT_ERROR, "its first job cannot be sent", TaskmasterError(
        f"The very first job {bad.message} ({bad.error}). Yield something that can be encoded, such as an id or a "
        "path, and let the handler build the rest from it."))


def _crew_ended(verdict: int) -> Ending:
    error = TaskmasterError("All slaves have ended; their messages are above. The run can be resumed.")
    return Ending(verdict or EXIT_ERROR, "all slaves have ended", error)

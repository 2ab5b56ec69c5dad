"""Results to a function of the user's: `handle_result(job, result)`, called in the master for one job after another.

A checkpoint follows its calls, so a crash repeats the calls since the last one: each result is handed over *at least
once*. Offsets only rise in a run that is in order, also across resumes until a crash takes them back. So a function
that stores `job.offset` together with what it makes of the result, in one transaction, and ignores what is not above
the stored one, has each result *exactly once*. In an unordered run it upserts by `job.offset` instead.

An exception of the function ends the run: the master cannot know whether to go on without that result, and a retry
would not fix it. The run is resumable, and begins with the same result, or one shortly before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from taskmaster.core.exceptions import message_of, type_name
from taskmaster.core.portable import thaw
from taskmaster.core.results import Results
from taskmaster.core.runs import Runs
from taskmaster.errors import ResultHandlerError
from taskmaster.job import NO_CURSOR
from taskmaster.sinks.decoding import decoded


@dataclass(frozen=True)
class FinishedJob:
    """The job that a result belongs to. Its cursor is offset + 1 unless it has one of its own."""

    offset: int
    cursor: Any


class Callback:
    """A `Sink`. The mark is empty, for the user's function has no way back."""

    def __init__(self, handle_result: Callable[[FinishedJob, Any], object]) -> None:
        self._handle_result = handle_result
        self._called = Runs()  # the offsets since the last flush: after an OSError of others, they are not repeated

    def open(self, mark: Any | None) -> None:
        """There is nothing to cut back."""

    def write(self, results: Iterable[Results]) -> None:
        """Also raises ResultHandlerError, with what the function raised as its cause. Failed jobs are left out."""
        for one in results:
            if not one.failed:
                self._hand_over(one)

    def _hand_over(self, results: Results) -> None:
        for offset, result in decoded(results):
            if offset not in self._called:
                cursor = NO_CURSOR if results.cursors is None else thaw(results.cursors[offset - results.first])
                self._call(FinishedJob(offset, offset + 1 if cursor is NO_CURSOR else cursor), result)
                self._called.add(offset, 1)

    def _call(self, job: FinishedJob, result: Any) -> None:
        try:
            self._handle_result(job, result)
        except BaseException as error:  # SystemExit, too, must not end this thread without a word
            what = ": ".join(filter(None, (type_name(error), message_of(error))))
            raise ResultHandlerError(f"handle_result raised for the result of job {job.offset}: {what}. Fix it, then "
                                     "run the same command again to resume.") from error

    def flush(self) -> Any:
        self._called = Runs()
        return {}

    def close(self) -> None:
        """There is nothing to let go of."""

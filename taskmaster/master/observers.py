"""The observers of a run: the progress line, the log, and any others that a master is given.

A new kind of observer is a class with the three methods of `Observer`. All are called in the server's loop.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from taskmaster import defaults
from taskmaster.console.paths import shown_path
from taskmaster.console.progress import Progress
from taskmaster.console.text import plural
from taskmaster.core.abandoned import AbandonedJob
from taskmaster.core.failure import show
from taskmaster.core.printable import one_line
from taskmaster.core.stats import Stats

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobAbandoned:
    """A job failed for good, or could not be sent."""

    job: AbandonedJob


@dataclass(frozen=True)
class DrainStarted:
    """The run was interrupted: running jobs will be finished, and no new ones are handed out."""


Event = JobAbandoned | DrainStarted


class Observer(Protocol):
    """Watches a run. If a call raises, that is logged, and only `close` is called afterwards; the run continues."""

    def saw(self, stats: Stats) -> None:
        """The run as it is now. Called about every SHOW_SECONDS."""

    def happened(self, event: Event) -> None:
        """Something notable. Called immediately."""

    def close(self, stats: Stats | None) -> None:
        """The run is over, and these are its last stats; None if it never began. Called once."""


class ProgressLine:
    """Draws the stats as a progress line."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def saw(self, stats: Stats) -> None:
        self._progress.draw(stats)

    def happened(self, event: Event) -> None:
        """Not shown."""

    def close(self, stats: Stats | None) -> None:
        self._progress.close(stats)


class EventLog:
    """Logs events, but only the first FAILURES_LOGGED failures: all are in the failures file, if there is one."""

    def __init__(self, failures_file: Path | None) -> None:
        self._where = f"; see {shown_path(failures_file)}" if failures_file is not None else ""
        self._failures = 0

    def saw(self, stats: Stats) -> None:
        """Not logged."""

    def happened(self, event: Event) -> None:
        match event:
            case JobAbandoned(job):
                self._log_failure(job)
            case DrainStarted():
                log.info("Finishing running jobs; press Ctrl-C again to quit immediately")

    def close(self, stats: Stats | None) -> None:
        """Not logged: the summary follows."""

    def _log_failure(self, job: AbandonedJob) -> None:
        self._failures += 1
        if self._failures <= defaults.FAILURES_LOGGED:
            last = self._failures == defaults.FAILURES_LOGGED
            log.warning("%s%s%s", _sentence(job), self._where, "; further failures are not logged" if last else "")


class Observers:
    """Several observers as one that never raises."""

    def __init__(self, observers: Iterable[Observer]) -> None:
        self._all = list(observers)
        self._sound = self._all  # those that have not raised
        self._closed = False

    def saw(self, stats: Stats) -> None:
        self._tell(lambda one: one.saw(stats))

    def happened(self, event: Event) -> None:
        self._tell(lambda one: one.happened(event))

    def close(self, stats: Stats | None) -> None:
        """Close all of them, also those that raised before. Later calls do nothing."""
        if not self._closed:
            self._closed, self._sound = True, self._all
            self._tell(lambda one: one.close(stats))

    def _tell(self, tell: Callable[[Observer], None]) -> None:
        self._sound = [one for one in self._sound if _told(one, tell)]


def _told(observer: Observer, tell: Callable[[Observer], None]) -> bool:
    try:
        tell(observer)
    except Exception:
        log.exception("%s raised an error and is no longer used; the run continues", type(observer).__name__)
        return False
    return True


def _sentence(job: AbandonedJob) -> str:
    """As in "Job 1858 (cursor 2044) failed after 3 attempts: ValueError: no such row"."""
    place = f" (cursor {show(job.cursor):.80})" if job.cursor != job.offset + 1 else ""
    failed = f"failed after {plural(job.attempts, 'attempt')}" if job.attempts else "could not be sent"
    return f"Job {job.offset}{place} {failed}: {one_line(job.error)}: {one_line(job.message[:200])}"

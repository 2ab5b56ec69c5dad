"""The state of a run on disk, as the server sees it: resumes it, keeps it up to date, closes it."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from taskmaster import defaults
from taskmaster.core.abandoned import AbandonedJob
from taskmaster.core.failure import FailureRecord
from taskmaster.core.pending_results import PendingResults, ResultsToSave
from taskmaster.core.portable import digest, freeze
from taskmaster.core.results import Results
from taskmaster.core.selection import Selection
from taskmaster.core.settled import Above, Snapshot
from taskmaster.core.window import Window
from taskmaster.core.window_view import ResumePoint
from taskmaster.errors import StateMismatch, StateUnwritable, TaskmasterError
from taskmaster.job import NO_CURSOR
from taskmaster.master.state.chances import Chances, new_chances, with_selected
from taskmaster.master.state.checkpoint import Checkpoint
from taskmaster.master.state.failures import FailuresFile
from taskmaster.master.state.folder import StateFolder
from taskmaster.master.state.payloads import PayloadReader
from taskmaster.master.state.recorder import Abandoned, FailureRecorder
from taskmaster.master.state.results_log import ResultsLog
from taskmaster.master.state.writer import StateWriter
from taskmaster.master.workload import Identity

log = logging.getLogger(__name__)


class RunState:
    """A StateStore in a folder. No method but `open`, `begin` and `close` waits for the disk or runs the user's code.

    `wake` is called, in another thread, each time something became durable.
    """

    def __init__(self, path: Path, identity: Identity, wake: Callable[[], None],
                 results: ResultsLog | None = None) -> None:
        self.path = path
        self.failed_before = 0
        self.handed_out_before = 0
        self._identity = identity
        self._payloads = PayloadReader()
        self._folder = StateFolder(path)
        self._failures = FailuresFile(self._folder.failures_path, self._folder.verify)
        recorder = FailureRecorder(self._failures, identity.handler, self._payloads)
        self._results = results
        self._writer = StateWriter(self._folder, recorder, wake, results=results)
        self._last: Checkpoint | None = None
        self._offered_at = 0.0
        self._offered_settled = 0
        self.first_offset = 0
        self.settled_before = Above()
        self.results_before: Sequence[Results] = ()
        self._waiting_bytes = 0  # of results that no checkpoint can free yet
        self._chances = Chances()
        self._any_settled_again = False
        self._started = False

    @property
    def failures_path(self) -> Path:
        return self._folder.failures_path

    @property
    def run(self) -> str:
        assert self._last is not None
        return self._last.run

    @property
    def epoch(self) -> int:
        assert self._last is not None
        return self._last.epoch

    @property
    def trouble(self) -> str | None:
        return self._writer.trouble

    @property
    def results_bytes(self) -> int:
        return self._writer.results_bytes

    @property
    def lost(self) -> TaskmasterError | None:
        reason = self._writer.lost
        return self._writer.fatal if reason is None else StateUnwritable(
            f"The state in {self.path} cannot be saved any more: {reason}. Jobs settled since the last checkpoint will "
            "run again. If nobody else is using it, put the folder back, and run the same command again to resume.")

    def open(self, reset: bool) -> Checkpoint | None:
        """Lock the folder and read the last checkpoint. Raises StateUnwritable, StateMismatch."""
        self._folder.open()
        if reset:
            self._folder.reset()
        found = self._folder.load()
        if found is not None:
            self._folder.check(found, self._identity.target, self._identity.arguments)
        return found

    def begin(self, found: Checkpoint | None, first_offset: int, retry: Selection | None = None) -> None:
        """Save a new epoch, so that it is durable before any slave can hear of it. Raises StateUnwritable."""
        before = found or Checkpoint(os.urandom(16).hex(), 0, first_offset, target=self._identity.target,
                                     arguments=self._identity.arguments)
        self.first_offset = first_offset if before.first_offset is None else before.first_offset
        above = before.above if isinstance(before.above, Above) else before.above.above()
        sink, self.settled_before, self.results_before = self._open_results(before.sink, above)
        try:
            self._take_over_failures(before, retry)
            self._last = replace(before, epoch=before.epoch + 1,
                                 finished=before.finished and retry is not None, written_at=time.time(),
                                 cursor=freeze(before.cursor) if before.has_cursor else None,
                                 first_offset=self.first_offset, above=self.settled_before, stopped=False,
                                 chances=self._chances.runs, chances_epoch=self._chances.epoch,
                                 tried=self._chances.tried, sink=sink)
            self._folder.save(self._last)
            if before.stopped:  # only now: what is no longer settled must not lose its record before that is durable
                self.failed_before = self._failures.prune(before.offset, self.settled_before)
        except OSError as error:
            raise self._folder.unwritable(error) from error
        marked = self._folder.handed_out.read()
        self.handed_out_before = before.offset if marked is None else max(before.offset, marked)

    def _take_over_failures(self, before: Checkpoint, retry: Selection | None) -> None:
        """Drop the records that do not count any more, and find those whose jobs are to be tried again."""
        old = Chances.of(before)
        self.failed_before = self._failures.prune(before.offset, self.settled_before, old.is_obsolete)
        self._chances = old.pruned()
        if before.stopped or len(old):
            self._chances, above = new_chances(before, self._failures.read())
            self.settled_before = self.settled_before.without([(offset, 1) for offset in above])
        if retry is not None:
            self._chances = with_selected(self._chances, before, self._failures.read(), retry)

    @property
    def chances(self) -> int:
        return len(self._chances)

    def to_try_again(self) -> Iterator[FailureRecord]:
        chances = self._chances.pruned()  # a copy for another thread
        return filter(chances.wants, self._failures.read()) if len(chances) else iter(())

    def _open_results(self, saved: Any, above: Above) -> tuple[Any, Above, Sequence[Results]]:
        """What to save of them; which of the jobs above are still settled; and the results that wait."""
        if self._results is not None:
            try:
                return self._results.open(saved, above)
            except OSError as error:
                raise StateUnwritable(f"The results cannot be written: {error}.") from error
        if saved is not None:
            raise StateMismatch(f"This run writes its results to {saved['place']}. Resume it in the same way, as with "
                                "--results, or start over with --reset.")
        return None, above, ()

    def start(self) -> None:
        self._writer.start()
        self._started = True

    def handed_out(self, offset: int) -> None:
        """Noted before the jobs leave, so that the next run can count its replays."""
        self._folder.handed_out.note(offset - 1)

    def abandon(self, jobs: Sequence[AbandonedJob]) -> None:
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        self._writer.record([Abandoned(job, now, self.epoch) for job in jobs])

    def offer(self, window: Window, counters: Mapping[str, int], now: float, finished: bool = False,
              stopped: bool = False, results: PendingResults | None = None) -> None:
        assert self._last is not None
        point = self._resume_point(window, now, results)
        to_save = ResultsToSave() if results is None else results.to_save(window.watermark, window.head, point.whole)
        self._waiting_bytes = 0 if results is None else results.bytes
        again = window.take_settled_again()
        self._any_settled_again |= len(again) > 0
        self._chances.settle(again)
        self._offered_at = now
        self._offered_settled = window.settled if point.complete else -1  # -1: there is more to save
        moved = point.cursor is not NO_CURSOR
        unread = self.settled_before.entries_from(window.head) if self._is_above_unread(window.head) else ()
        self._last = replace(
            self._last, offset=point.offset, cursor=point.cursor if moved else self._last.cursor,
            has_cursor=moved or self._last.has_cursor, counters=dict(counters),
            digest=self._last.digest if window.head == self._last.offset else None,  # nothing was pulled
            finished=finished or self._last.finished,
            written_at=time.time(), above=Snapshot(point.above.entries + unread), stopped=stopped,
            chances=self._chances.runs, tried=self._chances.tried)
        plain = point.offset == window.watermark
        self._writer.offer(self._last, self._digest_of_next(window) if plain else None, to_save)

    def _resume_point(self, window: Window, now: float, results: PendingResults | None) -> ResumePoint:
        """Without an order, results above the watermark are in the sink: then the checkpoint has to say so."""
        unordered = results is not None and not results.in_order
        crowded = window.kept_bytes > defaults.KEPT_BYTES
        whole = unordered or crowded or self._is_above_unread(window.watermark)
        return window.resume_point(now, whole=whole or None)

    def _is_above_unread(self, offset: int) -> bool:
        """Whether an earlier run settled jobs at or above `offset`, above its own watermark."""
        end = self.settled_before.end
        return end is not None and offset < end

    def due(self, window: Window, now: float) -> bool:
        due = self.next_due(window)
        if due is None:
            return False
        # What is settled above a slow job is kept in memory until a checkpoint has been made of it; its results, until
        # their turn comes, so those which have waited since the last checkpoint are no reason for another.
        kept = max(window.kept_bytes, 4 * (window.results_bytes - self._waiting_bytes))
        crowded = kept > defaults.KEPT_BYTES and self._writer.behind_since() is None
        return now >= due or (crowded and now >= self._offered_at + defaults.CROWDED_CHECKPOINT_SECONDS)

    def next_due(self, window: Window) -> float | None:
        assert self._last is not None
        return self._offered_at + defaults.CHECKPOINT_SECONDS if window.settled > self._offered_settled else None

    def behind(self, now: float) -> bool:
        since = self._writer.behind_since()
        return since is not None and now - since > defaults.UNSAVED_SECONDS

    @property
    def saved(self) -> bool:
        return self._writer.behind_since() is None

    def close(self, seconds: float) -> bool:
        durable = self._writer.close(seconds) if self._started else True
        if self._results is not None:
            self._results.close()
        if durable and self._any_settled_again:
            self._drop_obsolete_records()
        self._folder.close()
        return durable

    def _drop_obsolete_records(self) -> None:
        self._any_settled_again = False
        try:
            self._failures.drop(self._chances.is_obsolete)
        except OSError as error:
            log.warning("%s still has jobs that were handled since (%s); the next run will remove them.",
                        self.failures_path, error)

    def _digest_of_next(self, window: Window) -> Callable[[], str | None] | None:
        """Makes the digest of the first unfinished job, with which a resume compares what the source yields there.

        Only for plain jobs: a cursor of its own identifies a job's place by itself.
        """
        read = window.first_unfinished() if window.next_is_plain else None
        return None if read is None else partial(_digest, self._payloads, read)


def _digest(payloads: PayloadReader, read: Callable[[], object]) -> str | None:
    """None where decoding fails or takes too long; the slave that decodes the job will report what is wrong."""
    [found] = payloads.each(lambda payload: digest(payload()), [read])
    return found

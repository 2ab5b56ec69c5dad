"""Broken run states and state writers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from models.inside import cursor_of

from taskmaster.core.selection import Selection
from taskmaster.core.settled import Snapshot
from taskmaster.core.window import Window
from taskmaster.master.state.chances import Chances
from taskmaster.master.state.checkpoint import Checkpoint
from taskmaster.master.state.run_state import RunState
from taskmaster.master.state.writer import StateWriter


class CheckpointsWhatWasDispatched(RunState):
    """Counts what was handed out as settled, like the ancestor of this project."""

    _out = 0

    def handed_out(self, offset: int) -> None:
        self._out = offset
        super().handed_out(offset)

    def offer(self, *args: Any, **options: Any) -> None:
        super().offer(*args, **options)
        assert self._last is not None
        self._last = replace(self._last, offset=max(self._last.offset, self._out))
        self._writer.offer(self._last)


class SavesTheCursorOfTheHead(RunState):
    """Resumes after the job that was pulled last."""

    def offer(self, window: Window, *args: Any, **options: Any) -> None:
        super().offer(window, *args, **options)
        assert self._last is not None
        if self._last.has_cursor:
            self._last = replace(self._last, cursor=cursor_of(window, window.head - 1))
            self._writer.offer(self._last)


class KeepsItsEpoch(RunState):
    """Does not begin a new epoch."""

    def begin(self, found: Checkpoint | None, first_offset: int, retry: Selection | None = None) -> None:
        super().begin(replace(found, epoch=found.epoch - 1) if found and found.epoch else found, first_offset, retry)


class NeverHolds(RunState):
    """Never says that it is behind, so jobs are handed out whether or not anything can be saved."""

    def behind(self, now: float) -> bool:
        return False


class KeepsFailuresOfJobsThatRunAgain(RunState):
    """Leaves failures in the file although their jobs run again."""

    def begin(self, found: Checkpoint | None, first_offset: int, retry: Selection | None = None) -> None:
        self._failures.prune = lambda watermark, above=(), obsolete=None: 0  # type: ignore[method-assign, assignment]
        super().begin(found, first_offset, retry)


class ForgetsWhatIsAbove(RunState):
    """Saves the watermark alone: what is settled above a slow job is repeated."""

    def offer(self, window: Window, *args: Any, **options: Any) -> None:
        super().offer(window, *args, **options)
        assert self._last is not None
        self._last = replace(self._last, above=Snapshot())
        self._writer.offer(self._last)


class ForgetsWhatIsUnread(RunState):
    """Saves of what an earlier run settled only what its source has already yielded again."""

    def offer(self, window: Window, *args: Any, **options: Any) -> None:
        super().offer(window, *args, **options)
        assert self._last is not None and isinstance(self._last.above, Snapshot)
        read = tuple(one for one in self._last.above.entries if one.first < window.head)
        self._last = replace(self._last, above=Snapshot(read))
        self._writer.offer(self._last)


class TriesNothingAgain(RunState):
    """Ignores that too many failures stopped the last run."""

    def begin(self, found: Checkpoint | None, first_offset: int, retry: Selection | None = None) -> None:
        super().begin(found and replace(found, stopped=False), first_offset, retry)


class RetriesAllButTheLast(RunState):
    """Asked to try failed jobs again, it leaves out the last of them."""

    def begin(self, found: Checkpoint | None, first_offset: int, retry: Selection | None = None) -> None:
        super().begin(found, first_offset, retry)
        if retry is not None and self._chances.runs:
            self._chances = Chances(self._chances.runs[:-1], self._chances.epoch)


class TriesAgainWithoutARecord(RunState):
    """Drops a failure from the file as soon as its job has another chance."""

    def begin(self, found: Checkpoint | None, first_offset: int, retry: Selection | None = None) -> None:
        super().begin(found, first_offset, retry)
        self._failures.drop(self._chances.wants)


class DropsRecordsTooEarly(RunState):
    """Drops those of jobs that are to be pulled again before a checkpoint says that they are no longer settled."""

    def _take_over_failures(self, before: Checkpoint) -> None:
        super()._take_over_failures(before)
        self._failures.prune(before.offset, self.settled_before)


class KeepsRecordsOfHandledJobs(RunState):
    """Leaves failures in the file although their jobs were handled since."""

    def _drop_obsolete_records(self) -> None:
        pass


class ForgetsWhichWereTriedAgain(RunState):
    """Saves of the failed jobs that all of them are still to be tried again."""

    def begin(self, found: Checkpoint | None, first_offset: int, retry: Selection | None = None) -> None:
        super().begin(found, first_offset, retry)
        self._chances.settle = lambda runs: None  # type: ignore[method-assign]


class SavesBeforeFailures(StateWriter[Any]):
    """Writes the checkpoint first."""

    def _write(self) -> None:
        with self._changed:
            failures, checkpoint = tuple(self._unwritten), self._offered
            self._tried_since, self._fresh_since = self._tried_since or self._fresh_since, None
        if checkpoint is not None:
            self._folder.save(checkpoint)
        if failures:
            self._failures.append(failures)
            with self._changed:
                del self._unwritten[:len(failures)]
        self._settle(checkpoint)


class TakesFailuresOfAnotherMoment(StateWriter[Any]):
    """Takes the newest checkpoint after writing the failures: it may depend on a failure that came later."""

    def _write(self) -> None:
        with self._changed:
            failures = tuple(self._unwritten)
            self._tried_since, self._fresh_since = self._tried_since or self._fresh_since, None
        if failures:
            self._failures.append(failures)
            with self._changed:
                del self._unwritten[:len(failures)]
        with self._changed:
            checkpoint = self._offered
        if checkpoint is not None:
            self._folder.save(checkpoint)
        self._settle(checkpoint)


class LosesFailuresToAFullDisk(StateWriter[Any]):
    """Does not try again to write what could not be written."""

    def _write(self) -> None:
        try:
            super()._write()
        except OSError:
            self._unwritten = []
            raise


class LosesAnOfferMadeWhileItWrites(StateWriter[Any]):
    """Takes everything offered for written, even what was offered meanwhile."""

    def _settle(self, checkpoint: Checkpoint | None) -> None:
        super()._settle(checkpoint)
        with self._changed:
            self._offered, self._fresh_since = None, None

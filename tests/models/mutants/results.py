"""Broken keepers of results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from models.appended_file import AppendedFile

from taskmaster.core.accounting import Accounting
from taskmaster.core.dispatch import Dispatcher
from taskmaster.core.pending_results import PendingResults, ResultsToSave
from taskmaster.core.results import Results
from taskmaster.core.session import Session
from taskmaster.core.window import Settled
from taskmaster.sinks.jsonl import JsonLines


class SavesTheMarkFirst(JsonLines):
    """Returns a mark before the bytes below it are durable."""

    _file: AppendedFile  # type: ignore[assignment]

    def flush(self) -> Any:
        return {"size": len(self._file.write().content)}


class KeepsTheTail(JsonLines):
    """Does not cut the file back to the mark."""

    _file: AppendedFile  # type: ignore[assignment]

    def open(self, mark: Any | None) -> None:
        super().open(None if mark is None else {"size": max(mark["size"], self._file.size)})


class TakesResultsOfEarlierLeases(Accounting):
    """Whatever a slave returns is a result, also of a job that another one has settled."""

    def _settle_run(self, session: Session, first: int, count: int, results: Results | None) -> Settled:
        settled = super()._settle_run(session, first, count, results)
        if settled.repeated and results is not None and self._results is not None:
            self._results.add([results])
        return settled


class CountsLateResults(Dispatcher):
    """Its accounting does not look at whose result comes first."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._accounting = TakesResultsOfEarlierLeases(self.window, self._slaves, self.counts, self.results)


class WritesThemAsTheyCome(PendingResults):
    """Does not wait for the jobs before, although an order was asked for."""

    def take(self, watermark: int) -> list[Results]:
        self.in_order = False
        return super().take(watermark)


class KeepsWhatWaitsInMemory(PendingResults):
    """A checkpoint counts on results behind a slow job that are nowhere but in memory."""

    def to_save(self, watermark: int, head: int, whole: bool) -> ResultsToSave:
        return replace(super().to_save(watermark, head, whole), waiting=(), counts=False)


class ForgetsWhatIsUnread(PendingResults):
    """Saves of the results that an earlier run left only those whose jobs the source has given again."""

    def to_save(self, watermark: int, head: int, whole: bool) -> ResultsToSave:
        found = super().to_save(watermark, head, whole)
        return replace(found, waiting=tuple(one for one in found.waiting if one.first < head))


class DropsWhatItReadsBack(PendingResults):
    """Passes over a job, and forgets its result."""

    def pass_over(self, first: int, count: int, cursors: Sequence[Any] | None) -> None:
        self._before.take(first, count)

"""Observers: each hears everything, one that raises spoils nothing, and events are logged in sentences."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from taskmaster.core.abandoned import AbandonedJob
from taskmaster.core.stats import Stats
from taskmaster.defaults import FAILURES_LOGGED
from taskmaster.master.observers import DrainStarted, EventLog, JobAbandoned, Observers, ProgressLine

STATS = Stats(handled=3)


def abandoned(offset: int = 7, cursor: Any = 8, attempts: int = 3, message: str = "no such row") -> JobAbandoned:
    return JobAbandoned(AbandonedJob(offset, cursor, attempts, "raised", "ValueError", message, "", "vm:1", None))


class Notes:
    """Notes what it hears, and raises at the calls that are named."""

    def __init__(self, *raises: str) -> None:
        self.heard: list[Any] = []
        self._raises = raises

    def _hear(self, name: str, what: Any) -> None:
        self.heard.append((name, what))
        if name in self._raises:
            raise RuntimeError("out of order")

    def saw(self, stats: Stats) -> None:
        self._hear("saw", stats)

    def happened(self, event: Any) -> None:
        self._hear("happened", event)

    def close(self, stats: Stats | None) -> None:
        self._hear("close", stats)


ALL = [("saw", STATS), ("happened", DrainStarted()), ("saw", STATS), ("close", STATS)]


def tell_all(observers: Observers) -> None:
    observers.saw(STATS)
    observers.happened(DrainStarted())
    observers.saw(STATS)
    observers.close(STATS)


def test_each_hears_everything_and_is_closed_once() -> None:
    one, other = Notes(), Notes()
    observers = Observers([one, other])
    tell_all(observers)
    observers.close(None)
    assert one.heard == other.heard == ALL


@pytest.mark.parametrize("raises, hears", [
    ("saw", [ALL[0], ALL[3]]), ("happened", [ALL[0], ALL[1], ALL[3]]), ("close", ALL)])
def test_one_that_raises_is_reported_once_and_only_closed_afterwards(
        raises: str, hears: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    broken, other = Notes(raises), Notes()
    tell_all(Observers([broken, other]))
    assert broken.heard == hears and other.heard == ALL
    assert [record.getMessage() for record in caplog.records] == [
        "Notes raised an error and is no longer used; the run continues"]
    assert caplog.records[0].exc_info


def test_a_progress_line_is_drawn_and_closed() -> None:
    class Progress:
        def __init__(self) -> None:
            self.drawn: list[Any] = []

        def draw(self, stats: Any) -> None:
            self.drawn.append(stats)

        def close(self, stats: Any = None) -> None:
            self.drawn.append(("closed", stats))

        def write(self, line: str) -> None:
            raise AssertionError(line)

    progress = Progress()
    tell_all(Observers([ProgressLine(progress)]))
    assert progress.drawn == [STATS, STATS, ("closed", STATS)]


@pytest.mark.parametrize("event, sentence", [
    (abandoned(), "Job 7 failed after 3 attempts: ValueError: no such row"),
    (abandoned(attempts=1), "Job 7 failed after 1 attempt: ValueError: no such row"),
    (abandoned(18, cursor="row-2044"), "Job 18 (cursor 'row-2044') failed after 3 attempts: ValueError: no such row"),
    (abandoned(1858, cursor=2044), "Job 1858 (cursor 2044) failed after 3 attempts: ValueError: no such row"),
    (abandoned(attempts=0), "Job 7 could not be sent: ValueError: no such row"),
    (abandoned(message="x" * 999), "Job 7 failed after 3 attempts: ValueError: " + "x" * 200),
    (abandoned(cursor="y" * 999), "Job 7 (cursor '" + "y" * 79 + ") failed after 3 attempts: ValueError: no such row"),
    (DrainStarted(), "Finishing running jobs; press Ctrl-C again to quit immediately"),
])
def test_events_are_logged_in_sentences(event: Any, sentence: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        EventLog(None).happened(event)
    assert [record.getMessage() for record in caplog.records] == [sentence]


def test_a_failure_names_the_file_that_records_it(caplog: pytest.LogCaptureFixture) -> None:
    EventLog(Path("state/failures.jsonl")).happened(abandoned())
    assert caplog.messages == ["Job 7 failed after 3 attempts: ValueError: no such row; see state/failures.jsonl"]


def test_only_the_first_failures_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    events = EventLog(None)
    for offset in range(100):
        events.happened(abandoned(offset))
    assert len(caplog.messages) == FAILURES_LOGGED
    assert [message for message in caplog.messages if "further failures are not logged" in message] == [
        caplog.messages[-1]]

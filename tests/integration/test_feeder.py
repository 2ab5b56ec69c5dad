"""The feeder's thread: what the source gives arrives whole, in order, at once when slow, and never too much."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from taskmaster import defaults
from taskmaster.core.codec import BadJob
from taskmaster.core.portable import freeze
from taskmaster.errors import SourceError, StateMismatch
from taskmaster.job import NO_CURSOR, Job
from taskmaster.master.feeder import Exhausted, Fed, Feeder, Raised
from taskmaster.master.pulled import Pulled
from taskmaster.master.source import Source, Start


class Tap:
    """A feeder over `get_jobs` and all that came from it."""

    def __init__(self, get_jobs: Callable[..., Any], allow: int = 10_000_000, start: Start = Start(0),
                 limit: int | None = None, codec: str = "pickle") -> None:
        self.allowed = allow
        self._is_set = threading.Semaphore(0)
        source = Source(get_jobs, {}, start)
        self.feeder = Feeder(source, start.offset, limit, codec, time.monotonic, self._is_set.release)
        self.jobs: list[Any] = []
        self.cursors: list[Any] = []
        self.end: Exhausted | Raised | None = None
        self.feeder.start()

    def until(self, jobs: int | None = None, seconds: float = 10.0) -> bool:
        """Take until so many jobs came, or the end; returns whether they did."""
        give_up = time.monotonic() + seconds
        while self.end is None and (jobs is None or len(self.jobs) < jobs) and time.monotonic() < give_up:
            self._is_set.acquire(timeout=0.002)
            self.feeder.overdue(time.monotonic())
            while (fed := self.feeder.take()) is not None:
                self._note(fed)
            self.feeder.allow(self.allowed)
        return self.end is not None if jobs is None else len(self.jobs) >= jobs

    def _note(self, fed: Fed) -> None:
        if not isinstance(fed, Pulled):
            self.end = fed
            return
        before = len(self.jobs)
        for piece in fed.pieces:
            if isinstance(piece, BadJob):
                self.jobs.append(piece.kind)
            else:
                self.jobs += [piece.batch.payload(index) for index in range(piece.batch.count)]
        assert len(self.jobs) - before == fed.count
        self.cursors += fed.cursors or [NO_CURSOR] * fed.count


def test_all_that_the_source_gives_comes_in_order_and_then_its_end() -> None:
    fed = Tap(lambda: range(100_000))
    assert fed.until()
    assert fed.jobs == list(range(100_000))
    assert fed.end == Exhausted(limited=False)
    assert fed.feeder.length == 100_000


def test_nothing_is_pulled_beyond_what_is_allowed() -> None:
    pulled: list[int] = []

    def get_jobs() -> Iterator[int]:
        for number in range(1000):
            pulled.append(number)
            yield number

    fed = Tap(get_jobs, allow=300)
    assert fed.until(300)
    assert not fed.until(301, seconds=0.05)
    assert len(pulled) == 300
    fed.allowed = 1000
    assert fed.until(1000)


@pytest.mark.parametrize("limit, jobs, end", [(7, 7, True), (20, 20, True), (21, 20, False)])
def test_a_limit_ends_the_source_early(limit: int, jobs: int, end: bool) -> None:
    fed = Tap(lambda: range(20), limit=limit)
    assert fed.until()
    assert (len(fed.jobs), fed.end) == (jobs, Exhausted(limited=end))


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
def test_what_came_before_an_error_comes_before_it(error: type[BaseException]) -> None:
    def get_jobs() -> Iterator[int]:
        yield from range(100)
        raise error("midway")

    fed = Tap(get_jobs)
    assert fed.until()
    assert fed.jobs == list(range(100))
    assert isinstance(fed.end, Raised) and isinstance(fed.end.error, error)


@pytest.mark.parametrize("returned", [None, 5])
def test_what_is_no_iterator_is_refused_with_an_example(returned: Any) -> None:
    fed = Tap(lambda: returned)
    assert fed.until()
    assert isinstance(fed.end, Raised) and isinstance(fed.end.error, SourceError)
    assert "yield" in str(fed.end.error)


class Table:
    """Iterated like a pandas.DataFrame: by the names of its columns."""

    columns = ["id", "name"]

    def itertuples(self) -> Iterator[Any]:
        yield 1, "a"

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)


@pytest.mark.parametrize("returned, code", [
    ("a\nb", "text.splitlines()"), (b"ab", "data.splitlines()"), (Table(), "jobs.itertuples(index=False, name=None)")])
def test_what_yields_something_else_than_its_author_expects_is_refused_with_an_example(returned: Any,
                                                                                       code: str) -> None:
    fed = Tap(lambda: returned)
    assert fed.until() and fed.jobs == []
    assert isinstance(fed.end, Raised) and isinstance(fed.end.error, SourceError)
    assert f"yield from {code}" in str(fed.end.error)


def test_a_slow_source_does_not_keep_a_job_until_the_next() -> None:
    go = threading.Semaphore(0)

    def get_jobs() -> Iterator[int]:
        yield from range(5000)  # quick, so that many are asked for together
        for number in range(5000, 5005):
            yield number
            go.acquire()

    fed = Tap(get_jobs)
    for upto in range(5001, 5006):
        assert fed.until(upto), "the last job waits for one that the source has not got yet"
        go.release()
    assert fed.until()
    assert fed.jobs == list(range(5005))


class Row:
    def __init__(self) -> None:
        self.number = 0


def change(thing: Any, number: int) -> Any:
    if isinstance(thing, dict):
        thing["number"] = number
    elif isinstance(thing, list):
        thing[:] = [number]
    else:
        thing.number = number
    return thing


@pytest.mark.parametrize("kind, read", [
    (dict, lambda job: job["number"]), (list, lambda job: job[0]), (Row, lambda job: job.number)])
@pytest.mark.parametrize("wrap", [lambda job: job, lambda job: Job(job, cursor=1)], ids=["plain", "Job"])
def test_one_object_changed_from_job_to_job_is_encoded_as_it_was(kind: Any, read: Any, wrap: Any) -> None:
    thing = kind()
    fed = Tap(lambda: (wrap(change(thing, number)) for number in range(500)))
    assert fed.until()
    assert [read(job) for job in fed.jobs] == list(range(500))


def test_cursors_travel_with_their_jobs() -> None:
    fed = Tap(lambda: iter([Job("a", cursor=10), "b", Job("c", cursor=(1, "x"))]))
    assert fed.until()
    assert (fed.jobs, fed.cursors) == (["a", "b", "c"], [10, NO_CURSOR, freeze((1, "x"))])


@dataclass(frozen=True)
class Page(Job):
    """A user's own kind of Job."""


def test_a_subclass_of_job_is_a_job() -> None:
    fed = Tap(lambda: iter([Page("a", cursor=10), "b"]))
    assert fed.until()
    assert (fed.jobs, fed.cursors) == (["a", "b"], [10, NO_CURSOR])


def test_one_object_yielded_again_after_fresh_ones_is_refused() -> None:
    """Jobs are encoded a slice at a time: five of twelve jobs had the content of the one before, and were lost."""
    def get_jobs() -> Iterator[dict[str, int]]:
        yield from ({"n": number} for number in range(1000))
        row = {"n": 0}
        for number in range(1000, 5000):
            row["n"] = number
            yield row

    fed = Tap(get_jobs)
    assert fed.until()
    assert isinstance(fed.end, Raised) and "the same dict object twice" in str(fed.end.error)
    assert fed.jobs == [{"n": number} for number in range(len(fed.jobs))]


@pytest.mark.parametrize("wrap", [lambda row: row, lambda row: Job(row, cursor=row["n"])])
@pytest.mark.parametrize("buffers", [1, 2, 3, 50])
def test_a_few_objects_yielded_in_turn_from_the_start_are_encoded_one_by_one(
        buffers: int, wrap: Callable[[dict[str, int]], Any]) -> None:
    rows = [{"n": 0} for _ in range(buffers)]

    def get_jobs() -> Iterator[Any]:
        for number in range(3000):
            rows[number % buffers]["n"] = number
            yield wrap(rows[number % buffers])

    fed = Tap(get_jobs)
    assert fed.until()
    assert fed.jobs == [{"n": number} for number in range(3000)]


@pytest.mark.parametrize("jobs", [[Job(1, cursor=1), Job(2, cursor=None)], [Job(1, cursor=None)]])
def test_the_cursor_none_is_refused(jobs: list[Job]) -> None:
    fed = Tap(lambda: iter(jobs))
    assert fed.until()
    assert isinstance(fed.end, Raised) and "the cursor None" in str(fed.end.error)


@pytest.mark.parametrize("default", ["2023-12-31", (0, 0), sys.maxsize, -sys.maxsize])
def test_jobs_without_a_cursor_are_refused_where_last_is_no_count(default: Any) -> None:
    """A resume passed a number to a source that compares dates: 60 of 100 jobs were lost."""
    fed = Tap(lambda last=default: iter([1, 2, 3]))
    assert fed.until()
    assert isinstance(fed.end, Raised) and "is not a number to count from" in str(fed.end.error)
    assert fed.jobs == []


def test_more_jobs_with_one_cursor_than_a_checkpoint_can_hold_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defaults, "SHARED_CURSOR_JOBS", 1000)
    page = [Job(number, cursor="page 1") for number in range(1000)]
    for jobs, refused in ((page + [Job(1, cursor="page 2")], False), (page + page[:1], True)):
        fed = Tap(lambda jobs=jobs: iter(jobs))
        assert fed.until()
        assert isinstance(fed.end, Raised) == refused


def test_a_length_that_raises_is_no_length() -> None:
    class Wrapper:
        def __len__(self) -> int:
            raise TypeError("object of type 'generator' has no len()")

        def __iter__(self) -> Iterator[int]:
            return iter([1, 2])

    fed = Tap(Wrapper)
    assert fed.until()
    assert fed.jobs == [1, 2] and fed.feeder.length is None


def test_a_cursor_that_no_file_can_keep_is_refused() -> None:
    fed = Tap(lambda: iter([Job(1, cursor=lambda: 1)]))
    assert fed.until()
    assert isinstance(fed.end, Raised) and isinstance(fed.end.error, SourceError)


@pytest.mark.parametrize("bad, codec, kind", [
    (lambda: 1, "pickle", "unpicklable"), ({1, 2}, "json", "unpicklable"), (b"x" * (17 << 20), "pickle", "too large")],
    ids=["lambda", "set as json", "17 MiB"])
def test_a_bad_job_stands_in_its_place(bad: Any, codec: str, kind: str) -> None:
    fed = Tap(lambda: [1, 2, bad, 4], codec=codec)
    assert fed.until()
    assert fed.jobs == [1, 2, kind, 4]


def test_a_resumed_source_is_asked_to_go_on_after_the_cursor() -> None:
    fed = Tap(lambda last=0: range(last, 10), start=Start(6, cursor=6))
    assert fed.until()
    assert fed.jobs == [6, 7, 8, 9]


def test_a_source_that_takes_no_last_is_resumed_by_skipping() -> None:
    fed = Tap(lambda: range(10), start=Start(6, skip=6))
    assert fed.until()
    assert fed.jobs == [6, 7, 8, 9]


def test_a_source_that_gives_another_first_job_is_refused() -> None:
    fed = Tap(lambda last=0: range(last, 10), start=Start(6, cursor=6, digest="0" * 32))
    assert fed.until()
    assert fed.jobs == [] and isinstance(fed.end, Raised) and isinstance(fed.end.error, StateMismatch)
    assert "--force-resume" in str(fed.end.error)


def test_a_limit_that_shrinks_the_moment_it_was_read_does_not_end_the_source() -> None:
    """The window shrinks when its oldest job stands still. Read twice, the limit then left nothing to pull, and
    nothing pulled was taken for the end of the source: the run ended well with most of its jobs never pulled."""
    fed = Tap(lambda: range(10), allow=0)

    class Shrinks(threading.Condition):
        def __exit__(self, *error: Any) -> None:
            fed.feeder._allowed = 0
            super().__exit__(*error)

    fed.feeder = Feeder(Source(lambda: range(10), {}, Start(0)), 0, None, "pickle", time.monotonic, lambda: None)
    fed.feeder._room = Shrinks()
    fed.feeder._allowed = 10
    fed.feeder.start()
    assert fed.until(jobs=1)
    assert fed.end is None and fed.jobs == [0]

"""What handlers returned, as it travels: one line of JSON a job. A master passes it on without decoding it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any

from taskmaster.core.runs import Run, Runs

SHORT_BYTES = 4096  # a piece for each job would fill a request's header
NULL = b"null\n"  # of a slave that reports a job as done without its result


@dataclass(frozen=True)
class Results:
    """The results of `count` jobs from offset `first` on: in `lines`, for each, one line of JSON in UTF-8 that ends
    with a line feed and holds no other.

    `cursors` has one for each job, as `portable.freeze` gave it, NO_CURSOR for a job without one of its own; None when
    no job has one. Where the jobs have `failed`, the lines are objects that say why.
    """

    first: int
    count: int
    lines: bytes
    cursors: Sequence[Any] | None = None
    failed: bool = False

    def part(self, first: int, count: int, cursors: Sequence[Any] | None) -> Results:
        """The `count` results from offset `first` on, all of which are in it; `cursors` are those of all of it."""
        at = first - self.first
        own = None if cursors is None else cursors[at:at + count]
        lines = self.lines if count == self.count else _joined(self.lines.split(b"\n")[at:at + count])
        return Results(first, count, lines, own)

    def is_short_before(self, other: Results) -> bool:
        """Whether the other's jobs come next, and the two together are so small that they had better be one piece."""
        return self.first + self.count == other.first and len(self.lines) + len(other.lines) <= SHORT_BYTES

    def with_next(self, other: Results) -> Results:
        """These and those of the jobs that come next."""
        return Results(self.first, self.count + other.count, self.lines + other.lines)

    def cut(self, most: int) -> Iterator[Results]:
        """All of it, in pieces of at most `most` bytes, or of one result that is larger."""
        if len(self.lines) <= most:
            yield self
            return
        first, lines, size = self.first, list[bytes](), 0
        for at, line in enumerate(self.lines.split(b"\n")[:-1], self.first):
            if lines and size + len(line) >= most:
                yield Results(first, len(lines), _joined(lines))
                first, lines, size = at, [], 0
            lines.append(line)
            size += len(line) + 1
        yield Results(first, len(lines), _joined(lines))


def _joined(lines: list[bytes]) -> bytes:
    return b"\n".join(lines) + b"\n"


def with_results(done: Sequence[Run], results: Sequence[Results]) -> list[Results]:
    """All the runs that a slave reports as done, each with its results, null where it sends none."""
    silent = Runs(done)
    for one in results:
        silent.remove(one.first, one.count)
    return [*results, *(Results(first, count, NULL * count) for first, count in silent)]


def failure_line(kind: str, error: str, message: str, attempts: int) -> bytes:
    """The line of a job that failed for good."""
    fields = {"kind": kind, "error": error, "message": message, "attempts": attempts}
    return json.dumps(fields, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


class PendingResults:
    """Results on their way from the slaves to the state writer, in memory: `in_order` they wait until the watermark has
    passed their jobs."""

    def __init__(self, in_order: bool = True, with_failures: bool = False) -> None:
        self.in_order = in_order
        self.with_failures = with_failures
        self.bytes = 0  # of all that are here
        self._pieces: dict[int, Results] = {}
        self._firsts: list[int] = []  # a heap of its keys

    def add(self, results: Iterable[Results]) -> None:
        """These jobs are settled, for good."""
        for one in results:
            self._pieces[one.first] = one
            heappush(self._firsts, one.first)
            self.bytes += len(one.lines)

    def take(self, watermark: int) -> list[Results]:
        """Remove and return what is to be written now, in order. A piece never reaches beyond the watermark unless all
        of it does, for the watermark passes settled runs whole."""
        taken = []
        while self._firsts and (not self.in_order or self._firsts[0] < watermark):
            one = self._pieces.pop(heappop(self._firsts))
            self.bytes -= len(one.lines)
            taken.append(one)
        return taken

"""What handlers returned, as it travels: one line of JSON a job. A master passes it on without decoding it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
        return Results(first, count, lines, own, self.failed)

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

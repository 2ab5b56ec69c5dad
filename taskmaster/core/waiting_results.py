"""Results that wait for the jobs before theirs, as bytes in a file. Cursors are left out: the source gives them again.

Each record is a line with the first offset, the number of jobs, the size and whether they failed, and then the results.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import BinaryIO

from taskmaster.core.results import Results
from taskmaster.core.runs import Run, Runs


def record_of(results: Results) -> bytes:
    """The bytes that `records_in` reads."""
    head = b"%d %d %d %d\n" % (results.first, results.count, len(results.lines), results.failed)
    return head + results.lines


def records_in(file: BinaryIO, size: int) -> list[Results]:
    """Those in the next so many bytes, as they were written. Raises ValueError if these were cut or changed."""
    found = []
    while size > 0:
        head = file.readline()
        numbers = head.split()
        if len(numbers) != 4 or not all(map(bytes.isdigit, numbers)):
            raise ValueError("is damaged")
        first, count, length, failed = map(int, numbers)
        lines = file.read(length)
        if len(lines) != length or lines.count(b"\n") != count or not lines.endswith(b"\n"):
            raise ValueError("is damaged")
        found.append(Results(first, count, lines, failed=failed == 1))
        size -= len(head) + length
    return found


def newest_of(records: Sequence[Results], wanted: Iterable[Run]) -> list[Results]:
    """Of the jobs that are `wanted`, the last result that was written of each, ascending."""
    left, found = Runs(wanted), list[Results]()
    for one in reversed(records):
        for run in left.inside(one.first, one.count):
            found.append(one.part(*run, None))
            left.remove(*run)
    return sorted(found, key=_first)


def _first(results: Results) -> int:
    return results.first

"""A job for each row of a CSV file."""

from __future__ import annotations

import csv as python_csv
import os
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from taskmaster.errors import SourceError, UsageError
from taskmaster.job import Job
from taskmaster.sources.base import Source, located
from taskmaster.sources.line_file import LineFile


def csv(path: str | os.PathLike[str], last: Any = None, *, header: bool = True, names: Sequence[str] | None = None,
        encoding: str = "utf-8", errors: str = "strict", follow: bool = False, delimiter: str = ",",
        quotechar: str | None = '"', escapechar: str | None = None, doublequote: bool = True,
        skipinitialspace: bool = False, quoting: int = python_csv.QUOTE_MINIMAL) -> Source:
    """Each row of the file: a dict of texts by the names in its first row, which is the header.

    For a file without one, give `names`, or header=False for rows that are lists. From `delimiter` on, the
    parameters are those of `csv.reader`. Empty rows are passed over.

    Compression, byte order mark, `follow` and cursors are as in `lines`. A row that has more or fewer fields than the
    header, or quotes that do not match, ends the source.
    """
    path = os.fspath(path)
    name = f"csv({path!r})"
    format: dict[str, Any] = {"delimiter": delimiter, "quotechar": quotechar, "escapechar": escapechar,
                              "doublequote": doublequote, "skipinitialspace": skipinitialspace, "quoting": quoting}
    try:
        python_csv.reader((), strict=True, **format)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name}: {error}.") from None
    fixed = None if names is None else list(names)
    header = header and names is None
    return Source(name, partial(_jobs, located(path), name, header, fixed, (encoding, errors, follow), format), last)


def _jobs(path: str, name: str, header: bool, names: list[str] | None, text: tuple[str, str, bool],
          format: dict[str, Any], last: Any) -> Iterator[Job]:
    with LineFile(path, name, *text) as file:
        rows = _rows(file, name, python_csv.reader(file, strict=True, **format))
        if header:
            names = _names(next(rows, (0, []))[1], name)
        if last is not None:
            file.resume(last)
        for start, row in rows:
            yield Job(_payload(row, names, name, start), file.cursor)


def _rows(file: LineFile, name: str, rows: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    """Each row that is not empty, with the position where it starts."""
    while True:
        start = file.position
        try:
            row = next(rows, None)
        except python_csv.Error as error:
            raise SourceError(f"{name}: the row at byte {start:,} is not CSV ({error}). Correct it, and run the same "
                              "command again to resume; or say how the file is written, for example delimiter=';' or "
                              "quoting=csv.QUOTE_NONE.") from None
        if row is None:
            return
        if row:
            yield start, row


def _names(names: list[str], name: str) -> list[str]:
    twice = next((one for one in names if names.count(one) > 1), None)
    if twice is not None:
        raise SourceError(f"{name}: two columns have the name {twice!r}. Use header=False: then each row is a list, "
                          "and the first one is the header.")
    return names


def _payload(row: list[str], names: list[str] | None, name: str, start: int) -> Any:
    if names is None:
        return row
    if len(row) != len(names):
        raise SourceError(f"{name}: the row at byte {start:,} has {len(row)} fields, and the header {len(names)}. "
                          "Correct it, and run the same command again to resume.")
    return dict(zip(names, row))

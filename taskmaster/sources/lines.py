"""A job for each line of a text file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from typing import Any

from taskmaster.job import Job
from taskmaster.sources.base import Source, located
from taskmaster.sources.line_file import LineFile


def lines(path: str | os.PathLike[str], last: Any = None, *, encoding: str = "utf-8", errors: str = "strict",
          follow: bool = False) -> Source:
    """Each line of the file, as text without its end (LF or CRLF); empty lines, too.

    The file may be compressed with gzip or zstd. A byte order mark is not part of the first line; `errors` is as in
    `bytes.decode`. With `follow`, the source waits for lines that are added, and a last one without an end is not a
    job yet. The cursor is the position in bytes, with a checksum by which a file that was replaced is refused.
    """
    path = os.fspath(path)
    name = f"lines({path!r})"
    return Source(name, partial(_lines, located(path), name, encoding, errors, follow), last)


def _lines(path: str, name: str, encoding: str, errors: str, follow: bool, last: Any) -> Iterator[Job]:
    with LineFile(path, name, encoding, errors, follow) as file:
        if last is not None:
            file.resume(last)
        for line in file:
            yield Job(without_end(line), file.cursor)


def without_end(line: str) -> str:
    """The line without LF or CRLF at its end."""
    return line[:-2] if line.endswith("\r\n") else line[:-1] if line.endswith("\n") else line

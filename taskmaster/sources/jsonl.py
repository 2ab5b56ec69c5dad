"""A job for each line of a file of JSON lines."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import partial
from typing import Any

from taskmaster.errors import SourceError
from taskmaster.job import Job
from taskmaster.sources.base import Source, located
from taskmaster.sources.line_file import LineFile


def jsonl(path: str | os.PathLike[str], last: Any = None, *, encoding: str = "utf-8", follow: bool = False) -> Source:
    """The value of each line, as `json.loads` gives it. Blank lines are passed over.

    Compression, byte order mark, `follow` and cursors are as in `lines`. A line that is not JSON ends the source.
    """
    path = os.fspath(path)
    name = f"jsonl({path!r})"
    return Source(name, partial(_values, located(path), name, encoding, follow), last)


def _values(path: str, name: str, encoding: str, follow: bool, last: Any) -> Iterator[Job]:
    with LineFile(path, name, encoding, "strict", follow) as file:
        if last is not None:
            file.resume(last)
        for line in file:
            if line.strip():
                yield Job(_value(line, name, file.start), file.cursor)


def _value(line: str, name: str, start: int) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{name}: the line at byte {start:,} is not JSON ({error}): {line.strip()[:80]!r}. Correct "
                          "it, and run the same command again to resume.") from None

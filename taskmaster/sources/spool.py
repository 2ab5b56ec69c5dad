"""A job for each payload that any process has put into a folder: a queue without a service."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

from taskmaster.defaults import FOLLOW_SECONDS
from taskmaster.errors import SourceError, StateMismatch
from taskmaster.job import Job
from taskmaster.sources.base import Source, located, refuse_cursor
from taskmaster.sources.line_file import LineFile
from taskmaster.sources.push import SUFFIX
from taskmaster.waiting import wait

_MARK = re.compile(r"(\w{1,64})=(\d{1,18}:[0-9a-f]{8})")


def spool(folder: str | os.PathLike[str], last: Any = None, *, follow: bool = False) -> Source:
    """What `taskmaster.push` put into the folder: the payloads of one process in their order.

    With `follow`, the source waits for more. The cursor is how far each of the folder's files was read, so the files
    must stay there for as long as the run may be resumed.
    """
    path = os.fspath(folder)
    name = f"spool({path!r})"
    return Source(name, partial(_payloads, located(path), name, follow), last)


def _payloads(path: str, name: str, follow: bool, last: Any) -> Iterator[Job]:
    marks = _marks(name, last)
    _refuse_gone(path, name, marks)
    with ExitStack() as opened:
        files: dict[str, LineFile] = {}
        while True:
            for segment in _segments(path, name):
                if segment not in files:
                    files[segment] = opened.enter_context(_open(path, name, segment, marks.get(segment)))
                for payload in _read(files[segment], name, segment):
                    marks[segment] = files[segment].cursor
                    yield Job(payload, " ".join([f"{one}={mark}" for one, mark in marks.items()]))
            if not follow:
                return
            wait(FOLLOW_SECONDS)


def _refuse_gone(path: str, name: str, marks: Iterable[str]) -> None:
    gone = sorted(set(marks) - set(_segments(path, name))) if marks else []
    if gone:
        raise StateMismatch(f"{name}: {gone[0]}{SUFFIX}, from which jobs were read, is gone, perhaps with more jobs. "
                            "Put it back, or start over with --reset; then all that is there runs again.")


def _open(path: str, name: str, segment: str, mark: str | None) -> LineFile:
    file = LineFile(os.path.join(path, segment + SUFFIX), f"{name}: {segment}{SUFFIX}", "ascii", "strict", whole=True)
    try:
        if mark is not None:
            file.resume(mark)
    except BaseException:
        file.close()
        raise
    return file


def _read(file: LineFile, name: str, segment: str) -> Iterator[Any]:
    """What is there now: a file to which more is added all the time must not keep the others waiting."""
    end = file.status.st_size
    while file.position < end:
        line = next(file, None)
        if line is None:
            return
        try:
            yield json.loads(line)
        except ValueError as error:
            raise SourceError(f"{name}: {segment}{SUFFIX} is damaged at byte {file.start:,} ({error}). Put payloads "
                              "there by taskmaster.push only.") from None


def _segments(path: str, name: str) -> list[str]:
    try:
        return sorted(entry.removesuffix(SUFFIX) for entry in os.listdir(path) if entry.endswith(SUFFIX))
    except OSError as error:
        raise SourceError(f"{name}: the folder cannot be read: {error.strerror}. The first taskmaster.push creates "
                          "it.") from None


def _marks(name: str, last: Any) -> dict[str, str]:
    """How far each file was read, by name."""
    if last is None:
        return {}
    found = [_MARK.fullmatch(word) for word in last.split(" ")] if isinstance(last, str) else [None]
    if None in found:
        refuse_cursor(name, last)
    return {match[1]: match[2] for match in found if match}

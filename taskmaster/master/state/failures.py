"""The failures file: a JSON line for each job given up on, with what shows it and what runs it again.

Knows nothing of when a job is given up on, and nothing of checkpoints but their watermark.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO

from taskmaster.master.state import durable

log = logging.getLogger(__name__)

KINDS = ("raised", "timeout", "killed", "unpicklable", "undecodable", "too large")

MESSAGE_CHARACTERS = 2_000
TRACEBACK_CHARACTERS = 8_000  # about 80 frames; the end is kept, for there it says what was raised and where
SHOWN_CHARACTERS = 200
NAME_CHARACTERS = 500
_CUT = "..."


@dataclass(frozen=True)
class FailureRecord:
    """A job given up on. Texts are cut and made writable on entry, whoever sent them.

    `cursor` and `payload` are as `portable.pack` made them, None where it could not. `kind` is one of KINDS,
    `error` the exception's type, `slave` the last one that had the job, `time` ISO 8601 in UTC, `shown`
    the payload for people.
    """

    offset: int
    cursor: dict[str, Any] | None
    attempts: int
    kind: str
    error: str
    message: str
    traceback: str
    handler: str
    slave: str
    time: str
    payload: dict[str, Any] | None
    shown: str

    def __post_init__(self) -> None:
        names = ("kind", "error", "handler", "slave", "time")
        trimmed = {name: _head(getattr(self, name), NAME_CHARACTERS) for name in names}
        trimmed["message"] = _head(self.message, MESSAGE_CHARACTERS)
        trimmed["traceback"] = _tail(self.traceback, TRACEBACK_CHARACTERS)
        trimmed["shown"] = _head(self.shown, SHOWN_CHARACTERS)
        for name, text in trimmed.items():
            object.__setattr__(self, name, text)


def show(value: Any) -> str:
    """Give `repr(value)` in at most 200 characters, also for a value whose `repr` raises."""
    try:
        text = repr(value)
    except Exception as error:  # the user's own __repr__
        text = f"<{type(value).__name__}, whose repr raised {type(error).__name__}>"
    return _head(text, SHOWN_CHARACTERS)


def _writable(text: str) -> str:
    # A lone surrogate is no Unicode text: jq, databases and terminals refuse a whole line for one.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _head(text: str, most: int) -> str:
    text = _writable(text[:most + 1])
    return text if len(text) <= most else text[:most - len(_CUT)] + _CUT


def _tail(text: str, most: int) -> str:
    text = _writable(text[-most - 1:])
    return text if len(text) <= most else _CUT + text[len(_CUT) - most:]


def to_line(failure: FailureRecord) -> bytes:
    """Give one line of ASCII JSON with its line end."""
    return json.dumps(vars(failure)).encode("ascii") + b"\n"


_TYPES: dict[str, tuple[type, ...]] = {
    **{one.name: (str,) for one in fields(FailureRecord)},
    "offset": (int,),
    "attempts": (int,),
    "cursor": (dict, type(None)),
    "payload": (dict, type(None)),
}


def from_line(line: bytes) -> FailureRecord:
    """Read what `to_line` wrote, and leave out unknown fields. Raises ValueError for anything else."""
    try:
        found = json.loads(line.decode("ascii"))
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")
    wrong = [name for name, types in _TYPES.items() if type(found.get(name, ...)) not in types]
    if wrong:
        raise ValueError(f"it has no usable {', '.join(wrong)}")
    return FailureRecord(**{name: found[name] for name in _TYPES})


class FailuresFile:
    """The failures file of one run, written by one thread. It may be moved away between uses."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._end: int | None = None  # up to here it is good; what is behind is a write that failed
        self._named = False  # whether the folder's entry for the file was fsynced too

    def append(self, failures: Iterable[FailureRecord]) -> None:
        """Add a line for each, durable on return. Raises OSError, which leaves the file as it was."""
        data = b"".join(map(to_line, failures))
        if not data:
            return
        self._named = self._named and self.path.exists()
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | durable.BINARY, 0o600)
        try:
            self._name_durably()
            self._end = self._mend(file)
            self._append_at(file, self._end, data)
            self._end += len(data)
        finally:
            os.close(file)

    def prune(self, watermark: int) -> int:
        """Drop the records at or above `watermark`, whose jobs run again, and a torn last line; give how many
        records stay.

        Whole lines that cannot be read are kept, for they may be below. Raises OSError, which leaves the file
        as it was.
        """
        records = whole = lines = 0
        for line in self._lines():
            lines += 1
            records += _offset_below(line, watermark)
            whole += _stays(line, watermark) and line.endswith(b"\n")
        if whole < lines:
            self._rewrite(watermark)
        return records

    def read(self) -> Iterator[FailureRecord]:
        """Give the records in the order they were written, none where there is no file; warn of others."""
        for number, line in enumerate(self._lines(), 1):
            failure = _record(line)
            if failure is not None:
                yield failure
            else:
                log.warning("Line %d of %s is no record of a failure; it is passed over.", number, self.path)

    def _name_durably(self) -> None:
        # Before the lines are written: an error after them would have them written twice.
        if not self._named:
            durable.sync_folder(self.path.parent)
            self._named = True

    def _mend(self, file: int) -> int:
        """Cut off what a failed or killed write left behind; give the end of what is good."""
        size = os.fstat(file).st_size
        end = self._end if self._end is not None and self._end <= size else _end_of_last_line(file, size)
        if end != size:
            os.ftruncate(file, end)
        return end

    def _append_at(self, file: int, end: int, data: bytes) -> None:
        os.lseek(file, end, os.SEEK_SET)
        try:
            durable.write_all(file, data)
            os.fsync(file)
        except OSError as error:
            error.filename = str(self.path)
            self._cut_back(file, end)
            raise

    def _cut_back(self, file: int, end: int) -> None:
        try:
            os.ftruncate(file, end)
        except OSError as error:
            log.warning("%s could not be cut back to its good part (%s); the next append does it.",
                        self.path, error)

    def _lines(self) -> Iterator[bytes]:
        try:
            file: BinaryIO = open(self.path, "rb")
        except FileNotFoundError:
            return
        with file:
            yield from file

    def _rewrite(self, watermark: int) -> None:
        fresh = self.path.with_name(self.path.name + ".tmp")
        fresh.unlink(missing_ok=True)
        try:
            with open(fresh, "xb", opener=_private) as file:
                stay = (line for line in self._lines() if _stays(line, watermark))
                file.writelines(line.rstrip(b"\n") + b"\n" for line in stay)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            durable.remove_quietly(fresh)
            raise
        os.replace(fresh, self.path)
        durable.sync_folder(self.path.parent)
        self._end = None


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | durable.BINARY, 0o600)


def _record(line: bytes) -> FailureRecord | None:
    try:
        return from_line(line)
    except ValueError:
        return None


def _offset_below(line: bytes, watermark: int) -> bool:
    failure = _record(line)
    return failure is not None and failure.offset < watermark


def _stays(line: bytes, watermark: int) -> bool:
    if _record(line) is None:
        # A torn last line was never acknowledged, so no checkpoint has passed its job: it runs again.
        return line.endswith(b"\n")
    return _offset_below(line, watermark)


def _end_of_last_line(file: int, size: int) -> int:
    """The position after the last line end, looked for backwards: a line may be megabytes long."""
    step = 65536
    for start in range((size - 1) // step * step, -1, -step) if size else ():
        os.lseek(file, start, os.SEEK_SET)
        found = os.read(file, step).rfind(b"\n")
        if found >= 0:
            return start + found + 1
    return 0

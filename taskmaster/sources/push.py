"""Puts payloads into a spool: a folder of files to which lines are only ever added, each by one process at a time.

A process keeps the file that it writes to, locked, until it ends. Then another one takes it over. So there are as many
files as there ever were processes at one time, and none waits for another.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sys
from pathlib import Path
from typing import Any

from taskmaster import durable
from taskmaster.core.portable import pack
from taskmaster.native import Lock

SUFFIX = ".spool"
_FLAGS = durable.BINARY | getattr(os, "O_CLOEXEC", 0)


def push(folder: str | os.PathLike[str], payload: Any, *, sync: bool = True) -> None:
    """Add a job for a run whose source is `sources.spool(folder)`. Creates the folder.

    The job is on disk when this returns; without `sync`, a power loss may take the newest ones. Payloads are what JSON
    carries unchanged: raises TypeError for any other. Raises OSError if the disk is full or the folder not writable;
    then the job is not added.
    """
    line = _line(payload)
    with _guard[0]:
        segment = _segment(os.path.abspath(folder))
        segment.add(line, sync)


def _line(payload: Any) -> bytes:
    packed = pack(payload)
    if "json" not in packed:
        raise TypeError(f"JSON cannot carry {payload!r:.80} unchanged. Push plain values (numbers, texts, lists, dicts "
                        "with texts as keys), such as list(row) for a tuple.")
    return json.dumps(packed["json"]).encode("ascii") + b"\n"


class _Segment:
    """A file that this process alone adds to."""

    def __init__(self, file: int, path: Path) -> None:
        self._file = file
        self._path = path
        self._cut_torn_line()

    @property
    def is_there(self) -> bool:
        """False once somebody has removed the file."""
        return os.fstat(self._file).st_nlink > 0

    def add(self, line: bytes, sync: bool) -> None:
        end = os.lseek(self._file, 0, os.SEEK_END)
        try:
            durable.write_all(self._file, line)
            if sync:
                durable.sync(self._file, self._path.parent)
        except OSError:
            os.ftruncate(self._file, end)
            raise

    def close(self) -> None:
        durable.close_quietly(self._file)

    def _cut_torn_line(self) -> None:
        """Of a process that was killed while it wrote."""
        size = os.lseek(self._file, 0, os.SEEK_END)
        end = durable.end_of_last_line(self._file, size)
        if end < size:
            os.ftruncate(self._file, end)


_segments: dict[str, _Segment] = {}  # of this process, by folder
_guard = [Lock()]


def _forget() -> None:
    """In a forked child, which would else share its parent's file."""
    _guard[0] = Lock()
    for segment in _segments.values():
        segment.close()
    _segments.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _segment(folder: str) -> _Segment:
    segment = _segments.get(folder)
    if segment is None or not segment.is_there:
        if segment is not None:
            segment.close()
        segment = _segments[folder] = _free(Path(folder)) or _fresh(Path(folder))
    return segment


def _free(folder: Path) -> _Segment | None:
    """One that a process has left, if there is any that may be written to."""
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        with contextlib.suppress(FileNotFoundError, PermissionError):
            segment = _taken(os.open(path, os.O_RDWR | _FLAGS), path)
            if segment is not None:
                return segment
    return None


def _fresh(folder: Path) -> _Segment:
    durable.make_folder(folder)
    while True:
        path = folder / f"{secrets.token_hex(4)}{SUFFIX}"
        with contextlib.suppress(FileExistsError):
            segment = _taken(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600), path)
            if segment is not None:
                durable.sync_folder(folder)
                return segment


def _taken(file: int, path: Path) -> _Segment | None:
    """None if another process has it, or has removed it meanwhile."""
    if _lock(file) and os.fstat(file).st_nlink > 0:
        return _Segment(file, path)
    os.close(file)
    return None


if sys.platform == "win32":
    import msvcrt

    def _lock(file: int) -> bool:
        os.lseek(file, 1 << 40, os.SEEK_SET)  # far behind the end: others cannot read locked bytes there
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _lock(file: int) -> bool:
        """Whether nobody else had it. It ends with the process, however that ends. Raises OSError without locks."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

"""The failures file: one JSON line for each abandoned job, with what explains it and what is needed to run it again.

It does not decide when a job is abandoned, and knows nothing about checkpoints except the watermark.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Container, Iterable, Iterator
from itertools import compress
from pathlib import Path
from typing import BinaryIO

from taskmaster import durable
from taskmaster.core.failure import FailureRecord, from_line, to_line
from taskmaster.master.state.trust import open_own

log = logging.getLogger(__name__)


class FailuresFile:
    """The failures file of one run, written by one thread. It may be moved away between uses.

    `verify` is called before each write, and raises OSError if this process may not write any more.
    """

    def __init__(self, path: str | os.PathLike[str], verify: Callable[[], object] = lambda: None) -> None:
        self.path = Path(path)
        self._verify = verify
        self._end: int | None = None  # the end of what is intact; anything after it was left by a failed write
        self._named = False  # whether the folder's entry for the file was fsynced as well

    def append(self, failures: Iterable[FailureRecord]) -> None:
        """Add a line for each, durable on return. Raises OSError, and then leaves the file as it was."""
        data = b"".join(map(to_line, failures))
        if not data:
            return
        self._verify()
        self._named = self._named and self.path.exists()
        file = open_own(self.path, os.O_RDWR | os.O_CREAT)
        try:
            self._name_durably()
            self._end = self._repair(file)
            self._append_at(file, self._end, data)
            self._end += len(data)
        finally:
            durable.close_quietly(file)  # after an error here the lines would be written a second time

    def prune(self, watermark: int, above: Container[int] = (),
              obsolete: Callable[[FailureRecord], bool] = lambda record: False) -> int:
        """Drop the records at or above `watermark`, whose jobs run again unless they are in `above`, those that are
        `obsolete`, and a torn last line.

        Returns how many records are kept. Whole lines that cannot be read are kept too, for they may be below. Raises
        OSError, and then leaves the file as it was.
        """
        records, whole, stay = 0, True, bytearray()
        for line in self._lines():
            record = _record(line)  # once for each line: 100,000 of them made a resume slow
            settled = record is not None and (record.offset < watermark or record.offset in above) \
                and not obsolete(record)
            records += settled
            # The write of a torn last line never succeeded, so no checkpoint has passed its job: it runs again.
            stay.append(settled or record is None and line.endswith(b"\n"))
            whole = whole and bool(stay[-1]) and line.endswith(b"\n")
        if not whole:
            self._rewrite(stay)
        return records

    def drop(self, obsolete: Callable[[FailureRecord], bool]) -> None:
        """Drop these records. Raises OSError, and then leaves the file as it was."""
        records = map(_record, self._lines())
        stay = bytearray([record is None or not obsolete(record) for record in records])
        if not all(stay):
            self._verify()
            self._rewrite(stay)

    def read(self) -> Iterator[FailureRecord]:
        """The records in the order they were written, none without a file; warns of lines that are not records.

        The file may be written meanwhile: then a last line may be torn, which is skipped.
        """
        for number, line in enumerate(self._lines(), 1):
            failure = _record(line)
            if failure is not None:
                yield failure
            elif line.endswith(b"\n"):
                log.warning("Line %d of %s is not a failure record; skipping it.", number, self.path)

    def _name_durably(self) -> None:
        # Before the lines are written: an error afterwards would have them written a second time.
        if not self._named:
            durable.sync_folder(self.path.parent)
            self._named = True

    def _repair(self, file: int) -> int:
        """Cut off what a failed or killed write left behind; returns the end of the intact part."""
        size = os.fstat(file).st_size
        end = self._end if self._end is not None and self._end <= size else durable.end_of_last_line(file, size)
        if end != size:
            os.ftruncate(file, end)
        return end

    def _append_at(self, file: int, end: int, data: bytes) -> None:
        os.lseek(file, end, os.SEEK_SET)
        try:
            durable.write_all(file, data)
            durable.sync(file, self.path.parent)
        except OSError as error:
            error.filename = str(self.path)
            self._cut_back(file, end)
            raise

    def _cut_back(self, file: int, end: int) -> None:
        try:
            os.ftruncate(file, end)
        except OSError as error:
            log.warning("A failed write could not be removed from %s (%s); the next write will remove it.",
                        self.path, error)

    def _lines(self) -> Iterator[bytes]:
        try:
            file: BinaryIO = open(open_own(self.path, os.O_RDONLY), "rb")
        except FileNotFoundError:
            return
        with file:
            yield from file

    def _rewrite(self, stay: Iterable[int]) -> None:
        """Keep the lines for which `stay` has a 1."""
        fresh = self.path.with_name(self.path.name + ".tmp")
        fresh.unlink(missing_ok=True)
        try:
            with open(fresh, "xb", opener=_private) as file:
                file.writelines(line.rstrip(b"\n") + b"\n" for line in compress(self._lines(), stay))
                file.flush()
                durable.sync(file.fileno(), self.path.parent)
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

"""A file to which bytes are appended, and which is cut back to what a mark covers. It does not know what they mean."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import BinaryIO

from taskmaster import durable
from taskmaster.sinks.place import lost, occupied, open_file

# Less than this waits in memory for the next flush. A system call takes 2 us, so even single results cost little.
_BUFFER_BYTES = 1 << 20


class AppendedFile:
    """Belongs to one thread at a time. After an OSError it has to be opened again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._size = 0  # with what is still in memory
        self._file: int | None = None
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._dirty = False

    def open(self, size: int | None) -> None:
        """Keep the first `size` bytes and drop the rest. None is for a new file: it may exist, but must be empty.

        Raises UsageError where no such file can be written, StateMismatch if it is shorter than that, and OSError.
        """
        self.close()
        # Created only for the first results: a file that has vanished with its results must not come back empty.
        self._file = open_file(self.path, os.O_RDWR if size else os.O_RDWR | os.O_CREAT)
        try:
            self._cut(self._file, size)
        except BaseException:
            self.close()
            raise

    def _cut(self, file: int, size: int | None) -> None:
        found = os.fstat(file).st_size
        if size is None and found:
            raise occupied(self.path)
        if found < (size or 0):
            raise lost(self.path, f"has {found:,} bytes of the {size:,} that were written")
        self._size = size or 0
        os.ftruncate(file, self._size)
        os.lseek(file, 0, os.SEEK_END)
        if not size:
            durable.sync_folder(self.path.parent)  # the name may be new

    def reader(self) -> BinaryIO:
        """To read what is on the disk. Raises OSError."""
        return open(self.path, "rb")

    def append(self, data: bytes) -> None:
        """Add these. Raises OSError."""
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        self._size += len(data)
        if self._waiting_bytes >= _BUFFER_BYTES:
            self._write()

    def _write(self) -> None:
        assert self._file is not None
        data = b"".join(self._waiting)
        self._waiting, self._waiting_bytes = [], 0
        if data:
            self._dirty = True
            durable.write_all(self._file, data)

    def flush(self) -> int:
        """Make all of it durable; returns its size. Raises OSError, also if the file was moved, replaced or cut."""
        assert self._file is not None
        try:
            self._write()
            if self._dirty:
                os.fsync(self._file)
                self._dirty = False
        except OSError as error:
            error.filename = str(self.path)
            raise
        self._verify(self._file)
        return self._size

    def _verify(self, file: int) -> None:
        """What is written to a file that was removed would be lost without a word."""
        held, found = os.fstat(file), os.stat(self.path)
        if (found.st_dev, found.st_ino) != (held.st_dev, held.st_ino) or held.st_size != self._size:
            raise OSError(errno.ESTALE, "it was moved, replaced or changed by another program", str(self.path))

    def remove(self) -> None:
        """Close and delete it, if it is there. Raises OSError."""
        self.close()
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of it, without writing what is still in memory."""
        self._waiting, self._waiting_bytes, self._dirty = [], 0, False
        if self._file is not None:
            durable.close_quietly(self._file)
            self._file = None

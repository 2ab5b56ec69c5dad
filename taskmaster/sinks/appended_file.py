"""A file to which bytes are appended, and which is cut back to what a mark covers. It does not know what they mean."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from taskmaster import durable
from taskmaster.errors import StateMismatch, UsageError

# Less than this goes out with one system call. Each costs 2 us, so single results, too, cost little.
_BUFFER_BYTES = 1 << 20
# The user's data, so the user's umask decides who may read it, as with any file that a program of theirs writes.
_MODE = 0o666


class AppendedFile:
    """Belongs to one thread at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0  # with what is still in memory
        self._file: int | None = None
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._dirty = False

    def open(self, size: int | None) -> None:
        """Keep the first `size` bytes and drop the rest. None is for a new file: it may exist, but must be empty.

        Raises UsageError where no such file can be written, StateMismatch if it is shorter than that, and OSError.
        """
        self.close()
        try:
            self._file = self._opened(size)
            self._check(os.fstat(self._file), size)
            self._cut(self._file, size or 0)
        except (IsADirectoryError, FileNotFoundError, NotADirectoryError, PermissionError) as error:
            raise UsageError(f"Results cannot be written to {self.path}: {error.strerror}. Choose another file with "
                             "--results FILE.") from error
        except BaseException:
            self.close()
            raise

    def _opened(self, size: int | None) -> int:
        # Created only for new results: a file that has vanished with its results must not come back empty.
        create = 0 if size else os.O_CREAT
        extra = durable.BINARY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
        try:
            return os.open(self.path, os.O_RDWR | create | extra, _MODE)
        except FileNotFoundError:
            if create:
                raise
            raise self._lost("is missing") from None

    def _check(self, found: os.stat_result, size: int | None) -> None:
        if not stat.S_ISREG(found.st_mode):
            raise UsageError(f"{self.path} is not a regular file, so a resumed run could not cut it back. Choose "
                             "another one with --results FILE.")
        if size is None and found.st_size:
            raise UsageError(f"{self.path} exists and is not empty, and this run has not written to it. Name another "
                             "file with --results FILE, or remove this one.")
        if size is not None and found.st_size < size:
            raise self._lost(f"has {found.st_size:,} bytes, and {size:,} were written")

    def _lost(self, what: str) -> StateMismatch:
        return StateMismatch(f"The results file {self.path} {what}, so results of earlier runs are lost. Put it back "
                             "as it was, or start over with --reset.")

    def _cut(self, file: int, size: int) -> None:
        os.ftruncate(file, size)
        os.lseek(file, 0, os.SEEK_END)
        self.size = size
        if not size:
            durable.sync_folder(self.path.parent)  # the name may be new

    def append(self, data: bytes) -> None:
        """Add these. Raises OSError."""
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        self.size += len(data)
        if self._waiting_bytes >= _BUFFER_BYTES:
            self._write()

    def _write(self) -> None:
        assert self._file is not None
        data = b"".join(self._waiting)
        self._waiting, self._waiting_bytes = [], 0
        if data:
            self._dirty = True
            try:
                durable.write_all(self._file, data)
            except OSError as error:
                error.filename = str(self.path)
                raise

    def flush(self) -> int:
        """Make all of it durable; returns its size. Raises OSError, also if the file was moved, replaced or cut."""
        assert self._file is not None
        self._write()
        if self._dirty:
            os.fsync(self._file)
            self._dirty = False
        self._verify()
        return self.size

    def _verify(self) -> None:
        """What is written to a file that was removed would be lost without a word."""
        assert self._file is not None
        held, found = os.fstat(self._file), os.stat(self.path)
        if (found.st_dev, found.st_ino) != (held.st_dev, held.st_ino) or held.st_size != self.size:
            raise OSError(errno.ESTALE, "it was moved, replaced or changed by another program", str(self.path))

    def close(self) -> None:
        """Let go of it, without writing what is still in memory."""
        self._waiting, self._waiting_bytes, self._dirty = [], 0, False
        if self._file is not None:
            durable.close_quietly(self._file)
            self._file = None

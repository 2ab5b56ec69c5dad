"""The lock of a state folder, so that only one master at a time writes to it."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

from taskmaster import durable
from taskmaster.forks import close_in_children, keep_in_children
from taskmaster.master.state.trust import open_own

_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}
_HELD = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK}


class LockHeld(Exception):
    """Another process holds the lock; `holder` is its process id, as it wrote it into the file."""

    def __init__(self, holder: str) -> None:
        super().__init__(holder)
        self.holder = holder


class LockLost(OSError):
    """The lock file was removed or replaced while it was held, so another process may hold a new one by now."""


class NoLocks(OSError):
    """The file system has no locks."""


class FileLock:
    """A lock that is released when its process ends, however it ends; not reliable on NFS.

    The file itself is never removed, because that would be a race.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None

    @property
    def held(self) -> bool:
        return self._file is not None

    def take(self) -> None:
        """Take the lock. Raises LockHeld if it is taken, even by this process; OSError, as NoLocks, if it cannot be."""
        file = open_own(self.path, os.O_RDWR | os.O_CREAT)
        try:
            self._lock(file)
            os.ftruncate(file, 0)
            durable.write_all(file, f"{os.getpid()}\n".encode())
        except BaseException:
            durable.close_quietly(file)
            raise
        self._file = file
        close_in_children(file)

    def verify(self) -> None:
        """Raise LockLost unless the lock file is still the one that was locked."""
        assert self._file is not None
        held = os.fstat(self._file)
        try:
            found = os.lstat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            raise LockLost(errno.ENOENT, "the state folder or its lock file was moved or removed", str(self.path)) \
                from None
        if (found.st_dev, found.st_ino) != (held.st_dev, held.st_ino):
            raise LockLost(errno.ESTALE, "the lock file was replaced; another master may be using the folder by now",
                           str(self.path))

    def release(self) -> None:
        """Release the lock. Does nothing when it is not held."""
        if self._file is not None:
            keep_in_children(self._file)
            durable.close_quietly(self._file)
            self._file = None

    def _lock(self, file: int) -> None:
        try:
            _lock_or_raise(file)
        except OSError as error:
            if error.errno in _HELD:
                raise LockHeld(os.read(file, 20).decode("ascii", "replace").strip()) from error
            if error.errno in _NO_LOCKS:
                raise NoLocks(error.errno, error.strerror, str(self.path)) from error
            raise


if sys.platform == "win32":
    import msvcrt

    def _lock_or_raise(file: int) -> None:
        # Others cannot read locked bytes on Windows, so the locked one is far behind the process id.
        os.lseek(file, 1 << 20, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        finally:
            os.lseek(file, 0, os.SEEK_SET)
else:
    import fcntl

    def _lock_or_raise(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

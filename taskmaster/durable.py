"""Writes files so that kill -9 and power cuts leave either the old bytes or the new ones, never a mixture.

It does not know what the bytes mean. An OSError is passed on unchanged: the caller explains it to the user.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
import time
from math import inf
from pathlib import Path

log = logging.getLogger(__name__)

BINARY = getattr(os, "O_BINARY", 0)  # without it, Windows changes line ends
# What link() reports on file systems without hard links, such as FAT, CIFS and some FUSE ones.
_NO_LINKS = {
    errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EXDEV, errno.EMLINK,
    errno.EINVAL,
}
# Here and not with the defaults, since modules of the lowest floor do not import one another.
SLOW_SYNC_SECONDS = 1.0  # of an fsync, which makes a crash repeat more than it should
SLOW_SYNC_WARNING_SECONDS = 60.0  # between two warnings
_warn_from = [-inf]  # when a slow disk may be warned of again


def write_all(file: int, data: bytes) -> None:
    """Write every byte: on a full disk, os.write wrote 100 of 1,000 and raised nothing; only the next call did."""
    rest = memoryview(data)
    while rest:
        written = os.write(file, rest)
        if written <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        rest = rest[written:]


def sync(file: int, folder: Path) -> None:
    """fsync a file, or the folder itself. Logs a warning if that takes long, at most one in a minute."""
    began = time.monotonic()
    os.fsync(file)
    now = time.monotonic()
    if now - began > SLOW_SYNC_SECONDS and now >= _warn_from[0]:
        _warn_from[0] = now + SLOW_SYNC_WARNING_SECONDS
        log.warning("The disk is slow: an fsync in %s took %.1f s, and a checkpoint takes two of them. Until it is "
                    "complete, a crash repeats the work of that time, too", folder, now - began)


def write_fresh(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write and fsync a new file at `path`, with this mode less the umask. After an error nothing is left there.

    Always a new file: after a failed fsync, the next one on the same file may succeed although the data is gone.
    """
    path.unlink(missing_ok=True)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | BINARY, mode)
    try:
        try:
            write_all(file, data)
            sync(file, path.parent)
        finally:
            close_quietly(file)
    except OSError as error:
        error.filename = str(path)
        remove_quietly(path)
        raise


def close_quietly(file: int) -> None:
    """Close a file whose data was fsynced or does not matter, so that an error cannot mean a loss.

    NFS and quotas may report EIO, ENOSPC or EDQUOT only here. The file is closed even then.
    """
    with contextlib.suppress(OSError):
        os.close(file)


def remove_quietly(path: Path) -> None:
    """Unlink if possible: the error that is being raised already matters more than a leftover file."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        pass  # the next write_fresh unlinks it again and reports it


def keep_as(current: Path, previous: Path) -> None:
    """Make `previous` the same file as `current`, which stays in place all the time.

    Renaming `current` instead left no file at all after 32 of 150 kills.
    """
    passing = previous.with_name(previous.name + ".tmp")
    # Also needed when both names already are one inode: rename() then does nothing and leaves this one behind.
    passing.unlink(missing_ok=True)
    try:
        os.link(current, passing)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        write_fresh(passing, current.read_bytes())
    os.replace(passing, previous)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable, where the system can."""
    if sys.platform == "win32":
        return  # folders cannot be opened there
    file = os.open(folder, os.O_RDONLY)
    try:
        sync(file, folder)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # network file systems may not fsync folders
            raise
    finally:
        close_quietly(file)


# A parent that may be entered but not read cannot be opened, and one on a read-only file system has nothing to write.
_NO_SYNC = {errno.EACCES, errno.EPERM, errno.EROFS}


def make_folder(path: Path) -> None:
    """Create `path` and what is missing above it (mode 0700), with their names durable on return.

    The name of a folder that exists already is fsynced too: whoever created it may have been killed before doing so.
    """
    if path != path.parent and not path.exists():
        make_folder(path.parent)
        with contextlib.suppress(FileExistsError):  # another master may have been faster
            os.mkdir(path, 0o700)
    try:
        sync_folder(path.parent)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


def end_of_last_line(file: int, size: int) -> int:
    """The position after the last line end. The search goes backwards: a line may be megabytes long."""
    step = 65536
    for start in range((size - 1) // step * step, -1, -step) if size else ():
        os.lseek(file, start, os.SEEK_SET)
        found = os.read(file, step).rfind(b"\n")
        if found >= 0:
            return start + found + 1
    return 0

"""A private address for a run on one machine: a socket in a folder of its own, which is locked while the run lasts.

The lock tells a live run from one that was killed. A process id could not, because containers that share /tmp have
process ids of their own.
"""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from taskmaster.errors import UsageError
from taskmaster.transport.addresses import IPC_PATH_BYTES, check_address

_PREFIX = "taskmaster-socket-"
_SOCKET, _LOCK = "master", "master.lock"
_SHORT_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")  # where the temporary folder is missing, read-only or too long
_RANDOM_CHARACTERS = 8  # that mkdtemp appends


@contextmanager
def private_address() -> Iterator[str]:
    """An ipc address that only this user's processes can reach, in a folder that is removed afterwards.

    Raises UsageError.
    """
    check_address("ipc://x")
    folder, lock = _locked_folder()
    try:
        yield check_address(f"ipc://{folder}/{_SOCKET}")
    finally:
        _remove(folder)
        os.close(lock)


def _locked_folder() -> tuple[Path, int]:
    """A new folder, and the descriptor that holds its lock."""
    for parent in _parents():
        _sweep_dead(parent)
        with suppress(OSError):  # not writable: the next one may be
            return _new_folder(parent)
    raise UsageError("The master and its slaves need a socket, and no temporary folder is writable. Set TMPDIR to a "
                     f"writable folder whose path has at most {_longest_parent()} bytes: TMPDIR=/some/folder.")


def _parents() -> list[str]:
    """Folders to try, those chosen by the user first."""
    try:
        chosen = [tempfile.gettempdir()]
    except FileNotFoundError:  # it found none that it can write to
        chosen = []
    return [one for one in dict.fromkeys([*chosen, *_SHORT_FOLDERS]) if len(os.fsencode(one)) <= _longest_parent()]


def _longest_parent() -> int:
    """In bytes, such that the path of the socket is valid."""
    return IPC_PATH_BYTES - len(f"/{_PREFIX}/{_SOCKET}") - _RANDOM_CHARACTERS


def _new_folder(parent: str) -> tuple[Path, int]:
    """Raises OSError."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        try:
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        except FileNotFoundError:
            continue  # another run took the new folder for a dead one
        except OSError:
            _remove(folder)
            raise
        if not _locks(lock) or os.fstat(lock).st_nlink:
            return folder, lock
        os.close(lock)  # another run locked the file first, and has removed it


def _locks(lock: int) -> bool:
    """Take the lock; False if the file system has none, in which case nobody can, and the folder is left alone."""
    if sys.platform == "win32":
        return False
    import fcntl  # here: Windows has no such module
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError:
        return False
    return True


def _sweep_dead(parent: str) -> None:
    """Remove the folders of masters that were killed with -9."""
    for folder in Path(parent).glob(f"{_PREFIX}*"):
        if _is_mine(folder):
            _remove_if_dead(folder)


def _remove_if_dead(folder: Path) -> None:
    if sys.platform == "win32":
        return
    import fcntl  # here: Windows has no such module
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        with suppress(OSError):
            folder.rmdir()  # only if it is empty: of a master that was killed before it made its lock
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove(folder)
    except OSError:
        pass  # it is in use, or on a file system without locks
    finally:
        os.close(lock)


def _remove(folder: Path) -> None:
    """The folder with what this module put there, and nothing else; the lock last, so that a crash leaves it."""
    with suppress(OSError):
        for name in (_SOCKET, _LOCK):
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()


def _is_mine(folder: Path) -> bool:
    try:
        found = folder.lstat()
    except OSError:
        return False
    return sys.platform != "win32" and stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()

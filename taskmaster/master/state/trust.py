"""Checks whose state this is: its pickles run code at a resume, so nobody else may be able to write them.

The checks are those for keys: the owner, the mode, and no symbolic link that somebody else could have put there.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from pathlib import Path

from taskmaster import defaults
from taskmaster.errors import StateUnwritable

log = logging.getLogger(__name__)


def check_folder(path: Path) -> None:
    """Raise StateUnwritable if another user owns the state folder, or may write to it.

    The folder above it is checked as well if it is the one that Taskmaster creates for all states. If it is any other
    that is open to everybody, a warning is logged.
    """
    if os.name != "posix":
        return  # the mode does not show who may write there
    parts = [path.parent, path] if path.parent.name == defaults.STATE_FOLDER else [path]
    for part in parts:
        _check_owner(part, os.lstat(part))
        found = os.stat(part)
        _check_owner(part, found)
        _check_mode(part, found.st_mode)
    _warn_of_open_parents(parts[0])


def open_own(path: Path, flags: int, mode: int = 0o600) -> int:
    """`os.open` for a file of the state. Also raises OSError if it is a link, not a regular file, or another user's."""
    extra = [getattr(os, name, 0) for name in ("O_BINARY", "O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC")]
    try:
        file = os.open(path, flags | sum(extra), mode)
    except OSError as error:
        if path.is_symlink():
            raise OSError(error.errno, "it is a symbolic link", str(path)) from error
        raise
    try:
        _check_file(path, os.fstat(file))
    except OSError:
        os.close(file)
        raise
    return file


def read_own(path: Path) -> bytes:
    """The contents of a file of the state. Raises OSError like `open_own`."""
    with open(open_own(path, os.O_RDONLY), "rb") as file:
        return file.read()


def _check_file(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    if os.name == "posix" and found.st_uid not in _trusted():
        raise OSError(errno.EPERM, f"it belongs to user {found.st_uid}", str(path))


def _check_owner(part: Path, found: os.stat_result) -> None:
    if found.st_uid not in _trusted():
        raise StateUnwritable(f"The state folder {part} belongs to user {found.st_uid}, and you are user "
                              f"{_me()}: its owner could run code as you, because a checkpoint may contain a "
                              "pickle. Choose another folder with --state DIR, or make this one yours with chown.")


def _check_mode(part: Path, mode: int) -> None:
    if mode & 0o022:
        who = "Anyone" if mode & 0o002 else "Its group"
        raise StateUnwritable(f"{who} may write to the state folder {part} (mode {stat.S_IMODE(mode):04o}) and so run "
                              f"code as you, because a checkpoint may contain a pickle. Run chmod 700 {part}, or "
                              f"choose another folder, such as one inside it, with --state DIR.")


def _warn_of_open_parents(path: Path) -> None:
    """With the sticky bit, as in /tmp, nobody can rename what belongs to somebody else."""
    for parent in Path(os.path.abspath(path)).parents:
        mode = os.stat(parent).st_mode
        if mode & 0o002 and not mode & stat.S_ISVTX:
            log.warning("Anyone may write to %s, and so replace the state below it. Run chmod o-w on it, or choose "
                        "another folder with --state DIR", parent)


def _me() -> int:
    return os.geteuid() if hasattr(os, "geteuid") else 0


def _trusted() -> tuple[int, int]:
    """This user and root, who can do anything anyway."""
    return _me(), 0

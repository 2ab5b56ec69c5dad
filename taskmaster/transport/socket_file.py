"""The file of an ipc address: made for this user alone, made again when something removes it, and removed at the end.

libzmq would remove whatever is at the path, before it binds and when it closes, be it another master's socket or a file
with somebody's data. So this module binds the socket and hands libzmq its descriptor.
"""

from __future__ import annotations

import logging
import os
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from taskmaster import defaults
from taskmaster.errors import UsageError
from taskmaster.transport.addresses import address_in_use, ipc_path

log = logging.getLogger(__name__)


class SocketFile:
    """One path, and the newest socket that this process has bound to it."""

    def __init__(self, address: str) -> None:
        """Raises UsageError if the path is not free."""
        refuse_taken(address)
        self._address = address
        self._path = os.path.abspath(ipc_path(address))  # the source of jobs may change the working folder
        self._identity: tuple[int, int] | None = None  # device and inode
        self._warned = False

    def listen(self) -> int:
        """The descriptor of a socket that listens there; it is the caller's to close. Raises UsageError."""
        try:
            if os.path.lexists(self._path):
                os.unlink(self._path)  # of a master that was killed
            return self._bound(ipc_path(self._address))
        except OSError as error:
            raise UsageError(f"Cannot listen at {self._address}: {error.strerror or error}. Give another --address.")

    def listen_again(self) -> int | None:
        """Like `listen`, if the file was removed, as old files in /tmp are on some machines; None if it is there.

        Those who are connected do not notice either. Others could connect no more.
        """
        try:
            if self._identity == _identity(self._path):
                return None
            if os.path.lexists(self._path):
                self._warn("another file was put there")
                return None
            with suppress(FileExistsError):
                os.mkdir(os.path.dirname(self._path), 0o700)
            descriptor = self._bound(self._path)
        except OSError as error:
            self._warn(str(error.strerror or error))
            return None
        log.warning("The socket file %s was removed; made it again", self._path)
        return descriptor

    def remove(self) -> None:
        """Call it before the socket is closed: until then no other file has its inode."""
        if self._identity is not None and self._identity == _identity(self._path):
            with suppress(OSError):
                os.unlink(self._path)

    def _bound(self, path: str) -> int:
        if sys.platform == "win32":
            raise OSError("there are no such sockets")  # and no such address: check_address refuses it
        listener = socket.socket(socket.AF_UNIX)
        try:
            with _closed_to_others():
                listener.bind(path)
            self._identity = _identity(self._path)
            listener.listen(defaults.BACKLOG)
            listener.setblocking(False)
        except OSError:
            listener.close()
            raise
        return listener.detach()

    def _warn(self, reason: str) -> None:
        if not self._warned:
            self._warned = True
            log.warning("The socket file %s was removed and cannot be made again: %s. Connected slaves stay; no other "
                        "can connect", self._path, reason)


def _identity(path: str) -> tuple[int, int] | None:
    """Of the socket there; None if there is none."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISSOCK(found.st_mode) else None


@contextmanager
def _closed_to_others() -> Iterator[None]:
    """A socket bound in this context gets a file that only this user can connect to, whatever the umask."""
    before = os.umask(0o177)
    try:
        yield
    finally:
        os.umask(before)


def refuse_taken(address: str) -> None:
    """Raise UsageError if an ipc path is not free: a file is there, or the socket of another master, whose slaves this
    one would take over."""
    path = ipc_path(address)
    if sys.platform == "win32" or not path or not os.path.lexists(path):
        return
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        raise UsageError(f"{path} exists and is not a socket: {_kind(path)}. Listening at {address} would replace it. "
                         f"Give a path that does not exist, such as --address ipc://{path}.socket")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except OSError:
            return
    raise address_in_use(address)


def _kind(path: str) -> str:
    mode = os.lstat(path).st_mode
    kinds = {stat.S_IFREG: "it is a file", stat.S_IFDIR: "it is a folder", stat.S_IFLNK: "it is a symbolic link"}
    return kinds.get(stat.S_IFMT(mode), "it is a device or a pipe")

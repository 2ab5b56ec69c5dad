"""What wakes a poll, and how long a poll may last."""

from __future__ import annotations

import socket
from math import ceil


class Waker:
    """Makes a poll in one thread return from another; many calls before the poll are one."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._is_set = False

    def fileno(self) -> int:
        return self._reader.fileno()

    def wake(self) -> None:
        if self._is_set:
            return
        self._is_set = True
        try:
            self._writer.send(b"!")
        except (BlockingIOError, OSError):
            pass  # full: it is rung already; closed: nobody polls any more

    def clear(self) -> None:
        """Forget the rings so far; call it before looking at what they were about."""
        self._is_set = False
        try:
            self._reader.recv(4096)
        except BlockingIOError:
            pass

    def close(self) -> None:
        self._reader.close()
        self._writer.close()


def milliseconds(seconds: float) -> int:
    """For a poll: rounded up, or the last part of a millisecond would be spent in a busy loop."""
    return ceil(max(0.0, min(seconds, 60.0)) * 1000)

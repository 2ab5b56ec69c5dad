"""Where output leaves the process: it may be lost there, but it never ends the work or makes it wait.

It knows streams and file descriptors, not what the text says.
"""

from __future__ import annotations

import atexit
import os
import select
import sys
import time
from collections import deque
from contextlib import suppress
from typing import TextIO

from taskmaster import defaults
from taskmaster.errors import LimitReached
from taskmaster.native import Condition, Thread  # of threading, patched by gevent, they would hang in a native thread


class Outlet:
    """Writes text to a stream whose reader may have left, whose disk may be full, or which is closed (None).

    What goes to a pipe or a file is written by a thread of its own: a pipe that nobody reads blocks its
    writers. Up to OUTPUT_WAITING_CHARACTERS wait for the reader; anything more is dropped. A terminal is written to
    at once, which keeps the output of several writers there in order. May be called from any thread.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self.stream = stream
        self._fd = _descriptor(stream)
        self._begin()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin)  # the child has no such thread, and its lock may be held

    def _begin(self) -> None:
        self._changed = Condition()
        self._texts: deque[str] = deque()
        self._waiting = 0  # characters, including those that are being written
        self._dropped = 0  # texts dropped since the last one that had room
        self._gone = False
        self._thread: Thread | None = None

    def write(self, text: str) -> None:
        """Write the text, or lose it."""
        if self._fd is None:
            self._write_now(text)
            return
        with self._changed:
            if self._gone:
                return
            if self._waiting + len(text) > defaults.OUTPUT_WAITING_CHARACTERS:
                self._dropped += 1
                return
            if self._dropped:
                text = f"WARNING: {self._dropped:,} lines of output were dropped here: nobody read them\n{text}"
                self._dropped = 0
            if self._start():
                self._texts.append(text)
                self._waiting += len(text)
                self._changed.notify()
                return
        self._write_now(text)

    def flush(self) -> None:
        """Does nothing: each text is written as soon as there is room for it."""

    def finish(self, seconds: float) -> None:
        """Wait up to `seconds` until everything written has been taken."""
        deadline = time.monotonic() + seconds
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting, max(0.0, deadline - time.monotonic()))

    def _start(self) -> bool:
        """Whether the thread is there, or can be started."""
        if self._thread is None:
            thread = Thread(target=self._work, name="output")
            try:
                thread.start()
            except LimitReached:  # there is a limit of threads, which the text may be about
                return False
            self._thread = thread
            atexit.register(self.finish, defaults.OUTPUT_FINISH_SECONDS)
        return True

    def _work(self) -> None:
        assert self._fd is not None
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._texts))
                text = self._texts.popleft()
            gone = not _written(self._fd, self._encoded(text))
            with self._changed:
                self._gone = gone
                if gone:
                    self._texts.clear()
                self._waiting = sum(map(len, self._texts))
                self._changed.notify()
                if gone:
                    return

    def _encoded(self, text: str) -> bytes:
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        return text.encode(encoding, "backslashreplace")

    def _write_now(self, text: str) -> None:
        if self.stream is not None:
            with suppress(OSError, ValueError):  # a ValueError where the stream is closed
                self.stream.write(text)
                self.stream.flush()


def outlet_of(stream: TextIO | None) -> Outlet:
    """The outlet of this stream: always the same one for standard error, so that its texts stay in order."""
    global _standard_error
    if stream is not sys.stderr:
        return Outlet(stream)
    if _standard_error is None or _standard_error.stream is not stream:
        _standard_error = Outlet(stream)
    return _standard_error


_standard_error: Outlet | None = None


def open_standard_streams() -> None:
    """Open the null device for each standard stream that is closed.

    A parent may close them, as with ``2>&-``. The next file opened would then get the number of standard error, and
    receive whatever a library prints there.
    """
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
            os.set_inheritable(fd, True)
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)


def silence_if_lost(stream: TextIO | None) -> None:
    """Keep the end of the process from failing because this stream cannot take what is left in its buffer."""
    try:
        if stream is not None:
            stream.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())  # type: ignore[union-attr]
            os.close(null)


def _descriptor(stream: TextIO | None) -> int | None:
    """The descriptor of a pipe or a file; None for a terminal, or if the system knows no such file."""
    try:
        return None if stream is None or stream.isatty() else stream.fileno()
    except (OSError, ValueError, AttributeError):
        return None


def _written(fd: int, data: bytes) -> bool:
    """Write all of it, however long that takes; False if nobody can ever read it. What a full disk refuses is lost."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(fd, rest):]
        except BlockingIOError:  # it is set to non-blocking mode
            _await_room(fd)
        except OSError as error:
            return not isinstance(error, BrokenPipeError)
    return True


def _await_room(fd: int) -> None:
    if sys.platform != "win32":
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        poll.poll()
    else:
        time.sleep(0.1)

"""One slave process: how it is started, tied to us, heard and ended.

It knows `subprocess`, pipes and environment variables; the other ends are in `slave/orphan.py`. It must not
know how many there are, nor when one is to be started again. On Windows it can only be imported: a fleet refuses.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Final

from taskmaster.defaults import PARENT_FD, PARENT_PID, WORD_FD

# The last lines of a dead slave; a process of the user's that holds its pipe open must not hold us.
_LAST_WORDS_SECONDS: Final = 0.5
_LINE_BYTES: Final = 64 * 1024
_ERROR: Final = b"error "

_log = logging.getLogger(__name__)

Capture = Callable[[str], None]


class Child:
    """A running slave process, or one that ended and was not looked at yet."""

    def __init__(
        self, process: subprocess.Popen[bytes], relay: threading.Thread | None, word_fd: int
    ) -> None:
        self._process = process
        self._relay = relay
        self._word_fd: int | None = word_fd
        self._words = b""
        self.pid = process.pid

    def poll(self) -> int | None:
        """Reap it if it ended: its exit code, or minus the signal that killed it; None while it runs."""
        return self._process.poll()

    def signal(self, signum: int) -> None:
        """Send a signal to the slave alone: what its handlers started may be needed to finish their jobs."""
        self._process.send_signal(signum)

    def kill(self) -> None:
        """SIGKILL to the slave and to what its handlers started, if it still runs."""
        if sys.platform == "win32":
            return
        # Between the look and the signal it may end; macOS answers for a dead group with EPERM.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self.poll() is None:
                os.killpg(self.pid, signal.SIGKILL)

    def said_ready(self) -> bool:
        """Whether it got through its start."""
        return b"ready" in self._lines()

    def said_over(self) -> bool:
        """Whether the master told it to stop."""
        return b"over" in self._lines()

    def vanished(self) -> bool:
        """Whether it began to work and never said that it was done: a handler ended the process, perhaps with 0."""
        lines = self._lines()
        return b"ready" in lines and b"done" not in lines

    def error(self) -> str | None:
        """Why it ends, if it said so."""
        said = [line for line in self._lines() if line.startswith(_ERROR)]
        return said[0][len(_ERROR):].decode(errors="replace") if said else None

    def _lines(self) -> list[bytes]:
        """The whole lines that it has written so far."""
        if self._word_fd is not None:
            with contextlib.suppress(BlockingIOError):
                self._words += os.read(self._word_fd, _LINE_BYTES)
        return self._words.split(b"\n")[:-1]

    def await_last_words(self) -> None:
        """Wait a moment for the lines that a dead slave left in its pipe."""
        if self._relay is not None:
            self._relay.join(_LAST_WORDS_SECONDS)

    def close(self) -> None:
        """Let go of what a reaped slave leaves."""
        if self._word_fd is not None:
            os.close(self._word_fd)
            self._word_fd = None


class Launcher:
    """Starts slaves from one command line, each in a session of its own and tied to this process's life."""

    def __init__(
        self, argv: Sequence[str], environment: Mapping[str, str], capture: Capture | None, keep_stdout: bool
    ) -> None:
        self._argv = list(argv)
        self._environment = dict(environment)
        self._capture = capture
        self._keep_stdout = keep_stdout
        # Slaves read one end for as long as we hold the other; they never get the write end themselves.
        self._parent_read, self._parent_write = _high_pipe()
        self._closed = False

    def launch(self) -> Child:
        """Start a slave, with a pipe for its words. Raises OSError when it cannot."""
        if sys.platform == "win32":
            raise NotImplementedError
        read, write = _high_pipe()
        os.set_blocking(read, False)
        try:
            process = self._spawn(write)
        except OSError:
            os.close(read)
            raise
        finally:
            os.close(write)
        return Child(process, self._start_relay(process), read)

    def close(self) -> None:
        """Let go of the pipe: any slave that still runs takes us for dead, and ends."""
        if not self._closed:
            self._closed = True
            os.close(self._parent_read)
            os.close(self._parent_write)

    def _spawn(self, word_fd: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._argv,
            stdin=subprocess.DEVNULL,
            stdout=None if self._capture is None or self._keep_stdout else subprocess.PIPE,
            stderr=self._stderr_target(),
            env=self._child_environment(word_fd),
            pass_fds=[self._parent_read, word_fd],
            start_new_session=True,  # a Ctrl-C reaches it once, through us
        )

    def _stderr_target(self) -> int | None:
        if self._capture is None:
            return None
        return subprocess.PIPE if self._keep_stdout else subprocess.STDOUT

    def _child_environment(self, word_fd: int) -> dict[str, str]:
        ties = {PARENT_FD: str(self._parent_read), PARENT_PID: str(os.getpid()), WORD_FD: str(word_fd)}
        return {**os.environ, **self._environment, **ties}

    def _start_relay(self, process: subprocess.Popen[bytes]) -> threading.Thread | None:
        stream = process.stderr if self._keep_stdout else process.stdout
        if self._capture is None or stream is None:
            return None
        thread = threading.Thread(
            target=_relay, args=(stream, self._capture), name="slave-output", daemon=True
        )
        thread.start()
        return thread


def _relay(stream: IO[bytes], capture: Capture) -> None:
    """Give each line of a slave's output to `capture` until the output ends, come what may.

    A slave blocks when nobody reads its pipe, so a failing `capture` loses the lines, not the slave.
    """
    failed = False
    with stream:
        for line in iter(lambda: stream.readline(_LINE_BYTES), b""):
            if not failed:
                failed = not _captured(line, capture)


def _captured(line: bytes, capture: Capture) -> bool:
    try:
        capture(line.decode(errors="replace").rstrip("\r\n"))
    except Exception:
        _log.warning("Cannot show what a slave prints; dropping the rest of it", exc_info=True)
        return False
    return True


def _high_pipe() -> tuple[int, int]:
    """A pipe, not inherited by default, whose ends are above 2.

    A parent started with a standard stream closed gets 0, 1 or 2 for its next file; a child would find
    /dev/null there instead of the pipe, read its end and take the parent for dead.
    """
    if sys.platform == "win32":
        raise NotImplementedError
    import fcntl

    ends = os.pipe()
    high = fcntl.fcntl(ends[0], fcntl.F_DUPFD_CLOEXEC, 3), fcntl.fcntl(ends[1], fcntl.F_DUPFD_CLOEXEC, 3)
    for fd in ends:
        os.close(fd)
    return high

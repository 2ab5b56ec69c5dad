"""Slaves on this machine: each a process of its own, tied to the life of this one.

It knows `subprocess`, pipes and environment variables; the slave's ends of the pipes are in `slave/lifeline.py`. How
many slaves there are and when they are restarted is the fleet's business.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence

from taskmaster import defaults
from taskmaster.errors import UsageError
from taskmaster.fleet.base import BEAT, DONE, READY, STUCK, Exit
from taskmaster.fleet.exits import exit_of
from taskmaster.fleet.guardian import Guardian, kill_group
from taskmaster.fleet.oom import oom_kills
from taskmaster.fleet.output import Capture, Relays
from taskmaster.forks import close_in_children, keep_in_children


class LocalProcess:
    """A slave process on this machine, the leader of a process group that includes its handlers' programs."""

    def __init__(self, process: subprocess.Popen[bytes], word_fd: int, stack_fd: int | None, oom_kills_before: int,
                 guardian: Guardian) -> None:
        self.name = f"{socket.gethostname()}:{process.pid}"
        self._process = process
        self._word_fd: int | None = word_fd
        self._stack_fd = stack_fd
        self._stack = ""
        self._guardian = guardian
        self._unread = b""  # a line that is not complete yet
        self._lines: set[str] = set()
        self._beats = 0
        self._oom_kills_before = oom_kills_before
        self._killed_by_us = False
        self._exit: Exit | None = None

    def poll(self) -> Exit | None:
        """How it ended; None while it runs. The call that finds the end also reaps the process and closes its pipe.

        Programs that its handlers started end with it, unless it ended normally: they may be meant to stay.
        """
        if self._exit is None and (code := self._process.poll()) is not None:
            heard = self.heard()
            self._exit = exit_of(code, heard, self._may_be_an_oom_kill())
            if code < 0 or STUCK in heard or (READY in heard and DONE not in heard):
                kill_group(self._process.pid)
            self._guardian.remove(self._process.pid)
            self._close()
        return self._exit

    def heard(self) -> frozenset[str]:
        """The whole lines in its pipe so far, without the beats."""
        self._read()
        return frozenset(self._lines)

    def beats(self) -> int:
        """How many beats have come through its pipe."""
        self._read()
        return self._beats

    def ask_for_stack(self) -> None:
        """Send SIGQUIT, on which the slave's `faulthandler` writes its stacks without the interpreter."""
        if self._stack_fd is not None and sys.platform != "win32":
            self._process.send_signal(signal.SIGQUIT)

    def stack(self) -> str:
        """The contents of the file for its stacks."""
        if self._stack_fd is not None and sys.platform != "win32":
            self._stack = os.pread(self._stack_fd, defaults.SAID_BYTES, 0).decode(errors="replace")
        return self._stack

    def signal(self, signum: int) -> None:
        """Send a signal to the slave alone."""
        self._process.send_signal(signum)

    def kill(self) -> None:
        """Send SIGKILL to the slave and to what its handlers started, if it still runs."""
        if sys.platform == "win32":
            return
        # It may end between the check and the signal; macOS reports EPERM for a dead group.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self.poll() is None:
                self._killed_by_us = True
                os.killpg(self._process.pid, signal.SIGKILL)

    def _read(self) -> None:
        if self._word_fd is None:
            return
        with contextlib.suppress(BlockingIOError):
            while more := os.read(self._word_fd, defaults.SAID_BYTES):
                self._take(more)

    def _take(self, more: bytes) -> None:
        *whole, self._unread = (self._unread + more).split(b"\n")
        self._unread = self._unread[:defaults.SAID_BYTES]
        for line in (one.decode(errors="replace") for one in whole):
            if line == BEAT:
                self._beats += 1
            elif len(self._lines) < defaults.SAID_LINES:
                self._lines.add(line)

    def _may_be_an_oom_kill(self) -> bool:
        return not self._killed_by_us and oom_kills() > self._oom_kills_before

    def _close(self) -> None:
        if self._word_fd is not None:
            os.close(self._word_fd)
            self._word_fd = None
        if self._stack_fd is not None:
            self.stack()
            os.close(self._stack_fd)
            self._stack_fd = None


class LocalLauncher:
    """Starts slaves from one command line, each in a session of its own.

    `environment` is added to this process's own; `folder` is their working folder, if it is to be another than ours.
    With `capture`, each line that the slaves print is passed to it, from other threads; with `keep_stdout` only the
    lines of stderr are, and stdout stays that of this process (a file, say, which must receive exactly what was
    printed).

    Launch from the thread that made the launcher, and keep that thread alive: when it ends, Linux kills the slaves that
    it started. POSIX only; raises UsageError elsewhere.
    """

    def __init__(self, argv: Sequence[str], *, environment: Mapping[str, str] | None = None,
                 folder: str | None = None, capture: Capture | None = None, keep_stdout: bool = False) -> None:
        _need_unix()
        self._argv = list(argv)
        self._environment = dict(environment or {})
        self._folder = folder
        self._relays = Relays(capture)
        self._keep_stdout = keep_stdout
        self._owner = threading.current_thread()
        # Slaves read from one end, which tells them when the other, which they never get, is gone with us.
        self._parent_read, self._parent_write = _high_pipe()
        close_in_children(self._parent_write)  # held by a child of this process, it would keep orphans alive
        self._guardian = Guardian()
        self._closed = False

    def launch(self, slot: int) -> LocalProcess:
        """Start a slave; all slots are the same here. Raises OSError if the system cannot."""
        if sys.platform == "win32":
            raise NotImplementedError
        if threading.current_thread() is not self._owner:
            raise RuntimeError("Slaves must be launched by the thread that made the launcher: when it ends, Linux "
                               "kills them.")
        read, write = _high_pipe()
        os.set_blocking(read, False)
        kills, stack = oom_kills(), _stack_file()
        try:
            process = self._spawn(write, stack)
        except OSError:
            for fd in (read, stack):
                if fd is not None:
                    os.close(fd)
            raise
        finally:
            os.close(write)
        self._guardian.add(process.pid)
        self._relays.start(process.stderr if self._keep_stdout else process.stdout)
        return LocalProcess(process, read, stack, kills, self._guardian)

    def close(self) -> None:
        """Show the slaves' last lines, then close the pipe, at which any slave that still runs ends."""
        if not self._closed:
            self._closed = True
            self._relays.join()
            self._guardian.close()
            os.close(self._parent_read)
            keep_in_children(self._parent_write)
            os.close(self._parent_write)

    def _spawn(self, word_fd: int, stack_fd: int | None) -> subprocess.Popen[bytes]:
        captured = self._relays.wanted
        return subprocess.Popen(
            self._argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if captured and not self._keep_stdout else None,
            stderr=_stderr_target(captured, self._keep_stdout),
            env=self._child_environment(word_fd, stack_fd),
            cwd=self._folder,
            pass_fds=[self._parent_read, word_fd, *([] if stack_fd is None else [stack_fd])],
            start_new_session=True,  # so that Ctrl-C reaches it only once, through us
        )

    def _child_environment(self, word_fd: int, stack_fd: int | None) -> dict[str, str]:
        ties = {defaults.PARENT_FD: str(self._parent_read), defaults.PARENT_PID: str(os.getpid()),
                defaults.WORD_FD: str(word_fd), defaults.STACK_FD: "" if stack_fd is None else str(stack_fd)}
        return {**os.environ, **self._environment, **ties}


def _need_unix() -> None:
    if sys.platform == "win32":
        raise UsageError("tm-run and tm-spawn need Linux, macOS or another Unix. Start slaves with tm-slave.")


def _stderr_target(captured: bool, keep_stdout: bool) -> int | None:
    if not captured:
        return None
    return subprocess.PIPE if keep_stdout else subprocess.STDOUT


def _stack_file() -> int | None:
    """An unnamed file for a slave to write its stacks to; None where there is no place for one."""
    if sys.platform == "win32":
        raise NotImplementedError
    import fcntl  # here: Windows has no such module

    try:
        with tempfile.TemporaryFile(buffering=0) as file:
            return fcntl.fcntl(file.fileno(), fcntl.F_DUPFD_CLOEXEC, 3)
    except OSError:  # a read-only system: a slave that hangs is killed without its stack being shown
        return None


def _high_pipe() -> tuple[int, int]:
    """A pipe, not inherited by default, whose descriptors are above 2.

    If a parent is started with a standard stream closed, the next file that it opens gets 0, 1 or 2. Its child would
    find /dev/null there instead of the pipe, read the end of it, and take the parent for dead.
    """
    if sys.platform == "win32":
        raise NotImplementedError
    import fcntl  # here: Windows has no such module

    ends = os.pipe()
    high = fcntl.fcntl(ends[0], fcntl.F_DUPFD_CLOEXEC, 3), fcntl.fcntl(ends[1], fcntl.F_DUPFD_CLOEXEC, 3)
    for fd in ends:
        os.close(fd)
    return high

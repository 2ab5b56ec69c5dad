"""A slave never outlives its parent process: the slave's side of that promise.

There are two mechanisms, since each has a gap. The kernel's parent-death signal needs no Python to run, so it ends even
a slave stuck in C code that holds the interpreter lock, but only Linux has it. A pipe whose write end only the parent
holds works everywhere, but the thread that reads it needs the lock. This module knows nothing of what a slave does, and
of how it was started only four environment variables.
"""

from __future__ import annotations

import ctypes
import faulthandler
import logging
import os
import signal
import sys
import threading
from select import select
from typing import Final

from taskmaster.defaults import PARENT_FD, PARENT_LOOK_SECONDS, PARENT_PID, STACK_FD, WORD_FD
from taskmaster.forks import close_in_children

_PR_SET_PDEATHSIG: Final = 1  # from linux/prctl.h

_log = logging.getLogger(__name__)
_word_fds: list[int] = []


def guard() -> bool:
    """Tie this process to its parent, so that it is killed as soon as the parent is gone. Returns whether a fleet
    keeps it.

    Call it first thing, in the main thread. Without the variables that a fleet sets it does nothing. They are removed
    from `os.environ`, and their descriptors are not inherited by later children, who have other parents.
    """
    parent_fd, parent_pid = _take_fd(PARENT_FD), os.environ.pop(PARENT_PID, "")
    word_fd = _take_fd(WORD_FD)
    if word_fd is not None:
        _word_fds.append(word_fd)
        close_in_children(word_fd)
    _write_stacks_to(_take_fd(STACK_FD))
    if parent_pid:
        _die_with(int(parent_pid))
    if parent_fd is not None:
        threading.Thread(
            target=_wait_for_end, args=(parent_fd, int(parent_pid or 0)), name="lifeline", daemon=True
        ).start()
    return parent_fd is not None


def say_ready() -> None:
    """Tell the fleet that this slave has started up."""
    _say(b"ready\n")


def say_beat() -> None:
    """Tell the fleet that the control thread runs. Never waits: a suspended fleet does not read its pipe."""
    if sys.platform != "win32" and _word_fds and select([], _word_fds, [], 0)[1]:
        _say(b"beat\n")


def say_stuck() -> None:
    """Tell the fleet that a handler still runs as this slave exits: the programs it started are to be killed."""
    _say(b"stuck\n")


def say_done() -> None:
    """Tell the fleet that this slave ends normally: an exit code of 0 alone could be a handler's `os._exit(0)`."""
    _say(b"done\n")


def say_over() -> None:
    """Tell the fleet that the master told this slave to stop: there is no work for the others either."""
    _say(b"over\n")


def say_error(text: str) -> bool:
    """Tell the fleet why this slave ends, so that it is shown once for all of them; False without a fleet.

    Several lines travel as one, with vertical tabs between them.
    """
    return _say(b"error " + "\v".join(text.splitlines()).encode("utf-8", "replace") + b"\n")


def _say(line: bytes) -> bool:
    """Send a line to the fleet; returns whether one is listening."""
    for fd in _word_fds:
        try:
            os.write(fd, line)
        except BrokenPipeError:
            _log.debug("The fleet no longer listens; continuing")
            return False
    return bool(_word_fds)


def _take_fd(variable: str) -> int | None:
    """The descriptor that an environment variable names, no longer inheritable; None where there is none."""
    text = os.environ.pop(variable, "")
    if not text:
        return None
    try:
        os.set_inheritable(int(text), False)
    except (OSError, ValueError) as error:
        # A wrapper between fleet and slave may have closed it. By now the number could be any file: leave it alone.
        _log.warning("%s=%s is not an open descriptor (%s); continuing without it", variable, text, error)
        return None
    return int(text)


def _write_stacks_to(fd: int | None) -> None:
    """Make SIGQUIT write the stacks of all threads. This runs no Python, so it works while a job holds the lock."""
    if fd is not None and sys.platform != "win32":
        faulthandler.register(signal.SIGQUIT, file=fd, all_threads=True)


def _die_with(parent_pid: int) -> None:
    """Ask Linux for SIGKILL when the parent ends; dies here if that has happened already."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            reason = os.strerror(ctypes.get_errno())
            _log.warning("No parent-death signal (%s); relying on the pipe alone", reason)
    if _is_orphan(parent_pid):
        _die()


def _wait_for_end(fd: int, parent_pid: int) -> None:
    """Block until the parent is gone, then die; `parent_pid` is 0 if unknown."""
    # The pipe alone is not enough: a child that user code forked from the parent can hold it open.
    while not _at_end(fd) and not _is_orphan(parent_pid):
        pass
    _die()


def _at_end(fd: int) -> bool:
    if sys.platform == "win32":  # select only takes sockets there
        return os.read(fd, 1) == b""
    readable, _, _ = select([fd], [], [], PARENT_LOOK_SECONDS)
    return bool(readable) and os.read(fd, 1) == b""


def _is_orphan(parent_pid: int) -> bool:
    return sys.platform != "win32" and parent_pid != 0 and os.getppid() != parent_pid


def _die() -> None:
    """Exit now, without cleaning up: the master leases the jobs held here to others."""
    if sys.platform != "win32":
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(1)

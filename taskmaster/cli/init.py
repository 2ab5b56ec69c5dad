"""A command that is process 1 of a container has to forward signals and reap dead children.

The kernel drops signals that process 1 has no handler for, and makes it the parent of every orphan. So the command
itself runs in a child; process 1 forwards signals to it, reaps whatever ends, and exits as the child did.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys

_PASSED_ON = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGCONT", "SIGWINCH")


def leave_process_1() -> None:
    """Return in a child if this is process 1; otherwise return at once. Call it before any thread is started."""
    if os.getpid() == 1 and sys.platform != "win32":
        run_under_init()


def run_under_init() -> None:
    """Return in a child; this process looks after it and exits as it does."""
    if sys.platform == "win32":
        return
    signals = [getattr(signal, name) for name in _PASSED_ON]
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    child = os.fork()
    if child:
        for number in signals:
            signal.signal(number, lambda signum, _: _pass_on(child, signum))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
    if child:
        os._exit(_reap_until(child))


def _pass_on(child: int, signum: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signum)


def _reap_until(child: int) -> int:
    """Reap all children until this one ends; returns its exit code, as a shell would report it."""
    if sys.platform == "win32":  # where no program is process 1
        raise NotImplementedError
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code

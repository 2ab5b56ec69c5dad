"""Whether the system allows as many files and threads as are about to be used.

ZeroMQ ends the process with SIGABRT and one line of C++ where it gets no descriptor or thread. So ask before it does.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Any

from taskmaster.errors import LimitReached
from taskmaster.native import Lock, start_thread


def check_files(count: int) -> None:
    """Raise LimitReached unless `count` more files can be opened. Takes 4 us for each."""
    files: list[int] = []
    refused = None
    try:
        for _ in range(count):
            files.append(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        refused = error
    finally:
        for file in files:
            os.close(file)
    if refused is not None and refused.errno in (errno.EMFILE, errno.ENFILE):
        raise LimitReached(_too_few_files(count, len(files), refused)) from refused


def check_threads(count: int) -> None:
    """Raise LimitReached unless `count` more threads can be started. Takes 50 us for each."""
    gate, started = Lock(), []
    with gate:
        for _ in range(count):
            running = Lock()
            running.acquire()
            start_thread(_pass, gate, running)
            started.append(running)
    for running in started:
        running.acquire()


def _pass(gate: Any, running: Any) -> None:
    with gate:
        running.release()


def _too_few_files(wanted: int, found: int, error: OSError) -> str:
    if error.errno == errno.ENFILE or sys.platform == "win32":
        return f"The system has too many files open: {found} more can be opened, and {wanted} are needed."
    import resource  # here: Windows has no such module

    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return (f"The limit of open files is too low (`ulimit -n` shows {limit}): {wanted} more are needed, and {found} "
            "can be opened. Raise it in the shell, for example with: ulimit -n 1024")

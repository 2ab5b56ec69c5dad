"""The job file: its handler notes the start and the end of each job in a file that only grows.

The product is judged by these notes, so the handler knows nothing of it.
"""

from __future__ import annotations

LOG = "log"
ENOUGH = "enough"

# One write to a file opened with O_APPEND is atomic, whoever else writes: a note is either there or not.
_NOTES = f'''\
import os, sys, threading, time

_log = os.open("{LOG}", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def note(what, job):
    line = f"{{what}} {{job}} {{os.getpid()}} {{threading.get_ident()}} {{time.monotonic():.6f}}\\n"
    os.write(_log, line.encode())


def get_jobs(last=0, n: int = 1_000_000_000):
    job = last
    while job < n:
        if os.path.exists("{ENOUGH}"):
            n = min(n, max(job, int(open("{ENOUGH}").read())))
        if job < n:
            yield job
            job += 1
    note("exhausted", job)


def handle_job(job):
    note("start", job)
    try:
        result = deed(job)
    except BaseException:
        note("raise", job)
        raise
    note("end", job)
    return result


SECONDS = %r


def deed(job):
    time.sleep(SECONDS)

'''


def workload(seconds: float, more: str = "") -> str:
    """A job file whose handler sleeps for `seconds`; `more` may redefine `deed`, `get_jobs` or anything else.

    The jobs are 0, 1, 2, ... below the argument `n`, or below the number in a file named ENOUGH once that exists.
    """
    return _NOTES % seconds + more

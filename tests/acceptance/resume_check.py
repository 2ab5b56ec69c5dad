"""Stops the source of a module after each of its jobs, and tells what a resumed run then misses or repeats.

    python resume_check.py MODULE

Prints one line for each place at which the two runs together do not handle each job exactly once. What handlers did
to orders.sqlite is undone between two trials.
"""

from __future__ import annotations

import importlib
import io
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from taskmaster import Job
from taskmaster.job import NO_CURSOR
from taskmaster.targets.signature import first_offset

TABLE, SPARE = Path("orders.sqlite"), Path("orders.spare")


def positions(get_jobs: Any, **last: Any) -> Iterator[tuple[Any, Any]]:
    """Each payload with the cursor after it, as a master has them."""
    for offset, job in enumerate(get_jobs(**last), last.get("offset", first_offset(get_jobs))):
        payload, cursor = (job.payload, job.cursor) if isinstance(job, Job) else (job, NO_CURSOR)
        yield payload, offset + 1 if cursor is NO_CURSOR else cursor


def handled(module: Any, stop: int | None) -> list[Any]:
    """The jobs of a run that is stopped after `stop` of them and resumed; of a single run where that is None."""
    shutil.copy(SPARE, TABLE)
    everything = list(positions(module.get_jobs))
    first = everything[:stop]
    with redirect_stdout(io.StringIO()):
        for payload, _ in first:
            module.handle_job(payload)
    rest = [] if stop is None else resumed(module, everything, stop)
    return [payload for payload, _ in first + rest]


def resumed(module: Any, pulled: list[tuple[Any, Any]], stop: int) -> list[tuple[Any, Any]]:
    """What runs when all jobs below `stop` are done: from where the cursor changes, without those that are known."""
    begin = stop
    while 0 < begin < len(pulled) and pulled[begin - 1][1] == pulled[begin][1]:
        begin -= 1
    last = {"last": pulled[begin - 1][1]} if begin else {}
    known = [cursor for _, cursor in pulled[begin:stop]]
    found = list(positions(module.get_jobs, **last))
    return [job for at, job in enumerate(found) if at >= len(known) or job[1] != known[at]]


def main(name: str) -> None:
    module = importlib.import_module(name)
    shutil.copy(TABLE, SPARE)
    everything = Counter(handled(module, None))
    assert len(everything) > 3
    for stop in range(1, len(everything) + 1):
        found = Counter(handled(module, stop))
        if found != everything:
            missed, repeated = everything - found, found - everything
            print(f"stopped after {stop}: missed {sorted(missed)}, repeated {sorted(repeated)}")


if __name__ == "__main__":
    sys.path.insert(0, "")
    main(sys.argv[1])

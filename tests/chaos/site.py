"""A folder in which commands run: the job file, the handlers' notes, and what the product leaves on disk."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from chaos import state
from chaos.bounds import LIMIT_SECONDS
from chaos.exceptions import Broken
from chaos.handlers import ENOUGH, LOG, workload
from chaos.log import Log
from support.waiting import wait_until

TAIL = 150  # jobs that follow all that were begun


class Site:
    """Its job file is `target`; without a fixed number of jobs the source runs until `enough` is called."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        folder.mkdir(parents=True)
        self.folder = folder.resolve()
        self.chance = chance
        self.target = "work.py"
        self.log = Log(self.folder / LOG)
        self.state = self.folder / "state"
        self.expected: Iterable[object] | None = None  # jobs; None: all that the source gave
        self.dense = True  # whether a job is its own offset
        self.seconds = 0.004  # that a job takes,
        self.even = True  # and whether each one does

    # -- the workload

    def write(self, more: str = "", *, seconds: float = 0.004, jobs: int | None = None) -> None:
        """Write the job file; `more` may define anything anew."""
        self.seconds, self.even = seconds, "def deed" not in more
        if jobs is not None:
            self.expected = range(jobs)
            more = f"\n_source = get_jobs\ndef get_jobs(last=0): return _source(last, {jobs})\n" + more
        (self.folder / "work.py").write_text(workload(seconds, more))

    def enough(self) -> None:
        """The source ends soon: a little above what was ever begun, so that a resumed one does all of that again."""
        begun = max((int(one.job) for one in self.log.read().attempts), default=0)
        fresh = self.folder / f"{ENOUGH}.new"
        fresh.write_text(str(begun + TAIL))
        fresh.replace(self.folder / ENOUGH)

    # -- looking and waiting

    def checkpoint(self) -> dict[str, Any] | None:
        """What a resume would start from."""
        return state.newest_checkpoint(self.state)

    def failures(self) -> list[dict[str, Any]]:
        return state.failures(self.state)

    def failed(self) -> list[tuple[int, str]]:
        """Offset and kind of each failure."""
        return sorted((line["offset"], line["kind"]) for line in self.failures())

    def summary(self) -> dict[str, Any]:
        """What the last run that ended said of itself; empty if none did."""
        path = self.folder / "summary.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def done(self) -> int:
        """How many handler calls returned."""
        return len(self.log.read().ends)

    def settled_since(self, then: float) -> int:
        """How many of them since that moment."""
        return self.log.settled_between(then, time.monotonic())

    def until(self, fact: Callable[[], object], what: str, seconds: float = LIMIT_SECONDS) -> float:
        """Wait for it; returns how long that took. Raises Broken if it does not become so."""
        began = time.monotonic()
        if not wait_until(fact, seconds):
            raise Broken(f"after {seconds:.0f} s still not so: {what}")
        return time.monotonic() - began

    def at_work(self, more: int = 100) -> None:
        """Wait until this many more jobs are done."""
        goal = self.done() + more
        self.until(lambda: self.done() >= goal, f"{more} more jobs are done")

    def pause(self, least: float, most: float | None = None) -> None:
        time.sleep(least if most is None else self.chance.uniform(least, most))

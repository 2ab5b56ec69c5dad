"""taskmaster as its users run it: the real commands on the job files of jobs/, at their defaults.

The clock: "workers ready" is when the first slave has imported the job file, or when the source is first asked for a
job if that is later. At that point the slave has yet to connect, and the others to start, which counts against us (a
peer's workers are all up and warm). By then the master may have pulled up to a window of jobs ahead, 0.3 % of the
no-op run. "All settled" is when the master ends: every job is reported as done, the last checkpoint is on disk and
the slaves are told to stop. "Whole" is from before the command is started until after it has ended.
"""

from __future__ import annotations

import importlib
import json
import os
import shlex
import socket
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks import measure
from benchmarks.marks import STAMPS, Mark, first, read_marks
from benchmarks.sample import Sample, sample_of

from taskmaster import defaults
from taskmaster.errors import EXIT_DONE_WITH_FAILURES

ROOT = Path(__file__).resolve().parents[2]
JOBS = Path(__file__).resolve().parent / "jobs"
LIMIT_SECONDS = 600.0
# Runs a command on a terminal that nobody watches.
WATCHED = [sys.executable, "-c", "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"]


@dataclass(frozen=True)
class Run:
    """A run that has ended: its commands, what its summary says, and the marks that its job file left."""

    measured: list[measure.Measured]
    summary: Mapping[str, Any]
    marks: list[Mark]
    count: int

    def wrong(self, failing: int = 0, repeats: bool = False) -> str:
        """What is wrong with it, empty if nothing is; `failing` jobs have to fail, and with `repeats`, some may be
        reported twice."""
        for one in self.measured:
            if one.code != (EXIT_DONE_WITH_FAILURES if failing else 0):
                return f"exit code {one.code}: {one.told.strip()[-300:]}"
        if not self.summary.get("finished"):
            return "the summary does not say that it is finished"
        if self.handled + failing != self.count:
            return f"handled {self.handled:,} of {self.count - failing:,} jobs"
        due = {"failed": failing, "retried": (defaults.ATTEMPTS - 1) * failing, "replayed": 0, "duplicates": 0}
        due |= {"duplicates": self.summary["duplicates"]} if repeats else {}
        return ", ".join(f"{self.summary[name]} {name}" for name, number in due.items() if self.summary[name] != number)

    @property
    def handled(self) -> int:
        return int(self.summary.get("handled", 0))

    @property
    def begin(self) -> float | None:
        """When the first worker was ready and the source was asked."""
        sources = [mark for mark in self.marks if mark.word == "source"]
        slaves = [mark.time for mark in self.marks if mark.word == "ready" and mark.pid != sources[0].pid] \
            if sources else []
        return max(sources[0].time, min(slaves)) if slaves else None

    @property
    def end(self) -> float | None:
        """When the master said that all is settled: its clock starts within a millisecond of the source's."""
        source = first(self.marks, "source")
        return source + float(self.summary["elapsed"]) if source is not None and self.summary else None

    @property
    def seconds(self) -> float:
        """From workers ready to all settled."""
        return self.end - self.begin if self.begin is not None and self.end is not None else 0.0


@dataclass(frozen=True)
class Ours:
    """taskmaster as a contender, by tm-run, or with `tcp` by tm-master and tm-spawn over loopback.

    Options are limited to those that a workload prescribes for all, such as its threads, or that it measures. With
    `terminal`, the commands run on a terminal. `extra_jobs` are added to `count`; `failing` of all have to fail.
    With `repeats`, some may be run by two slaves.
    """

    job: str
    count: int
    slaves: int = 2
    arguments: Mapping[str, object] = field(default_factory=dict)
    master_options: tuple[str, ...] = ()
    slave_options: tuple[str, ...] = ()
    tcp: bool = False
    terminal: bool = False
    extra_jobs: int = 0
    failing: int = 0
    repeats: bool = False
    name: str = "taskmaster"

    @property
    def how(self) -> str:
        """What a reader would type for the same run, except for the number of jobs."""
        target, given = f"{self.job}.py", [f"{key}={value}" for key, value in self.arguments.items()]
        if not self.tcp:
            return shlex.join(["tm-run", target, str(self.slaves), *given, *self.master_options, *self.slave_options])
        return " + ".join([shlex.join(["tm-master", target, *given, *self.master_options]),
                           shlex.join(["tm-spawn", target, str(self.slaves), *self.slave_options])])

    def run(self) -> Sample:
        try:
            found = self._execute()
        except measure.Overtime as error:
            return Sample(self.count, wrong=str(error))
        return sample_of(found.measured, found.marks, found.count - self.failing, found.handled, found.seconds,
                         found.wrong(self.failing, self.repeats))

    def _execute(self) -> Run:
        """One run in a folder of its own. Raises Overtime."""
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            folder = Path(name)
            measured = measure.run_all(self._commands(), folder, environment({STAMPS: str(folder / "stamps")}),
                                       LIMIT_SECONDS)
            return Run(measured, _summary(folder), read_marks(folder / "stamps"), self.count + self.extra_jobs)

    def _commands(self) -> list[list[str]]:
        target = str(JOBS / f"{self.job}.py")
        pairs = [f"{key}={value}" for key, value in {"count": self.count, **self.arguments}.items()]
        master = [*pairs, "--summary", "summary.json", *self.master_options]
        if not self.tcp:
            before = WATCHED if self.terminal else []
            return [[*before, *_command("run"), target, str(self.slaves), *master, *self.slave_options]]
        address = ["--address", f"tcp://127.0.0.1:{_free_port()}"]
        return [[*_command("master"), target, *master, *address],
                [*_command("spawn"), target, str(self.slaves), *self.slave_options, *address]]


def job_module(name: str) -> ModuleType:
    """A file of jobs/, imported under the name that tm-run gives it."""
    if str(JOBS) not in sys.path:
        sys.path.insert(0, str(JOBS))
    return importlib.import_module(name)


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """This checkout's package first, no options from the caller's environment."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("TASKMASTER_")}
    paths = [str(ROOT), str(ROOT / "scripts"), *filter(None, [kept.get("PYTHONPATH")])]
    return {**kept, "PYTHONPATH": os.pathsep.join(paths), **more}


def _command(name: str) -> list[str]:
    """tm-NAME as installed next to this Python; its module if it is not."""
    script = Path(sys.executable).parent / f"tm-{name}"
    return [str(script)] if script.exists() else [sys.executable, "-m", f"taskmaster.cli.{name}"]


def _summary(folder: Path) -> Mapping[str, Any]:
    path = folder / "summary.json"
    found: Mapping[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])

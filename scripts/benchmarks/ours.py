"""taskmaster as its users run it: the real commands on the job files of jobs/, at their defaults.

The clock. "Workers ready" is when the first slave has imported the job file, or the source is first asked for a job
if that is later: from there on the slave has yet to connect, and the others to start, which counts against us (a
peer's workers are all up and warm). By then the master may have pulled up to a window of jobs ahead, 0.3 % of the
no-op run. "All settled" is when the master ends: every job is reported as done, the last checkpoint is on disk and
the slaves are told to stop. "Whole" is from before the command is started to after it has ended.
"""

from __future__ import annotations

import importlib
import json
import os
import shlex
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks import measure
from benchmarks.sample import Sample, sample_of

ROOT = Path(__file__).resolve().parents[2]
JOBS = Path(__file__).resolve().parent / "jobs"
LIMIT_SECONDS = 600.0


@dataclass(frozen=True)
class Mark:
    """A line of jobs/stamps.py: which word, process, at what time, and further numbers."""

    word: str
    pid: int
    time: float
    numbers: tuple[float, ...]


@dataclass(frozen=True)
class Run:
    """A run that has ended: its commands, what its summary says, and the marks that its job file left."""

    measured: list[measure.Measured]
    summary: Mapping[str, Any]
    marks: list[Mark]

    @property
    def wrong(self) -> str:
        """What spoils it, empty if nothing does."""
        for one in self.measured:
            if one.code != 0:
                return f"exit code {one.code}: {one.told.strip()[-300:]}"
        if not self.summary.get("finished"):
            return "the summary does not say that it is finished"
        again = [name for name in ("failed", "retried", "replayed", "duplicates") if self.summary[name]]
        return ", ".join(f"{self.summary[name]} {name}" for name in again)

    @property
    def handled(self) -> int:
        return int(self.summary.get("handled", 0))

    def first(self, word: str) -> float | None:
        """The time of the first mark of this word."""
        return min((mark.time for mark in self.marks if mark.word == word), default=None)

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
        source = self.first("source")
        return source + float(self.summary["elapsed"]) if source is not None and self.summary else None

    @property
    def seconds(self) -> float:
        """From workers ready to all settled."""
        return self.end - self.begin if self.begin is not None and self.end is not None else 0.0


def run(job: str, slaves: int, arguments: Mapping[str, object], master_options: Sequence[str] = (),
        slave_options: Sequence[str] = (), *, tcp: bool = False, environment: Mapping[str, str] | None = None) -> Run:
    """One run in a folder of its own: by tm-run, or with `tcp` by tm-master and tm-spawn over loopback."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        target, pairs = str(JOBS / f"{job}.py"), [f"{key}={value}" for key, value in arguments.items()]
        master = [*pairs, "--summary", "summary.json", *master_options]
        if tcp:
            address = ["--address", f"tcp://127.0.0.1:{_free_port()}"]
            commands = [[*_command("master"), target, *master, *address],
                        [*_command("spawn"), target, str(slaves), *slave_options, *address]]
        else:
            commands = [[*_command("run"), target, str(slaves), *master, *slave_options]]
        measured = measure.run_all(commands, folder, _environment(folder, environment or {}), LIMIT_SECONDS)
        return Run(measured, _summary(folder), _marks(folder))


def command_line(job: str, slaves: int, arguments: Mapping[str, object], options: Sequence[str], tcp: bool) -> str:
    """What a reader would type for the same."""
    pairs = [f"{key}={value}" for key, value in arguments.items()]
    shown = [f"{job}.py", *([] if tcp else [str(slaves)]), *pairs, *options]
    return shlex.join(["tm-master" if tcp else "tm-run", *shown]) + (f" + tm-spawn {job}.py {slaves}" if tcp else "")


@dataclass(frozen=True)
class Ours:
    """taskmaster as a contender: `options` are only what a workload prescribes for all, such as its threads."""

    job: str
    count: int
    slaves: int = 2
    arguments: Mapping[str, object] = field(default_factory=dict)
    master_options: tuple[str, ...] = ()
    slave_options: tuple[str, ...] = ()
    tcp: bool = False
    name: str = "taskmaster"

    @property
    def how(self) -> str:
        return command_line(self.job, self.slaves, {}, [*self.master_options, *self.slave_options], self.tcp)

    def run(self) -> Sample:
        try:
            found = run(self.job, self.slaves, {"count": self.count, **self.arguments}, self.master_options,
                        self.slave_options, tcp=self.tcp)
        except measure.Overtime as error:
            return Sample(self.count, wrong=str(error))
        return sample_of(found.measured, self.count, found.handled, found.seconds, found.wrong)


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


def _environment(folder: Path, more: Mapping[str, str]) -> dict[str, str]:
    return environment({"BENCH_STAMPS": str(folder / "stamps"), **more})


def _command(name: str) -> list[str]:
    """tm-NAME as it is installed beside this Python; its module where it is not."""
    script = Path(sys.executable).parent / f"tm-{name}"
    return [str(script)] if script.exists() else [sys.executable, "-m", f"taskmaster.cli.{name}"]


def _summary(folder: Path) -> Mapping[str, Any]:
    path = folder / "summary.json"
    found: Mapping[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def _marks(folder: Path) -> list[Mark]:
    path = folder / "stamps"
    lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    return [Mark(word, int(pid), float(at), tuple(map(float, numbers))) for word, pid, at, *numbers in lines]


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])

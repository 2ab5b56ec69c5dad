"""Runs the commands as a stranger would: in a folder of their own, with a time limit, leaving no process behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.processes import command_of, free_port, processes_in, threads_of
from support.waiting import COMMAND_SECONDS, wait_until

__all__ = ["Ended", "Place", "ROOT", "Running", "free_port", "numbers", "processes_in", "threads_of", "wait_until"]

ROOT = Path(__file__).resolve().parents[2]
WORKLOAD = '''\
import os, sys, time

def get_jobs(last=0, n: int = 100):
    yield from range(last, n)

def handle_job(job):
    record(job)

def record(job):
    line = f"{job}\\n".encode()
    file = os.open("handled", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, line)
    os.close(file)
'''


@dataclass(frozen=True)
class Ended:
    """A command that ended: its exit code and what it said."""

    code: int
    out: str
    err: str

    @property
    def tracebacks(self) -> int:
        return self.err.count("Traceback (most recent call last)")

    def explained(self, *words: str) -> bool:
        """Whether it said these words, on one error that is told once."""
        told = [line for line in self.err.splitlines() if line.startswith("Error: ")]
        return len(told) == 1 and all(word in self.err for word in words)


class Running:
    """A command at work, in a process group of its own."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process = process
        self.pid = process.pid
        self._folder = folder

    def signal(self, signum: int) -> None:
        self.process.send_signal(signum)

    def kill_group(self) -> None:
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait(COMMAND_SECONDS)

    def end(self, seconds: float = COMMAND_SECONDS) -> Ended:
        """Wait for its end; fails with what it said where that takes too long."""
        try:
            out, err = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.kill_group()
            out, err = self.process.communicate()
            raise AssertionError(f"still at work after {seconds:g} s; it said:\n{out}{err}") from None
        return Ended(self.process.returncode, out, err)

    def slaves(self) -> list[int]:
        """The pids of its slave processes, wherever in the tree."""
        return [pid for pid in processes_in(self._folder)
                if any(name in command_of(pid) for name in ("taskmaster.cli.slave", "cli/start_slave.py"))]


class Place:
    """A folder with a workload in it, and the commands run there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: list[Running] = []

    def write(self, more: str = "", name: str = "work.py") -> None:
        """The common workload and then `more`, which may define its functions anew."""
        (self.folder / name).write_text(WORKLOAD + more)

    def start(self, command: str, *arguments: object, preexec: Callable[[], object] | None = None,
              **environment: str) -> Running:
        """Start `command`, one of run, master, slave and spawn."""
        return self._start(["-m", f"taskmaster.cli.{command}", *map(str, arguments)], preexec, environment)

    def python(self, *arguments: str, **environment: str) -> Ended:
        """Run the interpreter with these arguments, such as the name of a script."""
        return self._start([*arguments], None, environment).end()

    @property
    def environment(self) -> dict[str, str]:
        """That of the tests, without what the user of this machine has set up for himself."""
        theirs = {key: value for key, value in os.environ.items() if not key.startswith("TASKMASTER_")}
        return {**theirs, "PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(self.folder / ".config")}

    def _start(self, arguments: list[str], preexec: Callable[[], object] | None,
               environment: dict[str, str]) -> Running:
        argv, own = [sys.executable, *arguments], {**self.environment, **environment}
        process = subprocess.Popen(argv, cwd=self.folder, env=own, text=True, start_new_session=True,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   errors="replace", preexec_fn=preexec)
        self.running.append(Running(process, self.folder))
        return self.running[-1]

    def run(self, command: str, *arguments: object, preexec: Callable[[], object] | None = None,
            **environment: str) -> Ended:
        return self.start(command, *arguments, preexec=preexec, **environment).end()

    def handled(self) -> Counter[str]:
        """How often each job was handled: counted by the handlers, outside of the product."""
        path = self.folder / "handled"
        return Counter(path.read_text().splitlines()) if path.exists() else Counter()

    def failures(self) -> list[dict[str, Any]]:
        """The lines of the only failures file."""
        files = list(self.folder.rglob("failures.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]

    def summary(self) -> dict[str, Any]:
        """What --summary summary.json wrote."""
        found: dict[str, Any] = json.loads((self.folder / "summary.json").read_text())
        return found

    def clean(self) -> list[str]:
        """End what runs; returns the commands of processes that had outlived theirs."""
        for one in self.running:
            one.kill_group()
            for stream in (one.process.stdout, one.process.stderr):
                if stream is not None:
                    stream.close()
        wait_until(lambda: not processes_in(self.folder), 3.0)
        left = {pid: command_of(pid) for pid in processes_in(self.folder)}
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        return list(left.values())


def numbers(*stretch: int) -> set[str]:
    """The jobs of range(*stretch), as `handled` shows them."""
    return {str(number) for number in range(*stretch)}

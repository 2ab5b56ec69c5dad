"""A place where one fault is played: a folder, the commands in it, the blows they are dealt, what was expected of them.

A fault may need several scenes; `Act` holds them, and judges all at the end.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import random
import re
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from chaos import oracle
from chaos.commands import INSECURE, MASTER, ROOT, RUN, SLAVE, THREADS, WINDOW, Actor, command_line
from chaos.handlers import ENOUGH, LOG, workload
from chaos.oracle import Blow, Log

sys.path.insert(0, str(ROOT / "tests" / "acceptance"))

from helpers import processes_in, wait_until  # noqa: E402

LIMIT_SECONDS = 60.0  # for anything that is waited for
MEMORY_MIB = 90.0  # of a master with a small window: 60 is promised for one of 100,000 jobs; this is a leak's alarm
TAIL = 150  # jobs that come after all that were begun
STALL_SECONDS = 0.7  # of a machine that had no time for us: then nothing can be said of times
LEASE_SECONDS = 0.05  # of work that a slave holds behind its threads, as the README and the design have it


Case = TypeVar("Case")


class Unplayable(Exception):
    """This fault cannot be played here; the text says why."""


class Broken(Exception):
    """The play cannot go on; the text is a violation."""


def held_by_slave(seconds: float, threads: int = THREADS) -> int:
    """How many jobs a slave may have begun or finished that its master has not heard are done.

    One for each thread, what it holds behind them, and what it finished since its last report, 50 ms ago.
    """
    return threads + 2 * math.ceil(threads * LEASE_SECONDS / seconds)


class Scene:
    """One folder. Commands are started, blows dealt and facts expected through it."""

    def __init__(self, folder: Path, name: str, chance: random.Random) -> None:
        folder.mkdir(parents=True)
        self.folder = folder.resolve()
        self.name = name
        self.chance = chance
        self.log = Log(self.folder / LOG)
        self.state = self.folder / "state"
        self.blows: list[Blow] = []
        self.violations: list[str] = []
        self.late: list[str] = []  # time limits that were missed: by us, or by a machine that had no time
        self.expected: Iterable[object] | None = None
        self.finishes = True  # whether all jobs must be done at the end
        self.dense = True  # whether a job is its own offset
        self.may_show_tracebacks = False  # where the user's code raised them
        self.excused: set[int] = set()  # jobs whose own deed repeats them
        self.seconds = 0.004
        self.even = True  # whether each job takes so long
        self.shim: dict[str, Any] = {}
        self.address = f"ipc://{self.folder}/socket"
        self.insecure = False  # whether tcp goes without keys, where somebody listens in
        self.target = "work.py"
        self.masters = 0
        self.memory_limit = MEMORY_MIB
        self.memory = 0.0
        self.actors: list[Actor] = []
        self._number = itertools.count(1)
        self._closers: list[Callable[[], object]] = []
        self._over = threading.Event()
        self.stalled = 0.0  # seconds by which a look at the clock came late: the machine is too busy to judge times
        self._watch = threading.Thread(target=self._watch_memory, daemon=True)
        self._watch.start()

    # -- the workload

    def work(self, more: str = "", *, seconds: float = 0.004, jobs: int | None = None) -> Scene:
        """Write the job file. Without `jobs` the source goes on until `enough` is called."""
        self.seconds, self.even = seconds, "def deed" not in more
        if jobs is not None:
            self.expected = range(jobs)
            more = f"\n_source = get_jobs\ndef get_jobs(last=0): return _source(last, {jobs})\n" + more
        (self.folder / "work.py").write_text(workload(seconds, more))
        return self

    def enough(self) -> None:
        """The source ends soon: a little above what was ever begun, so that a resumed one does all of that again."""
        begun = max((int(one.job) for one in self.log.read().attempts), default=0)
        fresh = self.folder / f"{ENOUGH}.new"
        fresh.write_text(str(begun + TAIL))
        fresh.replace(self.folder / ENOUGH)

    def on_tcp(self) -> int:
        """Master and slaves meet at a tcp port of this machine; returns it."""
        port = free_port()
        self.address = f"tcp://127.0.0.1:{port}"
        return port

    # -- commands

    def start(self, command: str, *arguments: object, shim: Mapping[str, Any] | None = None, limits: str = "",
              home: Path | None = None, prefix: Sequence[str] = ()) -> Actor:
        """tm-`command`; `limits` are of the shell's ulimit, `home` is where it finds its key.

        `prefix` is a command that becomes this one, such as env; the process stays the same.
        """
        on_tcp = any(str(argument).startswith("tcp://") for argument in arguments)
        argv = [*prefix, *command_line(command, *arguments, *(INSECURE if self.insecure and on_tcp else ()))]
        actor = Actor(command, argv, self.folder, next(self._number), {**self.shim, **(shim or {})}, limits, home)
        self.actors.append(actor)
        return actor

    def run(self, slaves: int = 2, *options: object, **how: Any) -> Actor:
        """tm-run; options given later win."""
        return self.start("run", self.target, slaves, *RUN, *options, **how)

    def master(self, *options: object, listens: bool = True, **how: Any) -> Actor:
        """tm-master; returns when it listens, unless it is not to be waited for."""
        self.masters += 1
        one = self.start("master", self.target, *MASTER, "--address", self.address, *options, **how)
        if listens:
            self.until(lambda: "Listening at" in one.said or not one.running, "the master listens")
            if not one.running:
                raise Broken(f"the master did not come up: {one.said[-300:]}")
        for blow in self.blows:
            if blow.until == math.inf:
                # Slaves of the master before run what they hold until this one answers them.
                blow.until = time.monotonic() + 3.0
        return one

    def slave(self, *options: object, address: str = "", **how: Any) -> Actor:
        return self.start("slave", self.target, *SLAVE, "--address", address or self.address, "--no-progress",
                          *options, **how)

    def spawn(self, slaves: int = 2, *options: object, address: str = "", **how: Any) -> Actor:
        one = self.start("spawn", self.target, slaves, *SLAVE, "--address", address or self.address, *options, **how)
        one.slaves = slaves
        return one

    def slaves(self) -> list[int]:
        """The pids of all slave processes at work here."""
        named = re.compile(r"tm-slave |taskmaster\.cli\.slave ")
        return [pid for pid in processes_in(self.folder) if named.search(_command(pid))]

    # -- looking and waiting

    def expect(self, fact: object, otherwise: str) -> bool:
        """Note a violation unless it is a fact."""
        if not fact:
            self.violations.append(otherwise)
        return bool(fact)

    def expect_in(self, took: float, limit: float, what: str) -> None:
        """Note that it came late, if it did."""
        if took > limit:
            self.late.append(f"{what}: {took:.2f} s, of at most {limit:g}")

    def until(self, fact: Callable[[], object], what: str, seconds: float = LIMIT_SECONDS) -> float:
        """Wait for it; returns how long that took. Raises Broken when it does not become so."""
        began = time.monotonic()
        if not wait_until(fact, seconds):
            raise Broken(f"after {seconds:.0f} s still not so: {what}")
        return time.monotonic() - began

    def done(self) -> int:
        """How many runs of jobs came to their end."""
        return len(self.log.read().ends)

    def at_work(self, more: int = 100) -> None:
        """Once so many more jobs are done."""
        goal = self.done() + more
        self.until(lambda: self.done() >= goal, f"{more} more jobs are done")

    def working(self, actors: Iterable[Actor]) -> list[Actor]:
        """Those slaves that have begun to handle jobs and live."""
        pids = self.log.read().pids()
        return [actor for actor in actors if actor.running and actor.pid in pids]

    def pause(self, least: float, most: float | None = None) -> None:
        time.sleep(least if most is None else self.chance.uniform(least, most))

    def checkpoint(self) -> dict[str, Any] | None:
        """What a resume would go on from."""
        return oracle.newest_checkpoint(self.state)

    def failures(self) -> list[dict[str, Any]]:
        return oracle.failures(self.state)

    def summary(self) -> dict[str, Any]:
        """What the last run that ended said of itself; empty where none did."""
        path = self.folder / "summary.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}

    # -- blows

    def blow(self, kind: str, pids: Iterable[int] | None = None, *, at: float | None = None, until: float | None = None,
             bound: int = 0, watermark: int = 0, again: Iterable[str] = (), within: float = math.inf,
             kills: int = 0) -> Blow:
        """Note what is about to be done."""
        at = time.monotonic() if at is None else at
        one = Blow(kind, at, None if pids is None else frozenset(pids), at if until is None else until, watermark,
                   bound, frozenset(again), within, kills=kills)
        self.blows.append(one)
        return one

    def kill_slave(self, victim: Actor | int, within: float = math.inf) -> Blow:
        """kill -9: what it was running goes to others, `within` seconds."""
        pid = victim if isinstance(victim, int) else victim.pid
        at = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        if isinstance(victim, Actor):
            victim.process.wait(10)
        else:
            wait_until(lambda: not _command(pid), 5)
        return self.blow("slave", [pid], at=at, until=time.monotonic(), bound=held_by_slave(self.seconds),
                         again=self.log.read().running(pid), within=within, kills=1)

    def kill_master(self, victim: Actor) -> Blow:
        """kill -9: a window and the last second's work may run again, when the next one starts."""
        at = time.monotonic()
        victim.kill()
        return self.note_dead_master(at)

    def note_dead_master(self, at: float, *, slaves_too: bool = False) -> Blow:
        """A master is dead since `at`; its checkpoint is held against what the handlers noted."""
        saved = self.checkpoint()
        watermark = int(saved["offset"]) if saved else 0
        self.expect(saved is not None, "a killed master left no checkpoint that can be read")
        self.expect(saved is None or saved["epoch"] == self.masters,
                    f"the epoch is {saved and saved['epoch']} after {self.masters} masters")
        self._check_below(watermark)
        bound = WINDOW + oracle.settled_within(self.log, at - oracle.SAVED_SECONDS, at)
        until = time.monotonic() if slaves_too else math.inf
        return self.blow("master", at=at, until=until, bound=bound, watermark=watermark, kills=1)

    def kill_all(self) -> Blow:
        """kill -9 to every process at once."""
        at = time.monotonic()
        pids = processes_in(self.folder)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for actor in self.actors:
            if actor.pid in pids:
                actor.process.wait(10)
        wait_until(lambda: not processes_in(self.folder), 5)
        blow = self.note_dead_master(at, slaves_too=True)
        blow.kills = len(pids)
        return blow

    def _check_below(self, watermark: int) -> None:
        done = self.log.read().done() | {oracle.job_of(line) for line in self.failures()}
        early = [job for job in range(watermark) if str(job) not in done] if self.dense else []
        self.expect(not early, f"the checkpoint says {watermark}, but {_some(early)} were not done")

    # -- the end

    def finish(self, actor: Actor, code: int | Collection[int] = 0, seconds: float = LIMIT_SECONDS) -> None:
        """Wait for a command's end, and expect this exit code, or one of these."""
        found = actor.wait(seconds)
        codes = [code] if isinstance(code, int) else code
        if found is None:
            raise Broken(f"tm-{actor.command} was still at work after {seconds:.0f} s: {actor.said[-500:]}")
        self.expect(found in codes, f"tm-{actor.command} ended with {found}, not {code}: {actor.said[-500:]}")

    def complete(self, *actors: Actor, code: int | Collection[int] = 0, slaves: int = 0) -> None:
        """The source has given enough; all ends in good order, the master with `code`, its slaves with `slaves`."""
        self.await_slaves(actors)
        if self.expected is None:
            self.enough()
        for actor in actors:
            self.finish(actor, code if actor.command in ("run", "master") else slaves)
        if self.finishes:
            self._check_final()

    def await_slaves(self, actors: Iterable[Actor]) -> None:
        """All that run have begun to work: one that came to a master just as it ended would wait for the next."""
        keepers = [actor for actor in actors if actor.command in ("slave", "spawn") and actor.running]
        wanted = sum(actor.slaves or 1 for actor in keepers)
        self.until(lambda: self._master_is_gone() or len(set(self.slaves()) & self.log.read().pids()) >= wanted,
                   f"{wanted} slaves are at work")

    def _master_is_gone(self) -> bool:
        return not any(actor.running for actor in self.actors if actor.command in ("master", "run"))

    def _check_final(self) -> None:
        saved, summary = self.checkpoint(), self.summary()
        self.expect(saved and saved["finished"], "the last checkpoint does not say that the run is finished")
        self.expect(summary.get("finished"), "the summary does not say that the run is finished")
        self.expect(not saved or saved["offset"] == summary.get("offset"),
                    f"checkpoint and summary differ: {saved and saved['offset']} and {summary.get('offset')}")

    def on_close(self, closer: Callable[[], object]) -> None:
        """Called when the scene is over, the last first."""
        self._closers.append(closer)

    def close(self) -> None:
        """Nothing is left running: what its command's end left behind is a violation. Once closed, nothing happens."""
        if self._over.is_set():
            return
        ended = [actor for actor in self.actors if not actor.running]
        for actor in self.actors:
            actor.kill_group()
        if ended == self.actors:
            wait_until(lambda: not processes_in(self.folder), 3.0)
            left = [_command(pid) for pid in processes_in(self.folder)]
            self.expect(not left, f"processes left behind: {left}")
        for pid in processes_in(self.folder):
            os.kill(pid, signal.SIGKILL)
        for closer in reversed(self._closers):
            closer()
        self._over.set()
        self._watch.join()
        self.expect(self.memory <= self.memory_limit, f"a master took {self.memory:.0f} MiB")
        told = [actor.command for actor in self.actors if "Traceback (most recent call last)" in actor.said]
        self.expect(not told or self.may_show_tracebacks, f"a traceback from tm-{', tm-'.join(told)}")

    @property
    def fair(self) -> bool:
        """Whether the machine gave us enough of its time to judge by."""
        return self.stalled < STALL_SECONDS

    def judge(self) -> oracle.Verdict:
        """Once closed: what the oracle says, as violations too."""
        log = self.log.read()
        jobs = range(log.exhausted or 0) if self.expected is None else self.expected
        verdict = oracle.judge(log, jobs if self.finishes else (), self.blows, self.failures(), self.excused)
        self.expect(not verdict.lost, f"lost: {_some(verdict.lost)}")
        self.expect(not verdict.unexplained, f"ran again for no reason: {_some(verdict.unexplained)}")
        for span, blow in verdict.again:
            self.expect_in(span, blow.within, f"until the jobs that a {blow.kind} was running ran elsewhere")
        touched = set().union(*(blow.pids or set() for blow in self.blows))
        self.stalled = max(self.stalled, log.overrun(self.seconds, touched) if self.even else 0.0)
        for blow in self.blows:
            self.expect(blow.replays <= blow.bound, f"{blow.replays} replays after one blow to a {blow.kind}, "
                                                    f"of at most {blow.bound}")
        return verdict

    def _watch_memory(self) -> None:
        looked = time.monotonic()
        while not self._over.wait(0.1):
            looked, before = time.monotonic(), looked
            self.stalled = max(self.stalled, looked - before - 0.1)
            for actor in list(self.actors):
                if actor.command in ("master", "run") and actor.running:
                    self.memory = max(self.memory, memory_of(actor.pid))


class Act:
    """One round of one fault: its scenes and its chance. An `exhaustive` one plays every case, not a few of them."""

    def __init__(self, folder: Path, seed: int, number: int, exhaustive: bool = False) -> None:
        self.folder = folder
        self.chance = random.Random(f"{seed} {number}")
        self.scenes: list[Scene] = []
        self.remarks: list[str] = []  # that the report shows below the fault's line
        self._exhaustive = exhaustive

    def scene(self, name: str = "") -> Scene:
        """A new one; `name` tells it from the others."""
        made = Scene(self.folder / str(len(self.scenes)), name, self.chance)
        self.scenes.append(made)
        return made

    def drawn(self, cases: Sequence[Case], most: int) -> Sequence[Case]:
        """As many of the cases as a round plays, as chance has it."""
        return cases if self._exhaustive else self.chance.sample(cases, min(most, len(cases)))

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[Scene]:
        """A scene that ends with the `with`. One that breaks is a violation, and the others are played all the same."""
        scene = self.scene(name)
        try:
            yield scene
        except Broken as error:
            scene.violations.append(str(error))
            scene.finishes = False  # what nobody waited for is not lost
        finally:
            scene.close()

    def close(self) -> None:
        for scene in self.scenes:
            scene.close()

    def clear(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def free_port() -> int:
    """A tcp port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def memory_of(pid: int, field: str = "VmHWM") -> float:
    """MiB that a process holds, or held at most; 0 when it is gone."""
    try:
        found = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0.0
    return int(found[1]) / 1024 if found else 0.0


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def _some(jobs: Iterable[object]) -> str:
    listed = list(jobs)
    return f"{len(listed)} jobs ({', '.join(map(str, listed[:5]))}{', ...' if len(listed) > 5 else ''})"

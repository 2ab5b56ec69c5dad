"""A place where one fault is played: commands at work, the blows they are dealt, and what is expected of them."""

from __future__ import annotations

import math
import os
import random
import signal
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

from chaos import oracle
from chaos.blow import Blow
from chaos.bounds import LIMIT_SECONDS, MEMORY_MIB, STALL_SECONDS
from chaos.commands import Actor
from chaos.exceptions import Broken
from chaos.monitor import Monitor
from chaos.stage import Stage
from support.processes import command_of, processes_in
from support.waiting import wait_until

RETURN_SECONDS = 3.0  # after a new master listens, within which slaves of the one before hear of it


class Scene(Stage):
    """`work` writes its job file, plays deal blows, `complete` ends it in good order, `close` and `judge` conclude."""

    def __init__(self, folder: Path, name: str, chance: random.Random) -> None:
        super().__init__(folder, chance)
        self.name = name
        self.blows: list[Blow] = []
        self.violations: list[str] = []
        self.late: list[str] = []  # time limits that were missed: by the product, or by a machine that had no time
        self.finishes = True  # whether all jobs must be done at the end
        self.may_show_tracebacks = False  # if the user's code raised them
        self.excused: set[int] = set()  # jobs whose own deed repeats them
        self.memory_limit = MEMORY_MIB
        self.monitor = Monitor(lambda: self.actors)
        self._closers: list[Callable[[], object]] = []
        self._closed = False

    def work(self, more: str = "", *, seconds: float = 0.004, jobs: int | None = None) -> Scene:
        """Write the job file; without `jobs` its source runs until `complete`."""
        self.write(more, seconds=seconds, jobs=jobs)
        return self

    def master(self, *options: object, listens: bool = True, **how: Any) -> Actor:
        """Slaves of the master before run what they hold until this one answers them."""
        one = super().master(*options, listens=listens, **how)
        for blow in self.blows:
            if blow.until == math.inf:
                blow.until = time.monotonic() + RETURN_SECONDS
        return one

    # -- what is expected

    def expect(self, fact: object, otherwise: str) -> bool:
        """Note a violation unless it is a fact."""
        if not fact:
            self.violations.append(otherwise)
        return bool(fact)

    def expect_in(self, took: float, limit: float, what: str) -> None:
        """Note that it was late, if it was."""
        if took > limit:
            self.late.append(f"{what}: {took:.2f} s, of at most {limit:g}")

    def expect_failed(self, *wanted: tuple[int, str]) -> None:
        """Offset and kind of all that stands in the failures file."""
        found = self.failed()
        self.expect(found == sorted(wanted), f"the failures file has {found}, not {sorted(wanted)}")

    def blow(self, kind: str, pids: Iterable[int] | None = None, *, at: float | None = None, until: float | None = None,
             bound: int = 0, watermark: int = 0, again: Iterable[str] = (), within: float = math.inf,
             kills: int = 0) -> Blow:
        """Note what is being done."""
        at = time.monotonic() if at is None else at
        one = Blow(kind, at, None if pids is None else frozenset(pids), at if until is None else until, watermark,
                   bound, frozenset(again), within, kills=kills)
        self.blows.append(one)
        return one

    # -- the end

    def finish(self, actor: Actor, code: int | Collection[int] = 0, seconds: float = LIMIT_SECONDS) -> None:
        """Wait for a command's end, and expect this exit code, or one of these. Raises Broken if it does not end."""
        found = actor.wait(seconds)
        codes = [code] if isinstance(code, int) else code
        if found is None:
            raise Broken(f"tm-{actor.command} was still at work after {seconds:.0f} s: {actor.said[-500:]}")
        self.expect(found in codes, f"tm-{actor.command} ended with {found}, not {code}: {actor.said[-500:]}")

    def complete(self, *actors: Actor, code: int | Collection[int] = 0, slaves: int = 0) -> None:
        """The source ends, and so does all else: the master with `code`, its slaves with `slaves`."""
        self.await_slaves(actors)
        if self.expected is None:
            self.enough()
        for actor in actors:
            self.finish(actor, code if actor.is_master else slaves)
        if self.finishes:
            self._check_final()

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
        """End everything, once. A process that outlived its command is a violation."""
        if self._closed:
            return
        self._closed = True
        self._end_processes()
        for closer in reversed(self._closers):
            closer()
        self.monitor.close()
        self.expect(self.monitor.memory <= self.memory_limit, f"a master took {self.monitor.memory:.0f} MiB")
        told = [actor.command for actor in self.actors if "Traceback (most recent call last)" in actor.said]
        self.expect(not told or self.may_show_tracebacks, f"a traceback from tm-{', tm-'.join(told)}")

    def _end_processes(self) -> None:
        all_ended = not any(actor.running for actor in self.actors)
        for actor in self.actors:
            actor.kill_group()
        if all_ended:
            wait_until(lambda: not processes_in(self.folder), 3.0)
            left = [command_of(pid) for pid in processes_in(self.folder)]
            self.expect(not left, f"processes left behind: {left}")
        for pid in processes_in(self.folder):
            os.kill(pid, signal.SIGKILL)

    # -- the judgement

    @property
    def fair(self) -> bool:
        """Whether the machine had enough time for us to be judged."""
        return self.monitor.stalled < STALL_SECONDS

    def judge(self) -> oracle.Verdict:
        """Once closed: what the oracle says; its findings become violations."""
        log = self.log.read()
        jobs = range(log.exhausted or 0) if self.expected is None else self.expected
        verdict = oracle.judge(log, jobs if self.finishes else (), self.blows, self.failures(), self.excused)
        self.expect(not verdict.lost, f"lost: {some(verdict.lost)}")
        self.expect(not verdict.unexplained, f"ran again for no reason: {some(verdict.unexplained)}")
        for span, blow in verdict.again:
            self.expect_in(span, blow.within, f"until the jobs that a {blow.kind} was running ran elsewhere")
        for blow in self.blows:
            self.expect(blow.replays <= blow.bound, f"{blow.replays} replays after one blow to a {blow.kind}, "
                                                    f"of at most {blow.bound}")
        self._look_for_stalls()
        return verdict

    def _look_for_stalls(self) -> None:
        touched = set().union(*(blow.pids or set() for blow in self.blows))
        if self.even:
            self.monitor.stalled = max(self.monitor.stalled, self.log.overrun(self.seconds, touched))


def some(jobs: Iterable[object]) -> str:
    """How many jobs, and the first few of them."""
    listed = list(jobs)
    return f"{len(listed)} jobs ({', '.join(map(str, listed[:5]))}{', ...' if len(listed) > 5 else ''})"

"""The process that keeps a world's slaves: it kills those that its watchdogs, the shipped ones, find silent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.broken import must
from models.watched_slave import WatchedSlave

from taskmaster import defaults
from taskmaster.fleet.watchdog import Verdict, Watchdog, silence_limit

if TYPE_CHECKING:
    from models.world import World


class Watchdogs:
    """One watchdog for each slave. Like `Fleet`, it blames a job where the slave could write its stacks."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._process = world.process("fleet")
        self._limit = silence_limit(world.scenario.job_timeout)
        self._dogs: dict[str, Watchdog] = {}
        self._wrote: set[str] = set()  # their stacks
        self._stalls: list[tuple[float, float]] = []  # from when to when it was not listening
        self._stalled_at: float | None = None
        self._process.spawn(self._watch)

    def stall(self) -> None:
        """It hears nothing until it resumes, and its clock goes on."""
        if self._stalled_at is None:
            self._stalled_at = self._world.scheduler.now
            self._process.stall()

    def resume(self) -> None:
        if self._stalled_at is not None:
            self._stalls.append((self._stalled_at, self._world.scheduler.now))
            self._stalled_at = None
            self._process.resume()

    def _watch(self) -> None:
        while True:
            for slave in list(self._world.slaves.living):
                self._look_at(slave)
            self._world.scheduler.sleep(defaults.FLEET_WATCH_SECONDS)

    def _look_at(self, slave: WatchedSlave) -> None:
        dog = self._dogs.get(slave.slave_id)
        if dog is None:
            dog = self._dogs[slave.slave_id] = self._world.parts.watchdog(self._limit)
        verdict = dog.look(slave.beats, self._process.clock())
        if verdict is Verdict.ASK and slave.process.holds:
            self._wrote.add(slave.slave_id)
        elif verdict is Verdict.KILL:
            self._kill(slave)

    def _kill(self, slave: WatchedSlave) -> None:
        world, silent = self._world, self._heard_nothing_since(slave.beat_at)
        world.trace.note("fleet", f"kills {slave.slave_id} after {silent:.1f} s of silence")
        world.counts["killed by their fleet"] += 1
        must(silent >= self._limit, "I22: killed though it was not silent", slave.slave_id, silent, self._limit)
        world.slaves.end(slave, blame=slave.slave_id in self._wrote)

    def _heard_nothing_since(self, then: float) -> float:
        """Seconds for which it was listening since then. It cannot tell how much of the time between two looks that
        was: up to WATCHDOG_LOOK_SECONDS count."""
        stalls = [(max(then, began), ended) for began, ended in self._stalls if ended > then]
        unheard = sum(max(0.0, ended - began - defaults.WATCHDOG_LOOK_SECONDS) for began, ended in stalls)
        return self._world.scheduler.now - then - unheard

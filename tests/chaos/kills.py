"""kill -9: slaves, masters, everything at once; and what each of these blows may repeat."""

from __future__ import annotations

import math
import os
import signal
import time

from chaos.blow import Blow
from chaos.bounds import SAVED_SECONDS, held_by_slave
from chaos.commands import WINDOW, Actor
from chaos.scene import Scene, some
from chaos.state import job_of
from support.processes import command_of, processes_in
from support.waiting import wait_until


def kill_slave(scene: Scene, victim: Actor | int, within: float = math.inf) -> Blow:
    """What it was running goes to others, `within` seconds."""
    pid = victim if isinstance(victim, int) else victim.pid
    at = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    if isinstance(victim, Actor):
        victim.process.wait(10)
    else:
        wait_until(lambda: not command_of(pid), 5)
    return scene.blow("slave", [pid], at=at, until=time.monotonic(), bound=held_by_slave(scene.seconds),
                      again=scene.log.read().running(pid), within=within, kills=1)


def kill_master(scene: Scene, victim: Actor) -> Blow:
    """A window and the last second's work may run again when the next master starts."""
    at = time.monotonic()
    victim.kill()
    return note_dead_master(scene, at)


def note_dead_master(scene: Scene, at: float, *, slaves_too: bool = False) -> Blow:
    """A master is dead since `at`; its checkpoint is held against the handlers' notes."""
    saved = scene.checkpoint()
    watermark = int(saved["offset"]) if saved else 0
    scene.expect(saved is not None, "a killed master left no readable checkpoint")
    scene.expect(saved is None or saved["epoch"] == scene.masters,
                 f"the epoch is {saved and saved['epoch']} after {scene.masters} masters")
    _check_below(scene, watermark)
    bound = WINDOW + scene.log.settled_between(at - SAVED_SECONDS, at)
    until = time.monotonic() if slaves_too else math.inf
    return scene.blow("master", at=at, until=until, bound=bound, watermark=watermark, kills=1)


def _check_below(scene: Scene, watermark: int) -> None:
    done = scene.log.read().done() | {job_of(line) for line in scene.failures()}
    early = [job for job in range(watermark) if str(job) not in done] if scene.dense else []
    scene.expect(not early, f"the checkpoint says {watermark}, but {some(early)} were not done")


def kill_all(scene: Scene) -> Blow:
    """Every process at once."""
    at = time.monotonic()
    pids = processes_in(scene.folder)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for actor in scene.actors:
        if actor.pid in pids:
            actor.process.wait(10)
    wait_until(lambda: not processes_in(scene.folder), 5)
    blow = note_dead_master(scene, at, slaves_too=True)
    blow.kills = len(pids)
    return blow

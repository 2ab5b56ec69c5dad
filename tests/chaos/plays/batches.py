"""Handlers that take lists of jobs: kill -9 among calls that raise and are repeated in halves."""

from __future__ import annotations

from chaos.act import Act
from chaos.bounds import held_by_slave
from chaos.commands import Actor
from chaos.kills import kill_master, kill_slave
from chaos.scene import Scene

BATCH = 20
KILLS = 4
SIZE = 100_000  # so that a row that waits for its last attempt holds up no others
FAILURES = 3
EVERY = 499  # a job that raises
JOBS = 30_000
SECONDS = 0.01
OPTIONS = ("--batch", BATCH, "--concurrency", 1)
HELD = BATCH * held_by_slave(SECONDS, threads=1)
SLAVES = 3

_BATCHES = f"""
def handle_jobs(jobs):
    for job in jobs:
        note("start", job)
    time.sleep(SECONDS)
    how = "raise" if any(job % {EVERY} == {EVERY - 1} for job in jobs) else "end"
    for job in jobs:
        note(how, job)
    if how == "raise":
        raise ValueError("always")
"""


def killed_among_halves(act: Act) -> None:
    """Slaves, then the master: what was handled beside a bad row is neither lost nor charged."""
    scene = act.scene().work(_BATCHES, seconds=SECONDS, jobs=JOBS)
    master = _master(scene)
    slaves = [scene.slave(*OPTIONS) for _ in range(SLAVES)]
    scene.await_slaves(slaves)
    for _ in range(KILLS):
        scene.at_work(600)
        kill_slave(scene, act.chance.choice(scene.working(slaves))).bound = HELD
        slaves.append(scene.slave(*OPTIONS))
    for _ in range(2):
        scene.pause(2.0, 2.5)  # for what a slave did to be in a checkpoint, or its replays would count for its death
        kill_master(scene, master).bound += SLAVES * HELD  # more than the window of single jobs that it counts
        master = _master(scene)
    scene.complete(master, *[slave for slave in slaves if slave.running], code=FAILURES)
    scene.expect_failed(*[(job, "raised") for job in range(EVERY - 1, JOBS, EVERY)])


def _master(scene: Scene) -> Actor:
    return scene.master("--size", SIZE, "--max-failures", "none")

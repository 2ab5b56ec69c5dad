"""kill -9 of a master whose watermark stands: little is repeated, however much is done above it."""

from __future__ import annotations

from chaos.act import Act
from chaos.kills import kill_master
from chaos.scene import Scene

SIZE = 100_000  # ten times what is done in the meantime
FAILURES = 3
EVERY = 2500  # a job that fails
JOBS = 20_000

_SLOW = """
def deed(job):
    end = time.monotonic() + (60.0 if job == 1000 else SECONDS)
    while time.monotonic() < end and not (job == 1000 and os.path.exists("again")):
        time.sleep(min(SECONDS, 0.05))
"""
_FAILING = f"""
def deed(job):
    time.sleep(SECONDS)
    if job % {EVERY} == {EVERY - 1}:
        raise ValueError("always")
"""


def behind_a_straggler(act: Act) -> None:
    """A job of a minute beside jobs of a millisecond."""
    scene = act.scene().work(_SLOW, seconds=0.001)
    master, spawn = scene.master("--size", SIZE), scene.spawn(2)
    scene.until(lambda: scene.log.read().of(1000), "the straggler runs")
    scene.pause(6.0)
    blow = kill_master(scene, master)
    _expect_much_above(scene, blow.watermark, blow.bound)
    (scene.folder / "again").touch()
    master = scene.master("--size", SIZE)
    scene.at_work(200)
    scene.complete(master, spawn)


def behind_retries(act: Act) -> None:
    """One job in some thousand fails three times, and holds the watermark until its last attempt."""
    scene = act.scene().work(_FAILING, seconds=0.001, jobs=JOBS)
    master, spawn = scene.master("--size", SIZE, "--max-failures", "none"), scene.spawn(2)
    scene.until(lambda: scene.log.read().of(EVERY - 1), "the first of them fails")
    scene.pause(1.5)
    kill_master(scene, master)
    master = scene.master("--size", SIZE, "--max-failures", "none")
    scene.complete(master, spawn, code=FAILURES)
    scene.expect_failed(*[(job, "raised") for job in range(EVERY - 1, JOBS, EVERY)])


def _expect_much_above(scene: Scene, watermark: int, bound: int) -> None:
    above = sum(int(job) >= watermark for job in scene.log.read().done())
    scene.expect(above > 1.5 * bound, f"only {above} jobs were done above {watermark}, and {bound} may run again")

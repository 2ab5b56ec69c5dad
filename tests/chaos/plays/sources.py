"""Iterators that raise, hang, end at once or never end."""

from __future__ import annotations

import signal

from chaos.scene import Act, Scene, memory_of

SOURCE, INTERRUPTED = 4, 75
GROWTH_MIB = 6.0  # of a master within some seconds of endless no-ops: its window's jobs come and go


def bad_iterators(act: Act) -> None:
    _raises(act.scene("raises"))
    _hangs(act.scene("hangs"))
    _is_empty(act.scene("empty"))
    _never_ends(act.scene("endless"))


def _raises(scene: Scene) -> None:
    """Midway: what it gave is settled and kept, the run is not finished, and goes on when it is mended."""
    scene.work('''
_plain = get_jobs
def get_jobs(last=0):
    for job in _plain(last, 800):
        if job == 500 and not os.path.exists("mended"):
            raise RuntimeError("no more today")
        yield job
''')
    scene.expected, scene.may_show_tracebacks = range(800), True
    run = scene.run(2)
    scene.finish(run, SOURCE)
    scene.expect("RuntimeError: no more today" in run.said, "it does not show what was raised")
    scene.expect(len(scene.log.read().done()) == 500, f"{len(scene.log.done())} of the 500 jobs before were done")
    scene.expect(not (scene.checkpoint() or {}).get("finished"), "the checkpoint says that the run is finished")
    (scene.folder / "mended").touch()
    scene.complete(scene.run(2))


def _hangs(scene: Scene) -> None:
    scene.work('''
_plain = get_jobs
def get_jobs(last=0):
    for job in _plain(last, 800):
        if job == 500 and not os.path.exists("mended"):
            time.sleep(1000)
        yield job
''')
    scene.expected = range(800)
    run = scene.run(2)
    scene.until(lambda: scene.done() == 500, "all that the source gave is done")
    run.signal(signal.SIGTERM)
    scene.finish(run, INTERRUPTED, 15)
    scene.expect((scene.checkpoint() or {}).get("offset") == 500, "the checkpoint does not stand at 500")
    (scene.folder / "mended").touch()
    scene.complete(scene.run(2))


def _is_empty(scene: Scene) -> None:
    scene.work(jobs=0)
    run = scene.run(2)
    scene.complete(run)
    scene.expect("the source has no jobs" in run.said, "it does not say that there were no jobs")


def _never_ends(scene: Scene) -> None:
    """Millions of no-ops: the master does not grow."""
    scene.work('''
def get_jobs(last=0):
    while True:
        yield last
        last += 1
def handle_job(job):
    if job % 100_000 == 0:
        note("start", job)
        note("end", job)
''')
    scene.finishes = False
    run = scene.run(2, "--size", 10_000)
    scene.until(lambda: scene.done() >= 3, "300,000 jobs are done")
    before = memory_of(run.pid, "VmRSS")
    scene.pause(5.0)
    growth = memory_of(run.pid, "VmRSS") - before
    scene.expect(growth < GROWTH_MIB, f"the master grew by {growth:.1f} MiB in five seconds")
    run.signal(signal.SIGTERM)
    scene.finish(run, INTERRUPTED, 20)

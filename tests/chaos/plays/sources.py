"""Iterators that raise, hang, end at once or never end."""

from __future__ import annotations

import signal

from chaos.act import Act
from chaos.plays.shared import INTERRUPTED, growth_limited
from chaos.scene import Scene

SOURCE = 4
GROWTH_MIB = 6.0  # of a master within some seconds of endless no-ops: its window's jobs come and go

# 800 jobs, of which all come once a file says that the source is fixed; before that, something happens at the 500th.
_STOPS = '''
_plain = get_jobs
def get_jobs(last=0):
    for job in _plain(last, 800):
        if job == 500 and not os.path.exists("fixed"):
            {what}
        yield job
'''


def bad_iterators(act: Act) -> None:
    _raises(act.scene("raises"))
    _hangs(act.scene("hangs"))
    _is_empty(act.scene("empty"))
    _never_ends(act.scene("endless"))


def _raises(scene: Scene) -> None:
    """What it gave before is settled and kept, the run is not finished, and resumes when the source is fixed."""
    _write_source_that(scene, "raise RuntimeError('no more today')")
    scene.may_show_tracebacks = True
    run = scene.run(2)
    scene.finish(run, SOURCE)
    scene.expect("RuntimeError: no more today" in run.said, "it does not show what was raised")
    _resume_when_fixed(scene)


def _hangs(scene: Scene) -> None:
    """An interrupt ends the run all the same, and it resumes when the source is fixed."""
    _write_source_that(scene, "time.sleep(1000)")
    run = scene.run(2)
    scene.until(lambda: scene.done() == 500, "all that the source gave is done")
    run.signal(signal.SIGTERM)
    scene.finish(run, INTERRUPTED, 15)
    _resume_when_fixed(scene)


def _write_source_that(scene: Scene, what: str) -> None:
    scene.work(_STOPS.format(what=what))
    scene.expected = range(800)


def _resume_when_fixed(scene: Scene) -> None:
    scene.expect(len(scene.log.read().done()) == 500, f"{len(scene.log.done())} of the 500 jobs before were done")
    saved = scene.checkpoint() or {}
    scene.expect(saved.get("offset") == 500, "the checkpoint does not stand at 500")
    scene.expect(not saved.get("finished"), "the checkpoint says that the run is finished")
    (scene.folder / "fixed").touch()
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
    with growth_limited(scene, run, GROWTH_MIB):
        scene.pause(5.0)
    run.signal(signal.SIGTERM)
    scene.finish(run, INTERRUPTED, 20)

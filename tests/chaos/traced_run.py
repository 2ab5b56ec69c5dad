"""A run of two masters with every system call in a log: the first is killed with -9, the second finishes the run."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from chaos import strace
from chaos.act import Act
from chaos.kills import kill_master
from chaos.scene import Scene
from chaos.state import job_of
from chaos.strace import Call
from chaos.strict_filesystem import StrictFilesystem
from chaos.traced_files import TracedFiles

JOBS = 150
FAILING = [str(job) for job in range(7, JOBS, 20)]
SIZE = 16
PLACE = "place"  # where the state folder is made; the master makes this folder, too
STATE = f"{PLACE}/state"
ENDED = (0, 3)  # 3: some of the jobs have failed for good
CHECKPOINT_SECONDS = 0.2  # five times as often as by default, so that there is more to see in three seconds
SLACK_SECONDS = 0.6  # by which a checkpoint is late on a busy machine
OPTIONS = ("--state", STATE, "--size", SIZE, "--attempts", 1, "--max-failures", "none")
HOLD = "hold"

# The pace is the source's: jobs pass the window one by one, as long as nothing is resumed.
_SOURCE = f'''
_source = get_jobs
def get_jobs(last=0):
    while os.path.exists("{HOLD}"):
        time.sleep(0.01)
    for job in _source(last, {JOBS}):
        time.sleep(PACE)
        yield job
def deed(job):
    if str(job) in {FAILING}:
        raise ValueError(job)
'''


@dataclass(frozen=True)
class TracedRun:
    """Until `released_at`, in seconds of the wall clock, the first master had no job."""

    scene: Scene
    logs: tuple[Path, Path]
    released_at: float
    ahead: float  # of the wall clock before the monotonic one

    def followed(self, filesystem: StrictFilesystem) -> Iterator[tuple[int, TracedFiles, Call]]:
        """Each call of the first (0) and then the second (1) master, with the open files that are to take it."""
        cut_off: Mapping[int, Call] = {}
        for master in (0, 1):
            files, under_way = TracedFiles(self.scene.folder, PLACE, filesystem, cut_off.values()), dict[int, Call]()
            for call in self._calls(master):
                yield master, files, call
                under_way.pop(call.thread, None)
                if call.result is None:
                    under_way[call.thread] = call
            cut_off = under_way

    def _calls(self, master: int) -> Iterator[Call]:
        with open(self.logs[master]) as lines:
            yield from strace.read_log(lines)


def paced(scene: Scene, pace: float = 0.0) -> Scene:
    """A workload of JOBS jobs, of which the source gives one in `pace` seconds and the FAILING ones raise."""
    scene.work(f"PACE = {pace}\n{_SOURCE}")
    scene.expected = range(JOBS)
    scene.state = scene.folder / STATE
    scene.shim = {"defaults": {"CHECKPOINT_SECONDS": CHECKPOINT_SECONDS}}
    return scene


def bound(scene: Scene, at: float) -> int:
    """How many jobs a crash may repeat: what was in the window, and what the last checkpoint did not cover."""
    return SIZE + scene.log.settled_between(at - CHECKPOINT_SECONDS - SLACK_SECONDS, at)


def resume(scene: Scene) -> None:
    """Finish the run with tm-run: nothing is lost, and each failing job has one line in the failures file."""
    resumed = scene.run(1, *OPTIONS)
    scene.finish(resumed, ENDED)
    scene.finishes = resumed.code in ENDED
    if scene.finishes:
        expect_each_failure_once(scene)


def expect_each_failure_once(scene: Scene) -> None:
    """Once all is done: each failing job has one line in the failures file, and no other job has."""
    found = sorted(map(job_of, scene.failures()), key=int)
    scene.expect(found == FAILING, f"the failures file names {', '.join(found)}")


@contextlib.contextmanager
def held(scene: Scene) -> Iterator[None]:
    """The source gives no job until the end of the `with`."""
    (scene.folder / HOLD).touch()
    yield
    (scene.folder / HOLD).unlink()


def traced_run(act: Act, pace: float, **shim: object) -> TracedRun:
    """Play it. Raises Unplayable where nothing can be traced."""
    strace.refuse_where_missing()
    scene = paced(act.scene("traced"), pace)
    scene.shim.update(shim)
    slave, logs = scene.slave(), (scene.folder / "calls-1", scene.folder / "calls-2")
    with held(scene):
        first = scene.master(*OPTIONS, prefix=strace.tracing(logs[0]))
        released_at = time.time()
    scene.at_work(JOBS // 2)
    kill_master(scene, first)
    second = scene.master(*OPTIONS, prefix=strace.tracing(logs[1]))
    scene.complete(second, slave, code=ENDED)
    for log, master in zip(logs, (first, second)):
        scene.until(lambda: strace.ended(log, master.pid), "strace has written its log")
    expect_each_failure_once(scene)
    return TracedRun(scene, logs, released_at, time.time() - time.monotonic())

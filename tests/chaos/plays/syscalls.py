"""Faults in single system calls: the master is killed at one that touches its state, or the call returns an error."""

from __future__ import annotations

import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chaos import strace
from chaos.act import Act
from chaos.commands import Actor
from chaos.kills import kill_master
from chaos.scene import Scene
from chaos.strict_filesystem import StrictFilesystem
from chaos.traced_run import ENDED, JOBS, OPTIONS, TracedRun, bound, held, paced, resume, traced_run

DRAWN = 5  # of 200 kills and 800 errors; each takes three seconds
PACE = 0.01  # seconds from one job to the next
MOST_OF_A_KIND = 16  # in one phase and thread; what comes later is the same line of code in another turn of its loop
UNWRITABLE, INTERRUPTED = 74, 75

# What each call returns where disks break or fill, a quota ends or files run out; EINTR where a signal may reach it.
_FULL = ("EIO", "ENOSPC", "EDQUOT")
ERRORS: Mapping[str, Sequence[str]] = {
    "open": (*_FULL, "EMFILE"), "write": (*_FULL, "EINTR"), "pwrite": (*_FULL, "EINTR"), "fsync": (*_FULL, "EINTR"),
    "fdatasync": (*_FULL, "EINTR"), "close": (*_FULL, "EINTR"), "rename": _FULL, "link": _FULL, "mkdir": _FULL,
    "ftruncate": (*_FULL, "EINTR"), "unlink": ("EIO",), "flock": ("ENOLCK",), "read": ("EIO",), "newfstat": ("EIO",),
    "fstat": ("EIO",),
}
_VARIANT = re.compile(r"(at2?|64)$")  # renameat2 fails as rename does


@dataclass(frozen=True)
class Injection:
    """`fault` in the `at`-th `call` of a phase: the master's "start", its "run", or the "resume" after a kill."""

    phase: str
    call: str
    at: int
    fault: str

    def __str__(self) -> str:
        return f"{self.fault} in {self.call} number {self.at} of the {self.phase}"


def kills(act: Act) -> None:
    """kill -9 at each call by which a master changes its state folder."""
    _play(act, lambda call: ("signal=SIGKILL",) if call in strace.CHANGES else ())


def errors(act: Act) -> None:
    """Each error that a call on the state folder may return."""
    _play(act, lambda call: [f"error={error}" for error in ERRORS.get(_VARIANT.sub("", call), ())])


def _play(act: Act, faults: Callable[[str], Sequence[str]]) -> None:
    counts, paths = _survey(traced_run(act, PACE))
    cases = [Injection(phase, call, at, fault) for (phase, call), most in sorted(counts.items())
             for at in range(1, most + 1) for fault in faults(call)]
    drawn, hits = act.draw(cases, DRAWN), 0
    for case in drawn:
        with act.case(str(case)) as scene:
            # As the master names them, and as its open files are known to the kernel.
            hits += _inject(scene, case, [*map(Path, paths), *(scene.folder / path for path in paths)])
    act.remarks.append(f"played {len(drawn)} of {len(cases)} faults; {hits} calls were reached")


# -- which calls there are

def _survey(run: TracedRun) -> tuple[Mapping[tuple[str, str], int], set[str]]:
    """How often each phase makes each call on the state folder, by its busiest thread, and the paths that it names."""
    by_thread: Counter[tuple[str, str, int]] = Counter()
    paths: set[str] = set()
    for phase, name, thread, named in _touching(run):
        by_thread[phase, name, thread] += 1
        paths |= named
    most: dict[tuple[str, str], int] = {}
    for (phase, name, _), count in by_thread.items():
        most[phase, name] = min(max(count, most.get((phase, name), 0)), MOST_OF_A_KIND)
    return most, paths


def _touching(run: TracedRun) -> Iterator[tuple[str, str, int, set[str]]]:
    filesystem = StrictFilesystem()
    for master, files, call in run.followed(filesystem):
        # The working folder itself is left out, for whatever is imported looks at it.
        named = {path for path in files.paths(call) if path}
        files.take(call)
        if named and not call.resumed:
            phase = "resume" if master else "run" if call.entered > run.released_at else "start"
            yield phase, call.name, call.thread, named


# -- and what becomes of a run when one of them fails

def _inject(scene: Scene, case: Injection, paths: Sequence[Path]) -> bool:
    """Play the run and resume it; returns whether the call was reached."""
    paced(scene, PACE)
    slave, log = scene.slave(), scene.folder / "injected"
    master = _master(scene, case, log, paths)
    killed = case.fault == "signal=SIGKILL"
    scene.finish(master, (*ENDED, -signal.SIGKILL) if killed else (*ENDED, UNWRITABLE, INTERRUPTED))
    if master.code not in ENDED:
        slave.kill_group()
        now = time.monotonic()
        scene.blow(str(case), at=now, until=now, bound=bound(scene, now), kills=1)
    resume(scene)
    return master.code == -signal.SIGKILL or "(INJECTED)" in log.read_text()


def _master(scene: Scene, case: Injection, log: Path, paths: Sequence[Path]) -> Actor:
    """A master at work, which this fault awaits."""
    if case.phase == "run":
        with held(scene):
            master = scene.master(*OPTIONS)
            tracer = strace.attach(master.pid, log, case.call, case.fault, case.at, paths)
            scene.on_close(tracer.wait)
        return master
    if case.phase == "resume":
        before = scene.master(*OPTIONS)
        scene.at_work(JOBS // 2)
        kill_master(scene, before)
        now = time.monotonic()
        scene.blow("checkpoint that cannot be read, so that the one before it serves", at=now, until=now,
                   bound=bound(scene, now))
    prefix = strace.injecting(log, case.call, case.fault, case.at, paths)
    return scene.master(*OPTIONS, listens=False, prefix=prefix)

"""Asked to stop, or held up: SIGTERM, Ctrl-C once and twice, SIGSTOP, a handler that holds the interpreter lock."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

from chaos.act import Act
from chaos.bounds import held_by_slave
from chaos.commands import THREADS, Actor
from chaos.kills import note_dead_master
from chaos.plays.shared import INTERRUPTED, LATE, QUICK, QUICK_LIFE
from chaos.scene import Scene

Start = Callable[[Scene], tuple[Actor, ...]]  # starts a master, and its slaves if it does not do that itself


def apart(scene: Scene) -> tuple[Actor, ...]:
    return scene.master(), scene.spawn(2)


def together(scene: Scene) -> tuple[Actor, ...]:
    return (scene.run(2),)


def stopped_slave(act: Act) -> None:
    """SIGSTOP for longer than a lease lives: others get its jobs; what it says when it wakes is counted as late."""
    scene = act.scene().work(seconds=0.01)
    scene.shim = QUICK
    master = scene.master()
    slaves = [scene.slave() for _ in range(2)]
    scene.await_working(slaves, 2)
    scene.at_work(200)
    victim = act.chance.choice(slaves)
    at = time.monotonic()
    victim.signal(signal.SIGSTOP)
    time.sleep(0.05)
    scene.blow("slave", [victim.pid], at=at, until=at + 5.5, bound=THREADS + held_by_slave(0.01),
               again=scene.log.read().running(victim.pid), within=QUICK_LIFE + LATE)
    scene.pause(QUICK_LIFE + LATE + 0.4)
    victim.signal(signal.SIGCONT)
    scene.at_work(200)
    scene.complete(master, *slaves)
    scene.expect(scene.summary().get("duplicates", 0) > 0, "the late acknowledgements were not counted as duplicates")


def stopped_master(act: Act) -> None:
    """SIGSTOP for five seconds: slaves wait and carry on, none is taken for dead, and nothing runs twice."""
    scene = act.scene().work()
    master, spawn = scene.master(), scene.spawn(2)
    scene.until(lambda: len(scene.slaves()) == 2, "two slaves run")
    scene.at_work(300)
    slaves = scene.slaves()
    scene.blow("master stopped")
    master.signal(signal.SIGSTOP)
    scene.pause(5.0)
    master.signal(signal.SIGCONT)
    scene.at_work(300)
    scene.expect(sorted(scene.slaves()) == sorted(slaves), "the slaves did not keep their pids")
    scene.complete(master, spawn)


def terminated_slave(act: Act) -> None:
    scene = act.scene().work(seconds=0.02)
    master = scene.master()
    slaves = [scene.slave() for _ in range(3)]
    scene.await_working(slaves, 3)
    for victim in slaves[:2]:
        scene.at_work(100)
        victim.signal(signal.SIGTERM)
        scene.finish(victim, INTERRUPTED, 10)
        scene.expect(not scene.log.read().running(victim.pid), "a drained slave left jobs that it had begun")
    scene.complete(master, slaves[2])


# -- once: everything that is running finishes, and the resumed run repeats nothing

def terminated_master(act: Act) -> None:
    _interrupted(act.scene().work(seconds=0.01), apart, signal.SIGTERM)


def interrupted_run(act: Act) -> None:
    _interrupted(act.scene().work(seconds=0.02), together, signal.SIGINT)


def _interrupted(scene: Scene, start: Start, signum: int) -> None:
    """The slaves of a tm-spawn stay for the next master."""
    master, *others = start(scene)
    for _ in range(2):
        scene.at_work(150)
        scene.await_slaves(others)
        scene.pause(0.0, 1.0)
        master.signal(signum)
        scene.finish(master, INTERRUPTED, 15)
        scene.expect(all(one.running for one in others), "slaves ended with a master that was interrupted")
        _check_drained(scene, master)
        master = scene.master() if others else start(scene)[0]
    scene.at_work(1)
    scene.complete(master, *others)
    scene.expect(scene.summary()["replayed"] == 0, f"it reports {scene.summary()['replayed']} replays")


def _check_drained(scene: Scene, actor: Actor) -> None:
    begun = scene.log.read().unfinished()
    scene.expect(not begun, f"{len(begun)} jobs that were running were not finished")
    saved = scene.checkpoint()
    done = scene.log.done()
    scene.expect(saved and saved["offset"] == len(done), "the checkpoint does not cover all that was done")
    scene.expect("resume with:" in actor.said, "it does not say how to resume")


# -- twice: back within a second, with a state from which a run resumes

_STUCK = "\ndef deed(job): time.sleep(30 if job >= 100 and not os.path.exists('on') else 0.002)\n"


def second_interrupt(act: Act) -> None:
    _interrupted_twice(act.scene().work(_STUCK), apart)


def second_interrupt_of_a_run(act: Act) -> None:
    _interrupted_twice(act.scene().work(_STUCK), together)


def _interrupted_twice(scene: Scene, start: Start) -> None:
    master, *others = start(scene)
    scene.at_work(100)
    _interrupt_twice(scene, master)
    for one in others:
        one.signal(signal.SIGTERM)
        one.signal(signal.SIGTERM)
        one.kill_group()
    scene.until(lambda: not scene.slaves(), "the slaves are gone", 10 if others else 3)
    (scene.folder / "on").touch()
    actors = start(scene)
    scene.at_work(100)
    scene.complete(*actors)


def _interrupt_twice(scene: Scene, master: Actor) -> None:
    master.signal(signal.SIGINT)
    scene.pause(0.3, 0.8)
    scene.expect(master.running, "it did not wait for the jobs that were running")
    at = time.monotonic()
    master.signal(signal.SIGINT)
    scene.finish(master, INTERRUPTED, 5)
    scene.expect_in(time.monotonic() - at, 1.0, "from the second Ctrl-C to the end")
    note_dead_master(scene, at).kills = 0


# -- held up

# PyDLL, unlike CDLL, keeps the interpreter's lock: nothing else of this process runs meanwhile.
_HOLDS = '''
import ctypes
_libc = ctypes.PyDLL(None)
def deed(job):
    if job == 300:
        _libc.usleep(3_000_000)
    time.sleep(SECONDS)
'''


def terminated_while_held(act: Act) -> None:
    """SIGTERM while a handler holds the interpreter lock for three seconds: heard when it lets go."""
    scene = act.scene().work(_HOLDS)
    master = scene.master()
    slaves = [scene.slave() for _ in range(2)]
    scene.until(lambda: scene.log.read().times(300), "the job that holds the lock has begun")
    [attempt] = scene.log.of(300)
    [victim] = [slave for slave in slaves if slave.pid == attempt.pid]
    scene.pause(0.2)
    at = time.monotonic()
    victim.signal(signal.SIGTERM)
    scene.finish(victim, INTERRUPTED, 10)
    took = time.monotonic() - at
    scene.expect(took > 1.5, f"it took {took:.1f} s, of the three that the lock was held")
    scene.expect_in(took, 5.0, "to drain a slave whose lock was held for three seconds")
    scene.at_work(100)
    scene.complete(master, *[slave for slave in slaves if slave is not victim])


def sleeps_longer_than_a_lease(act: Act) -> None:
    """The lease is renewed while a handler runs, however long: one run each."""
    scene = act.scene().work("\ndef deed(job): time.sleep(5.0 if job % 100 == 50 else 0.005)\n", jobs=300)
    scene.shim = QUICK
    master, spawn = scene.master(), scene.spawn(2)
    scene.complete(master, spawn)


def straggler(act: Act) -> None:
    """One job takes a thousand times as long as the mean: the others get a window ahead, and memory stays flat."""
    scene = act.scene().work("\ndef deed(job): time.sleep(3.0 if job == 1000 else SECONDS)\n", seconds=0.003)
    master, spawn = scene.master("--size", 2000), scene.spawn(2)
    scene.until(lambda: any(one.end for one in scene.log.read().of(1000)), "the straggler ends")
    [slow] = scene.log.of(1000)
    ahead = max(int(one.job) for one in scene.log.attempts if one.start < (slow.end or 0))
    scene.expect(2000 <= ahead <= 1000 + 2000, f"while job 1000 ran the others got to {ahead}, of 3000")
    scene.at_work(300)
    scene.complete(master, spawn)

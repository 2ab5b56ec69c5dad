"""Asked to stop, or held up: SIGTERM, Ctrl-C once and twice, SIGSTOP, a handler that holds the interpreter."""

from __future__ import annotations

import signal
import time

from chaos.commands import THREADS, Actor
from chaos.scene import Act, Scene

INTERRUPTED = 75
# The times of a lease, short enough to wait for.
QUICK = {"defaults": {"LEASE_LIFE_SECONDS": 2.0, "HEARTBEAT_SECONDS": 0.2}}
QUICK_LIFE = 2.0
LATE = 1.6  # the master looks for silent slaves once a second, and a box with two cores is busy


def stopped_slave(act: Act) -> None:
    """SIGSTOP for longer than a lease lives: others get its jobs; when it wakes, what it says late is counted."""
    scene = act.scene().work(seconds=0.01)
    scene.shim = QUICK
    master = scene.master()
    slaves = [scene.slave() for _ in range(2)]
    scene.until(lambda: len(scene.working(slaves)) == 2, "two slaves are at work")
    scene.at_work(200)
    victim = act.chance.choice(slaves)
    at = time.monotonic()
    victim.signal(signal.SIGSTOP)
    time.sleep(0.05)
    running = scene.log.read().running(victim.pid)
    scene.blow("slave", [victim.pid], at=at, until=at + 5.5, bound=2 * THREADS + _queued(0.01), again=running,
               within=QUICK_LIFE + LATE)
    scene.pause(QUICK_LIFE + LATE + 0.4)
    victim.signal(signal.SIGCONT)
    scene.at_work(200)
    scene.complete(master, *slaves)
    scene.expect(scene.summary().get("duplicates", 0) > 0, "the late acknowledgements were not counted as duplicates")


def _queued(seconds: float) -> int:
    return 2 * int(THREADS * 0.05 / seconds)


def stopped_master(act: Act) -> None:
    """SIGSTOP for five seconds: slaves wait and go on, none is given up, and nothing runs twice."""
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
    scene.until(lambda: len(scene.working(slaves)) == 3, "three slaves are at work")
    for victim in slaves[:2]:
        scene.at_work(100)
        victim.signal(signal.SIGTERM)
        scene.finish(victim, seconds=10)
        scene.expect(not scene.log.read().running(victim.pid), "a drained slave left jobs that it had begun")
    scene.complete(master, slaves[2])


def terminated_master(act: Act) -> None:
    scene = act.scene().work(seconds=0.01)
    for _ in range(2):
        master, spawn = scene.master(), scene.spawn(2)
        scene.at_work(150)
        scene.await_slaves([spawn])
        scene.pause(0.0, 1.0)
        master.signal(signal.SIGTERM)
        scene.finish(master, INTERRUPTED, 15)
        scene.finish(spawn, 0, 15)
        _drained(scene, master)
    master, spawn = scene.master(), scene.spawn(2)
    scene.complete(master, spawn)
    scene.expect(scene.summary()["replayed"] == 0, f"{scene.summary()['replayed']} replays are told of")


def _drained(scene: Scene, actor: Actor) -> None:
    begun = {one.job for one in scene.log.read().attempts if not one.how}
    scene.expect(not begun, f"{len(begun)} jobs that were running were not brought to their end")
    saved = scene.checkpoint()
    done = scene.log.done()
    scene.expect(saved and saved["offset"] == len(done), "the checkpoint does not stand behind all that was done")
    scene.expect("resume with:" in actor.said, "it does not say how to resume")


def second_interrupt(act: Act) -> None:
    scene = act.scene().work("\ndef deed(job): time.sleep(30 if job >= 100 and not os.path.exists('on') else 0.002)\n")
    master, spawn = scene.master(), scene.spawn(2)
    scene.at_work(100)
    _twice(scene, master)
    spawn.signal(signal.SIGTERM)
    spawn.signal(signal.SIGTERM)
    spawn.kill_group()
    scene.until(lambda: not scene.slaves(), "the slaves are gone", 10)
    (scene.folder / "on").touch()
    master, spawn = scene.master(), scene.spawn(2)
    scene.at_work(100)
    scene.complete(master, spawn)


def second_interrupt_of_a_run(act: Act) -> None:
    scene = act.scene().work("\ndef deed(job): time.sleep(30 if job >= 100 and not os.path.exists('on') else 0.002)\n")
    run = scene.run(2)
    scene.masters += 1
    scene.at_work(100)
    _twice(scene, run)
    scene.until(lambda: not scene.slaves(), "the slaves are gone", 3)
    (scene.folder / "on").touch()
    run = scene.run(2)
    scene.at_work(100)
    scene.complete(run)


def _twice(scene: Scene, actor: Actor) -> None:
    """Ctrl-C, and once more: back in less than a second, with a state that goes on."""
    actor.signal(signal.SIGINT)
    scene.pause(0.3, 0.8)
    scene.expect(actor.running, "it did not wait for the jobs that were running")
    at = time.monotonic()
    actor.signal(signal.SIGINT)
    scene.finish(actor, INTERRUPTED, 5)
    took = time.monotonic() - at
    scene.expect_in(took, 1.0, "from the second Ctrl-C to the end")
    scene.note_dead_master(at).kills = 0


def interrupted_run(act: Act) -> None:
    """Ctrl-C: everything that is running finishes, and the resumed run repeats nothing."""
    scene = act.scene().work(seconds=0.02)
    for _ in range(2):
        run = scene.run(2)
        scene.at_work(150)
        scene.pause(0.0, 1.0)
        run.signal(signal.SIGINT)
        scene.finish(run, INTERRUPTED, 15)
        _drained(scene, run)
    run = scene.run(2)
    scene.at_work(1)
    scene.complete(run)
    scene.expect(scene.summary()["replayed"] == 0, f"{scene.summary()['replayed']} replays are told of")


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
    """SIGTERM while a handler holds the interpreter's lock for three seconds: heard when it lets go."""
    scene = act.scene().work(_HOLDS)
    master = scene.master()
    slaves = [scene.slave() for _ in range(2)]
    scene.until(lambda: scene.log.read().times(300), "the job that holds the lock has begun")
    [attempt] = [one for one in scene.log.attempts if one.job == "300"]
    [victim] = [slave for slave in slaves if slave.pid == attempt.pid]
    scene.pause(0.2)
    at = time.monotonic()
    victim.signal(signal.SIGTERM)
    scene.finish(victim, seconds=10)
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
    """One job takes a hundred times as long as the mean: the others get a window ahead, and memory stays flat."""
    scene = act.scene().work("\ndef deed(job): time.sleep(3.0 if job == 1000 else SECONDS)\n", seconds=0.003)
    master, spawn = scene.master("--size", 2000), scene.spawn(2)
    scene.until(lambda: any(one.job == "1000" and one.end for one in scene.log.read().attempts), "the straggler ends")
    [slow] = [one for one in scene.log.attempts if one.job == "1000"]
    ahead = max(int(one.job) for one in scene.log.attempts if one.start < (slow.end or 0))
    scene.expect(2000 <= ahead <= 1000 + 2000, f"while job 1000 ran the others got to {ahead}, of 3000")
    scene.at_work(300)
    scene.complete(master, spawn)

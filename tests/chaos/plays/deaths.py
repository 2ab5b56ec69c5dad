"""kill -9: of slaves, masters, everything, the fleet; at any time, and in the middle of writing a checkpoint."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from chaos.act import Act
from chaos.bounds import held_by_slave
from chaos.kills import kill_all, kill_master, kill_slave, note_dead_master
from chaos.scene import Scene
from support.processes import processes_in

KILLS = 8
STEPS_OF_A_START = 18  # system calls with which a master tries its folder and writes its epoch
STEPS_OF_A_SAVE = 12  # and with which it writes a checkpoint


def slave_in_a_loop(act: Act) -> None:
    """Every 0.3 s; without a fleet, which waits longer with each crash before it starts a slave."""
    scene = act.scene().work()
    master = scene.master()
    slaves = [scene.slave() for _ in range(3)]
    scene.await_slaves(slaves)
    scene.at_work(600)
    for _ in range(KILLS):
        scene.await_working(slaves, 2)
        scene.pause(0.2, 0.4)
        # Not within 1 s here: a job that was with two dead slaves is a suspect, and waits until it can run alone.
        kill_slave(scene, act.chance.choice(scene.working(slaves)), within=5.0)
        slaves.append(scene.slave())
    scene.at_work()
    scene.complete(master, *[slave for slave in slaves if slave.running])


def master_at_random(act: Act) -> None:
    scene = act.scene().work()
    master, spawn = scene.master(), scene.spawn(2)
    scene.await_slaves([spawn])
    scene.at_work(600)
    for _ in range(KILLS):
        scene.pause(0.1, 1.3)
        kill_master(scene, master)
        scene.pause(0.0, 0.3)
        master = scene.master()
        scene.at_work(20)
    scene.complete(master, spawn)


def all_at_once(act: Act) -> None:
    scene = act.scene().work()
    for _ in range(4):
        master, spawn = scene.master(), scene.spawn(2)
        scene.at_work()
        scene.pause(0.0, 1.2)
        kill_all(scene)
    master, spawn = scene.master(), scene.spawn(2)
    scene.complete(master, spawn)


def inside_a_checkpoint(act: Act) -> None:
    """The master dies before the 1st, 2nd, ... step of writing; the next one must cope with what is there.

    As it starts it writes a trial file, then the new epoch; later, a checkpoint each second.
    """
    scene = act.scene().work()
    spawn = scene.spawn(2)
    scene.master().kill()  # so that there is a checkpoint to damage
    scene.at_work(0)
    for step in act.chance.sample(range(1, STEPS_OF_A_START + 1), 6):
        _die_at(scene, step)
    for step in range(STEPS_OF_A_SAVE):
        _die_at(scene, STEPS_OF_A_START + STEPS_OF_A_SAVE * act.chance.randrange(2) + step + 1)
    scene.complete(scene.master(), spawn)


def _die_at(scene: Scene, step: int) -> None:
    master = scene.master(listens=False, shim={"only": ["master"], "die_at": step})
    scene.until(lambda: not master.running, f"the master dies at step {step} of writing")
    scene.expect(master.code == -signal.SIGKILL, f"at step {step} of writing a master ended with {master.code}")
    saved = scene.checkpoint()
    if saved is not None and saved["epoch"] == scene.masters - 1:
        scene.masters -= 1  # it died before its epoch was written
    note_dead_master(scene, time.monotonic())


def spawn_dies(act: Act) -> None:
    scene = act.scene().work()
    master, spawn = scene.master(), scene.spawn(3)
    scene.at_work()
    slaves = scene.slaves()
    running = frozenset(job for pid in slaves for job in scene.log.read().running(pid))
    at = time.monotonic()
    spawn.kill()
    gone = scene.until(lambda: not scene.slaves(), "the slaves are gone", 10)
    scene.expect_in(gone, 1.0, "until the slaves of a killed tm-spawn were gone")
    scene.blow("fleet", slaves, at=at, until=time.monotonic(), bound=3 * held_by_slave(scene.seconds), again=running,
               kills=4)
    again = scene.spawn(2)
    scene.at_work()
    scene.complete(master, again)


def _socket_folder(slave: int) -> Path:
    """Where the socket is that a slave was told to connect to."""
    words = Path(f"/proc/{slave}/cmdline").read_bytes().split(b"\0")
    return Path(words[words.index(b"--address") + 1].decode().removeprefix("ipc://")).parent


def run_dies(act: Act) -> None:
    scene = act.scene().work()
    for _ in range(3):
        run = scene.run(2)
        scene.at_work()
        sockets = {_socket_folder(pid) for pid in scene.slaves()}
        at = time.monotonic()
        run.kill()
        gone = scene.until(lambda: not processes_in(scene.folder), "nothing is left", 10)
        scene.expect_in(gone, 1.0, "until the slaves of a killed tm-run were gone")
        note_dead_master(scene, at, slaves_too=True).kills = 3
    last = scene.run(2)
    scene.at_work(1)
    scene.expect(sockets and not any(folder.exists() for folder in sockets),
                 "the socket's folder of a killed run is still there when the next one is at work")
    scene.complete(last)


def between_done_and_settled(act: Act) -> None:
    """The slave dies as it reports: before the report is sent, or between that and the answer."""
    for when in ("before", "after"):
        scene = act.scene(when).work()
        master = scene.master()
        other = scene.slave()
        victim = scene.slave(shim={"only": ["slave"], "die_telling": when,
                                   "die_telling_at": act.chance.randrange(3, 20)})
        scene.until(lambda: not victim.running, "the slave dies as it reports")
        scene.expect((scene.folder / "died").exists(), "the slave did not die of the report")
        at = time.monotonic()
        # All that it had begun and not reported before: what it was running, and the report itself.
        scene.blow("slave", [victim.pid], at=at - 0.2, until=at, bound=held_by_slave(scene.seconds),
                   again=scene.log.read().running(victim.pid), kills=1)
        scene.at_work()
        scene.complete(master, other)


# -- beyond the table

def local_slave_of_a_run(act: Act) -> None:
    """Its jobs run elsewhere within a second, since the fleet tells the master at once."""
    scene = act.scene().work()
    run = scene.run(2)
    for _ in range(3):
        scene.until(lambda: len(set(scene.slaves()) & scene.log.read().pids()) == 2, "two slaves are at work")
        scene.at_work()
        kill_slave(scene, act.chance.choice(scene.slaves()), within=1.0)
        scene.at_work()
    scene.complete(run)


def remote_slave(act: Act) -> None:
    """Across a network its jobs run elsewhere as soon as its connection has been gone for a moment."""
    scene = act.scene().work()
    port = scene.on_tcp()
    scene.address = f"tcp://0.0.0.0:{port}"
    master = scene.master()
    slaves = [scene.slave(address=f"tcp://127.0.0.1:{port}") for _ in range(3)]
    for _ in range(2):
        scene.await_working(slaves, 2)
        scene.at_work()
        kill_slave(scene, act.chance.choice(scene.working(slaves)), within=4.0)
        scene.at_work(400)
    scene.complete(master, *[slave for slave in slaves if slave.running])


def master_restarted(act: Act) -> None:
    """Slave processes keep their pids and what they run; the rate is back within two seconds."""
    scene = act.scene().work(seconds=0.02)
    master, spawn = scene.master(), scene.spawn(2)
    scene.until(lambda: len(scene.slaves()) == 2, "two slaves run")
    scene.at_work(200)
    slaves = set(scene.slaves())
    kill_master(scene, master)
    cut = {job for pid in slaves for job in scene.log.read().running(pid)}
    scene.pause(0.5, 6.0)
    master = scene.master()
    back = time.monotonic()
    scene.pause(3.0)
    scene.expect(set(scene.slaves()) == slaves, "the slaves did not keep their pids")
    ended = {one.job for one in scene.log.read().attempts if one.how == "end" and one.pid in slaves}
    scene.expect(cut <= ended, f"{len(cut - ended)} jobs that ran when the master died were not finished")
    rate, possible = scene.log.settled_between(back + 2.0, back + 3.0), 8 / scene.seconds
    if rate < 0.7 * possible:
        scene.late.append(f"two seconds after its restart a master had {rate} jobs done in one, of {possible:.0f}")
    scene.complete(master, spawn)

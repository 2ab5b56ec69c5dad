"""What goes wrong, when, and how it is put right."""

from __future__ import annotations

from collections.abc import Callable

from models.inside import window_of
from models.watched_slave import WatchedSlave
from models.world import World

from taskmaster import defaults
from taskmaster.core import wire

QUIET_SECONDS = 4.0  # when no messages pass, the next fault comes within this time
LONG_SECONDS = (0.05, 0.5, 3.0, 10.0, 65.0)  # that a stall, a cut or a full disk may last


class Faults:
    """Plays a scenario's faults one after the other, then puts everything right."""

    def __init__(self, world: World) -> None:
        self.over = False
        self._world = world
        self._left = world.scenario.many
        self._due_at = 0  # messages
        self._due_by = 0.0
        self._power_cut = False
        self._deeds = self._table(world)

    def _table(self, world: World) -> dict[str, Callable[[], object]]:
        return {
            "slave killed": self._kill_slave,
            "slave lost": self._lose_slave,
            "slave stalled": self._stall_slave,
            "slave drained": self._drain_slave,
            "slave joins": self._join,
            "fleet stalled": self._stall_fleet,
            "connection reset": self._reset_connection,
            "connection cut": self._cut_connection,
            "false hint": self._hint_falsely,
            "master killed": world.masters.kill,
            "master killed within": self._kill_master_within,
            "power cut": self._cut_power,
            "master stalled": self._stall_master,
            "master interrupted": world.masters.interrupt,
            "master aborted": self._abort,
            "master reset": self._reset_run,
            "disk full": self._fill_disk,
            "disk slow": self._slow_disk,
            "disk error": self._fail_disk,
            "forged report": self._forge,
            "garbage": self._send_garbage,
        }

    def begin(self) -> None:
        self._plan()
        self._world.scheduler.after(0.05, self._look)

    def end(self) -> None:
        world = self._world
        self.over = True
        world.disk.heal()
        if world.watchdogs is not None:
            world.watchdogs.resume()
        for slave in world.slaves.living:
            slave.process.resume()
            if slave.dialer.cut:
                slave.dialer.heal(lost=True)
                slave.dialer.lose_connection()
        master = world.masters.process
        if master is not None:
            master.steps_left = None
            master.resume()

    def settle_disk(self) -> None:
        """A master was killed, perhaps with its machine."""
        if self._power_cut:
            self._world.disk.cut_power()
        self._world.disk.settle_down()
        self._power_cut = False

    # -- when

    def _plan(self) -> None:
        world = self._world
        self._due_at = world.network.messages + world.chance.randint(1, 2 * world.scenario.gap)
        self._due_by = world.scheduler.now + QUIET_SECONDS * world.chance.random()

    def _look(self) -> None:
        world = self._world
        if self.over or world.finished:
            return
        if world.network.messages >= self._due_at or world.scheduler.now >= self._due_by:
            if self._left == 0:
                self.over = True
                return
            self._strike()
        world.scheduler.after(0.02 * world.chance.random(), self._look)

    def _strike(self) -> None:
        world = self._world
        name = world.chance.choice(world.scenario.faults)
        self._left -= 1
        world.counts[name] += 1
        world.trace.note("fault", name)
        self._deeds[name]()
        self._plan()

    def _long(self) -> float:
        return self._world.chance.choice(LONG_SECONDS) * self._world.chance.uniform(0.5, 1.1)

    # -- slaves

    def _slave(self) -> WatchedSlave | None:
        living = self._world.slaves.living
        return self._world.chance.choice(living) if living else None

    def _kill_slave(self, noticed: bool = True) -> None:
        slave = self._slave()
        if slave is not None:
            self._world.slaves.end(slave, noticed)

    def _lose_slave(self) -> None:
        self._kill_slave(noticed=False)

    def _stall_slave(self) -> None:
        slave = self._slave()
        if slave is not None:
            slave.process.stall()
            self._world.scheduler.after(self._long(), slave.process.resume)

    def _drain_slave(self) -> None:
        slave = self._slave()
        if slave is not None:
            slave.control.drain()

    def _join(self) -> None:
        if len(self._world.slaves.living) < 2 * self._world.scenario.slaves:
            self._world.slaves.start()

    def _stall_fleet(self) -> None:
        """Ctrl-Z; or the container is paused, and its slaves with it. The master of a crew is the same process."""
        world, seconds = self._world, self._long()
        assert world.watchdogs is not None
        world.watchdogs.stall()
        world.scheduler.after(seconds, world.watchdogs.resume)
        if world.scenario.crew:
            self._stall_master(seconds)
        if world.chance.random() < 0.5:
            for slave in world.slaves.living:
                slave.process.stall()
                world.scheduler.after(seconds + world.chance.random() * 0.5, slave.process.resume)

    # -- the network

    def _reset_connection(self) -> None:
        slave = self._slave()
        if slave is not None:
            slave.dialer.lose_connection(noticed=self._world.chance.random() < 0.8)

    def _cut_connection(self) -> None:
        slave, world = self._slave(), self._world
        if slave is None:
            return
        world.counts["partitions"] += 1
        slave.dialer.cut_off()
        lost, anew = world.chance.random() < 0.5, world.chance.random() < 0.5

        def heal() -> None:
            slave.dialer.heal(lost)
            if anew and slave.process.alive:
                slave.dialer.lose_connection()

        world.scheduler.after(self._long(), heal)

    def _hint_falsely(self) -> None:
        """A descriptor was reused: a live connection looks as if it had dropped."""
        slave, listener = self._slave(), self._world.network.listener
        if slave is not None and listener is not None and slave.dialer.peer is not None:
            listener.mistake(slave.dialer.peer)

    # -- the master

    def _kill_master_within(self) -> None:
        """In the middle of whatever it does next."""
        process = self._world.masters.process
        if process is not None:
            process.steps_left = self._world.chance.randint(1, 80)

    def _cut_power(self) -> None:
        self._power_cut = True
        self._kill_master_within()

    def _stall_master(self, seconds: float | None = None) -> None:
        process = self._world.masters.process
        if process is not None:
            process.stall()
            self._world.masters.watch.disturbed()
            self._world.scheduler.after(self._long() if seconds is None else seconds, process.resume)

    def _abort(self) -> None:
        """Ctrl-C, twice."""
        interrupt = self._world.masters.interrupt
        interrupt()
        self._world.scheduler.after(1.5 * defaults.INTERRUPT_SECONDS, interrupt)

    def _reset_run(self) -> None:
        """The user kills it and starts all over."""
        self._world.masters.reset = True
        self._world.masters.kill()

    # -- its disk

    def _disturb(self) -> None:
        self._world.masters.watch.disturbed()
        self._world.scheduler.after(self._long(), self._world.disk.heal)

    def _fill_disk(self) -> None:
        self._world.disk.full = True
        self._disturb()

    def _slow_disk(self) -> None:
        self._world.disk.seconds = self._world.chance.choice([0.05, 0.5, 8.0])
        self._disturb()

    def _fail_disk(self) -> None:
        self._world.disk.fails = self._world.chance.randint(1, 3)
        self._disturb()

    # -- strangers

    def _forge(self) -> None:
        """A stranger reports a job as done that this master never handed out."""
        self._world.counts["forged"] += 1
        self._inject(self._forged)

    def _forged(self) -> wire.Frames:
        world, master = self._world, self._world.masters.current
        assert master is not None and master.server is not None
        window, life = window_of(master.server), world.oracle.life
        never = [at for at in range(window.watermark, window.head + 2) if at not in life.newest]
        done = ((never[0], 1),) if never else ()
        return wire.encode_poll(wire.Poll(life.run, life.epoch, "liar", world.network.messages + 1, done=done))

    def _send_garbage(self) -> None:
        chance = self._world.chance
        frames = [chance.randbytes(chance.randint(0, 40)) for _ in range(chance.randint(0, 3))]
        self._inject(lambda: frames)

    def _inject(self, make: Callable[[], wire.Frames]) -> None:
        listener = self._world.network.listener
        if listener is not None:
            listener.inject((b"liar", b"1", b""), make)

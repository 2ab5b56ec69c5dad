"""What goes wrong, when, and how it is put right again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from simulation.slave import Slave

from taskmaster.core import wire

if TYPE_CHECKING:
    from simulation.world import World

QUIET_SECONDS = 4.0  # with no message, the next fault comes by the clock
LONG_SECONDS = (0.05, 0.5, 3.0, 10.0, 65.0)  # that a stall, a cut or a full disk may last


class Faults:
    """Plays a scenario's faults one after the other, then heals everything."""

    def __init__(self, world: World) -> None:
        self.over = False
        self._world = world
        self._left = world.scenario.many
        self._due_at = 0  # messages
        self._due_by = 0.0
        self._power_cut = False
        self._deeds: dict[str, Callable[[], object]] = {
            "slave killed": self._kill_slave, "slave lost": self._lose_slave, "slave stalled": self._stall_slave,
            "slave drained": self._drain_slave, "slave joins": self._join, "connection reset": self._reset_connection,
            "connection cut": self._cut_connection, "rumour": self._spread_rumour,
            "master killed": world.master_dies, "master killed within": self._kill_master_within,
            "power cut": self._cut_power, "master stalled": self._stall_master,
            "master interrupted": self._interrupt, "master aborted": self._abort, "master reset": self._reset_run,
            "disk full": self._fill_disk, "disk slow": self._slow_disk, "disk error": self._fail_disk,
            "forged report": self._forge, "garbage": self._send_garbage,
        }

    def begin(self) -> None:
        self._plan()
        self._world.hub.after(0.05, self._look)

    def end(self) -> None:
        """All is well from here on."""
        world = self._world
        self.over = True
        world.disk.mend()
        for slave in world.slaves:
            slave.process.go_on()
            if slave.dialer.cut:
                slave.dialer.join_again(lost=True)
                slave.dialer.lose_connection()
        if world.process is not None:
            world.process.fuse = None
            world.process.go_on()

    def settle_disk(self) -> None:
        """A master died: did the machine, too?"""
        if self._power_cut:
            self._world.disk.cut_power()
        self._world.disk.settle_down()
        self._power_cut = False

    # -- when

    def _plan(self) -> None:
        world = self._world
        self._due_at = world.network.messages + world.chance.randint(1, 2 * world.scenario.gap)
        self._due_by = world.hub.now + QUIET_SECONDS * world.chance.random()

    def _look(self) -> None:
        world = self._world
        if self.over or world.finished:
            return
        if world.network.messages >= self._due_at or world.hub.now >= self._due_by:
            if self._left == 0:
                self.over = True
                return
            self._strike()
        world.hub.after(0.02 * world.chance.random(), self._look)

    def _strike(self) -> None:
        world = self._world
        name = world.chance.choice(world.scenario.faults)
        self._left -= 1
        world.counts[name] += 1
        world.watch.note("fault", name)
        self._deeds[name]()
        self._plan()

    def _long(self) -> float:
        return self._world.chance.choice(LONG_SECONDS) * self._world.chance.uniform(0.5, 1.1)

    # -- slaves

    def _slave(self) -> Slave | None:
        return self._world.chance.choice(self._world.slaves) if self._world.slaves else None

    def _kill_slave(self, noticed: bool = True) -> None:
        slave = self._slave()
        if slave is not None:
            self._world.counts["slave deaths"] += 1
            for work in slave.pool.running():
                work.take_back()
            slave.kill(noticed)

    def _lose_slave(self) -> None:
        self._kill_slave(noticed=False)

    def _stall_slave(self) -> None:
        slave = self._slave()
        if slave is not None:
            slave.process.stall()
            self._world.hub.after(self._long(), slave.process.go_on)

    def _drain_slave(self) -> None:
        slave = self._slave()
        if slave is not None:
            slave.control.drain()

    def _join(self) -> None:
        if len(self._world.slaves) < 2 * self._world.scenario.slaves:
            self._world.start_slave()

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
            slave.dialer.join_again(lost)
            if anew and slave.process.alive:
                slave.dialer.lose_connection()

        world.hub.after(self._long(), heal)

    def _spread_rumour(self) -> None:
        """A descriptor was used again: it looks as if a connection had dropped that is there."""
        slave, listener = self._slave(), self._world.network.listener
        if slave is not None and listener is not None and slave.dialer.peer is not None:
            listener.drop(slave.dialer.peer)

    # -- the master

    def _kill_master_within(self) -> None:
        """In the middle of what it does next."""
        process = self._world.process
        if process is not None:
            process.fuse = self._world.chance.randint(1, 80)

    def _cut_power(self) -> None:
        self._power_cut = True
        self._kill_master_within()

    def _stall_master(self) -> None:
        process = self._world.process
        if process is not None:
            process.stall()
            self._world.watch.troubled()
            self._world.hub.after(self._long(), process.go_on)

    def _interrupt(self) -> None:
        if self._world.master is not None and self._world.process is not None:
            self._world.master.interrupt()

    def _abort(self) -> None:
        self._interrupt()
        self._world.hub.after(0.1, self._interrupt)

    def _reset_run(self) -> None:
        """The user stops it and starts all over."""
        self._world.reset = True
        self._world.master_dies()

    # -- its disk

    def _trouble(self) -> None:
        self._world.watch.troubled()
        self._world.hub.after(self._long(), self._world.disk.mend)

    def _fill_disk(self) -> None:
        self._world.disk.full = True
        self._trouble()

    def _slow_disk(self) -> None:
        self._world.disk.seconds = self._world.chance.choice([0.05, 0.5, 8.0])
        self._trouble()

    def _fail_disk(self) -> None:
        self._world.disk.fails = self._world.chance.randint(1, 3)
        self._trouble()

    # -- strangers

    def _forge(self) -> None:
        """Somebody says that a job is done that this master never gave to anybody."""
        self._world.counts["forged"] += 1
        self._inject(self._forged)

    def _forged(self) -> wire.Frames:
        world, master = self._world, self._world.master
        assert master is not None and master.server is not None
        window, life = master.server._window, world.oracle.life
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

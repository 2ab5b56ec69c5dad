"""The network between one master and its slaves: delays, loses, repeats, reorders, cuts and joins again.

It carries frames as `taskmaster.transport` does, with the same two ends, and knows nothing of what they say.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import ceil

from simulation.hub import Hub, Process
from simulation.threads import Event

from taskmaster.core.session import Route
from taskmaster.core.wire import Frames

TURN_SECONDS = 5e-5  # what a turn of a loop costs at the least
REJOIN_SECONDS = (0.1, 1.0)  # between two tries of a socket to connect
NOTICE_SECONDS = (0.001, 0.005)  # until the other end of a connection hears that it dropped


@dataclass(frozen=True)
class Weather:
    """Delays in seconds, the others as shares of the messages."""

    delay: float = 2e-4
    late: float = 0.0  # of those that take up to a thousand times as long
    lost: float = 0.0
    repeated: float = 0.0
    ordered: bool = True  # within a connection, as TCP does
    correlated: bool = True  # an answer to an older request is dropped by the socket, as REQ does when asked to


FAIR = Weather()


class Network:
    """Listeners come and go, one at a time; dialers connect to the one that is there."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.weather = FAIR
        self.listener: Listener | None = None
        self.dialers: list[Dialer] = []
        self.messages = 0
        self._peers = 0
        self._arrived: dict[tuple[bytes, bool], float] = {}  # when the last message of a connection comes, each way

    def new_peer(self) -> bytes:
        self._peers += 1
        return b"peer%d" % self._peers

    def carry(self, peer: bytes, up: bool, arrive: Callable[[], object]) -> None:
        """A message along the connection of `peer`."""
        weather, chance = self.weather, self.hub.chance
        self.messages += 1
        if weather.lost and chance.random() < weather.lost:
            return
        self._send_off(peer, up, arrive)
        while weather.repeated and chance.random() < weather.repeated:
            self._send_off(peer, up, arrive)

    def _send_off(self, peer: bytes, up: bool, arrive: Callable[[], object]) -> None:
        weather, chance = self.weather, self.hub.chance
        delay = weather.delay * (0.5 + chance.random())
        if weather.late and chance.random() < weather.late:
            delay *= 1000 ** chance.random()
        time = self.hub.now + delay
        if weather.ordered:
            time = self._arrived[peer, up] = max(time, self._arrived.get((peer, up), 0.0))
        self.hub.at(time, arrive)

    def shut(self, listener: Listener) -> None:
        """The master's end is gone."""
        if self.listener is listener:
            self.listener = None
        for dialer in [one for one in self.dialers if one.peer in listener.connected]:
            dialer.lose_connection()


class Listener:
    """The master's end: see `net.Listener`."""

    def __init__(self, network: Network, process: Process, local: bool,
                 saw: Callable[[Route, Frames], object]) -> None:
        self.local = local
        self.address = "simulated"
        self.connected: dict[bytes, Dialer] = {}
        self._network = network
        self._process = process
        self._saw = saw
        self._ready = Event(process)
        self._waker: Event | None = None
        self._inbox: deque[tuple[Route, Callable[[], Frames]]] = deque()
        self._heard: set[bytes] = set()
        self._dropped: list[bytes] = []
        network.listener = self

    def register(self, waker: Event) -> None:
        self._waker = waker

    def wait(self, seconds: float) -> None:
        self._process.step()
        _wait(self._process, self._ready, self._waker, bool(self._inbox or self._dropped), seconds)

    def receive(self) -> tuple[Route, Frames] | None:
        self._process.step()
        if not self._inbox:
            return None
        route, make = self._inbox.popleft()
        frames = make()
        self._heard.add(route[0])
        self._saw(route, frames)
        return route, frames

    def send(self, route: Route, frames: Frames) -> None:
        self._process.step()
        dialer = self.connected.get(route[0])
        if dialer is not None:
            self._network.carry(route[0], False, partial(dialer.arrive, route, frames))

    def dropped(self) -> list[tuple[bytes, bool]]:
        gone, self._dropped = self._dropped, []
        return [(peer, self.local) for peer in gone]

    def arrive(self, route: Route, frames: Frames) -> None:
        if route[0] in self.connected:
            self.inject(route, lambda: frames)

    def inject(self, route: Route, make: Callable[[], Frames]) -> None:
        """Whoever it comes from; what it says is made when it is read."""
        if self._network.listener is self:
            self._inbox.append((route, make))
            self._ready.set()

    def drop(self, peer: bytes) -> None:
        """It is seen that a connection dropped; of one that never carried a message nothing is known."""
        if peer in self._heard:
            self._heard.discard(peer)
            self._dropped.append(peer)
            self._ready.set()

    def close(self) -> None:
        self._network.shut(self)


class Dialer:
    """A slave's end: see `dialer.Dialer`."""

    def __init__(self, network: Network, process: Process) -> None:
        self.address = "simulated"
        self.peer: bytes | None = None  # while it is connected
        self.cut = False
        self._network = network
        self._process = process
        self._ready = Event(process)
        self._waker: Event | None = None
        self._inbox: deque[tuple[Route, Frames]] = deque()
        self._outbox: list[tuple[bytes, Frames]] = []  # until there is a connection
        self._held: list[Callable[[], object]] = []  # until the cut is over
        self._asked = 0
        self._answered = True
        self._tries = 0
        self._met = False  # this socket was connected before
        self._returned = False
        network.dialers.append(self)
        network.hub.soon(self._connect)

    # -- as the control loop uses it

    def register(self, waker: Event) -> None:
        self._waker = waker

    def wait(self, seconds: float) -> None:
        _wait(self._process, self._ready, self._waker, bool(self._inbox), seconds)

    def send(self, frames: Frames) -> None:
        self._asked += 1
        self._answered = False
        request = b"%d" % self._asked
        if self.peer is None:
            self._outbox.append((request, frames))
        else:
            self._carry(self.peer, request, frames)

    def receive(self) -> Frames | None:
        if not self._inbox:
            return None
        route, frames = self._inbox.popleft()
        if self._network.weather.correlated:
            if self._answered or route[1] != b"%d" % self._asked:
                return None
            self._answered = True
        return frames

    def returned(self) -> bool:
        returned, self._returned = self._returned, False
        return returned

    def rebuild(self) -> None:
        """A new socket: what the old one had not sent yet is gone."""
        self._outbox, self._answered = [], True
        self._met = False
        self._inbox.clear()
        self.lose_connection()

    def close(self) -> None:
        if self in self._network.dialers:
            self._network.dialers.remove(self)
            self._hang_up(noticed=True)

    # -- as the faults use it

    def vanish(self) -> None:
        """Its host is gone: nobody hears that the connection dropped."""
        self._network.dialers.remove(self)
        self._hang_up(noticed=False)

    def lose_connection(self, noticed: bool = True) -> None:
        """A new one will be made, under another peer's name."""
        self._hang_up(noticed)
        self._again()

    def cut_off(self) -> None:
        """What is sent from now on goes nowhere yet."""
        self.cut = True

    def join_again(self, lost: bool) -> None:
        """What was sent meanwhile arrives now, or is lost."""
        self.cut = False
        held, self._held = self._held, []
        for arrive in held if not lost else ():
            self._network.hub.soon(arrive)

    # -- the connection

    def _connect(self) -> None:
        listener = self._network.listener
        if self.peer is not None or not self._process.alive or self not in self._network.dialers:
            return
        if listener is None or self.cut:
            self._again()
            return
        self._tries = 0
        self._returned |= self._met
        self._met = True
        self.peer = self._network.new_peer()
        self._ready.set()
        listener.connected[self.peer] = self
        outbox, self._outbox = self._outbox, []
        for request, frames in outbox:
            self._carry(self.peer, request, frames)

    def _again(self) -> None:
        least, most = REJOIN_SECONDS
        self._tries = min(self._tries + 1, 5)
        self._network.hub.after(min(least * 2 ** self._tries, most) * self._network.hub.chance.uniform(0.5, 1.0),
                                self._connect)

    def _hang_up(self, noticed: bool) -> None:
        peer, self.peer = self.peer, None
        listener = self._network.listener
        if peer is None or listener is None:
            return
        if noticed:
            listener.connected.pop(peer, None)
            self._network.hub.after(self._network.hub.chance.uniform(*NOTICE_SECONDS), partial(listener.drop, peer))

    def _carry(self, peer: bytes, request: bytes, frames: Frames) -> None:
        listener = self._network.listener
        if listener is not None:
            route = (peer, request, b"")
            self._network.carry(peer, True, partial(self._pass, partial(listener.arrive, route, frames)))

    def _pass(self, arrive: Callable[[], object]) -> None:
        """Unless the network is cut."""
        if self.cut:
            self._held.append(arrive)
        else:
            arrive()

    def arrive(self, route: Route, frames: Frames) -> None:
        self._pass(partial(self._take, route, frames))

    def _take(self, route: Route, frames: Frames) -> None:
        if route[0] == self.peer and self._process.alive:
            self._inbox.append((route, frames))
            self._ready.set()


def _wait(process: Process, ready: Event, waker: Event | None, at_once: bool, seconds: float) -> None:
    """Until `ready` or the waker, to a whole millisecond like a poll, and never for nothing."""
    hub = process.hub
    assert hub.task is not None and waker is not None
    if at_once or waker.is_set or ready.is_set or seconds <= 0:
        hub.task.pause(hub.now + TURN_SECONDS)
    else:
        ready.attach(hub.task)
        waker.attach(hub.task)
        task = hub.task
        task.pause(hub.now + ceil(min(seconds, 60.0) * 1000) / 1000)
        ready.detach(task)
        waker.detach(task)
    ready.clear()

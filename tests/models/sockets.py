"""The two ends of the simulated network, in place of the transport's `Listener` and `Dialer`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import count
from math import ceil

from models.network import Network
from models.process import Process
from models.threads import Event

from taskmaster.core.session import Route
from taskmaster.core.wire import Frames
from taskmaster.transport.peers import Peers

TURN_SECONDS = 5e-5  # what one turn of a loop takes at least
REJOIN_SECONDS = (0.1, 1.0)  # between two attempts of a socket to connect
NOTICE_SECONDS = (0.001, 0.005)  # until the other end of a connection learns that it dropped


class Socket:
    """What a loop waits at, for its messages or for its waker."""

    address = "simulated"

    def __init__(self, network: Network, process: Process) -> None:
        self._network = network
        self._scheduler = network.scheduler
        self._process = process
        self._ready = Event(process)
        self._waker: Event | None = None

    def register(self, waker: Event) -> None:
        self._waker = waker

    def wait(self, seconds: float) -> None:
        """Until there is news or the waker is set, in whole milliseconds as with poll(); a turn always takes time."""
        assert self._waker is not None
        if self._has_news() or self._waker.is_set or self._ready.is_set or seconds <= 0:
            self._take_turn()
        else:
            self._pause(self._waker, ceil(min(seconds, 60.0) * 1000) / 1000)
        self._ready.clear()

    def _has_news(self) -> bool:
        raise NotImplementedError

    def _take_turn(self) -> None:
        self._scheduler.sleep(TURN_SECONDS)

    def _pause(self, waker: Event, seconds: float) -> None:
        task = self._scheduler.task
        assert task is not None
        self._ready.attach(task)
        waker.attach(task)
        task.pause(self._scheduler.now + seconds)
        self._ready.detach(task)
        waker.detach(task)


class Listener(Socket):
    """The master's end; `saw` is called with each message that it reads."""

    def __init__(self, network: Network, process: Process, local: bool,
                 saw: Callable[[Route, Frames], object] = lambda route, frames: None,
                 peers: type[Peers] = Peers) -> None:
        super().__init__(network, process)
        self.local = local
        self.connected: dict[bytes, Dialer] = {}
        self._saw = saw
        self._inbox: deque[tuple[Route, Callable[[], Frames], int | None]] = deque()
        self._peers = peers()
        self._descriptors: dict[bytes, int] = {}
        self.ended: set[bytes] = set()  # peers whose connection has dropped, as it could know
        network.listener = self

    def wait(self, seconds: float) -> None:
        self._process.step()
        super().wait(seconds)

    def _has_news(self) -> bool:
        return bool(self._inbox) or self._peers.any_dropped

    def receive(self) -> tuple[Route, Frames] | None:
        self._process.step()
        if not self._inbox:
            self._peers.all_read()
            return None
        route, make, descriptor = self._inbox.popleft()
        frames = make()
        if descriptor is not None and route[0] not in self._peers.known:
            self._peers.spoke(route[0], descriptor, self.local)
        self._saw(route, frames)
        return route, frames

    def send(self, route: Route, frames: Frames) -> None:
        self._process.step()
        dialer = self.connected.get(route[0])
        if dialer is not None:
            self._network.carry(route[0], False, partial(dialer.arrive, route, frames))

    def dropped(self) -> list[tuple[bytes, bool]]:
        return self._peers.dropped()

    def accept(self, dialer: Dialer, peer: bytes) -> None:
        """A connection is made. It gets the lowest free descriptor, as from the kernel."""
        used = set(self._descriptors.values())
        self._descriptors[peer] = next(number for number in count() if number not in used)
        self.connected[peer] = dialer

    def arrive(self, route: Route, frames: Frames) -> None:
        if route[0] in self.connected:
            self.inject(route, lambda: frames, self._descriptors.get(route[0]))

    def inject(self, route: Route, make: Callable[[], Frames], descriptor: int | None = None) -> None:
        """A message from anybody, connected or not; `make` is called when it is read."""
        if self._network.listener is self:
            self._inbox.append((route, make, descriptor))
            self._ready.set()

    def drop(self, peer: bytes) -> None:
        """A connection dropped."""
        self.ended.add(peer)
        self._peers.closed(self._descriptors.pop(peer))
        self._ready.set()

    def mistake(self, peer: bytes) -> None:
        """A live connection looks as if it had dropped."""
        self._peers.closed(self._descriptors[peer])
        self._ready.set()

    def transfer(self, peer: bytes) -> None:
        """It is not known: messages arrive whole."""

    def close(self) -> None:
        self._network.shut(self)


class Dialer(Socket):
    """A slave's end."""

    def __init__(self, network: Network, process: Process) -> None:
        super().__init__(network, process)
        self.peer: bytes | None = None  # while it is connected
        self.cut = False
        self._inbox: deque[tuple[Route, Frames]] = deque()
        self._outbox: list[tuple[bytes, Frames]] = []  # until there is a connection
        self._held: list[Callable[[], object]] = []  # until the cut is healed
        self._asked = 0
        self._answered = True
        self._tries = 0
        self._was_connected = False  # this socket, before
        self._returned = False
        network.dialers.append(self)
        self._scheduler.soon(self._connect)

    # -- for the control loop

    def _has_news(self) -> bool:
        return bool(self._inbox)

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
        """A new socket: what the old one had not sent is lost."""
        self._outbox, self._answered = [], True
        self._was_connected = False
        self._inbox.clear()
        self.lose_connection()

    def transfer(self) -> None:
        """It is not known: messages arrive whole."""

    def close(self) -> None:
        if self in self._network.dialers:
            self._network.dialers.remove(self)
            self._hang_up(noticed=True)

    # -- for faults

    def vanish(self) -> None:
        """Its machine is gone: the other end never learns that the connection dropped."""
        self._network.dialers.remove(self)
        self._hang_up(noticed=False)

    def lose_connection(self, noticed: bool = True) -> None:
        """It reconnects, under another peer's name."""
        self._hang_up(noticed)
        self._retry()

    def cut_off(self) -> None:
        """What is sent from now on is held up."""
        self.cut = True

    def heal(self, lost: bool) -> None:
        """What was sent during the cut arrives now, or is lost."""
        self.cut = False
        held, self._held = self._held, []
        for arrive in held if not lost else ():
            self._scheduler.soon(arrive)

    # -- the connection

    def _connect(self) -> None:
        listener = self._network.listener
        if self.peer is not None or not self._process.alive or self not in self._network.dialers:
            return
        if listener is None or self.cut:
            self._retry()
            return
        self._tries = 0
        self._returned |= self._was_connected
        self._was_connected = True
        self.peer = self._network.new_peer()
        self._ready.set()
        listener.accept(self, self.peer)
        outbox, self._outbox = self._outbox, []
        for request, frames in outbox:
            self._carry(self.peer, request, frames)

    def _retry(self) -> None:
        least, most = REJOIN_SECONDS
        self._tries = min(self._tries + 1, 5)
        share = self._scheduler.chance.uniform(0.5, 1.0)
        self._scheduler.after(min(least * 2 ** self._tries, most) * share, self._connect)

    def _hang_up(self, noticed: bool) -> None:
        peer, self.peer = self.peer, None
        listener = self._network.listener
        if peer is None or listener is None:
            return
        if noticed:
            listener.connected.pop(peer, None)
            self._scheduler.after(self._scheduler.chance.uniform(*NOTICE_SECONDS), partial(listener.drop, peer))

    def _carry(self, peer: bytes, request: bytes, frames: Frames) -> None:
        listener = self._network.listener
        if listener is not None:
            route = (peer, request, b"")
            self._network.carry(peer, True, partial(self._pass, partial(listener.arrive, route, frames)))

    def _pass(self, arrive: Callable[[], object]) -> None:
        """It arrives, unless the network is cut."""
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

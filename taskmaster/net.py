"""Sockets: the ROUTER end, the REQ end, and what wakes a poll. It knows frames, not messages."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Sequence
from math import ceil

import zmq

from taskmaster import defaults, door, knock
from taskmaster.addresses import check_address, dial_address, ipc_path, is_local, is_loopback
from taskmaster.door import Crowd, Doorman, TurnedAway, closed_to_others, make_room, refuse_stolen
from taskmaster.errors import KeyRefused, UsageError
from taskmaster.keys import Keys
from taskmaster.knock import Knocks, is_closed, listener_is_ours, mechanism_at

Frames = list[bytes]
Route = tuple[bytes, ...]

# Flags as plain ints, and the loop over the frames here: pyzmq's flags are enums, whose `|` for each frame made a
# message of five cost 5.2 us to send instead of 1.8, and 5.4 to receive instead of 3.1.
_NOW = int(zmq.NOBLOCK)
_NOW_MORE = int(zmq.NOBLOCK | zmq.SNDMORE)

# A monitor's event, see zmq_socket_monitor(3). zmq.utils.monitor would load asyncio: 20 ms of each process's start.
_EVENT = struct.Struct("=Hi")

# A larger frame is received as a view: to copy a lease's megabyte out of ZeroMQ's memory cost 3 % of the CPU.
COPIED_BYTES = 64 << 10


class Waker:
    """Makes a poll in one thread return from another; many calls before the poll are one."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._rung = False

    def fileno(self) -> int:
        return self._reader.fileno()

    def ring(self) -> None:
        if self._rung:
            return
        self._rung = True
        try:
            self._writer.send(b"!")
        except (BlockingIOError, OSError):
            pass  # full: it is rung already; closed: nobody polls any more

    def hush(self) -> None:
        """Forget the rings so far; call it before looking at what they were about."""
        self._rung = False
        try:
            self._reader.recv(4096)
        except BlockingIOError:
            pass

    def close(self) -> None:
        self._reader.close()
        self._writer.close()


class Listener:
    """The master's ROUTER, and a watch over its connections. Belongs to the thread that uses it.

    With keys a tcp address takes only peers that hold them; an ipc address is kept by its file's mode instead.
    Raises UsageError when it cannot listen at `address`.
    """

    def __init__(self, address: str, keys: Keys | None = None) -> None:
        refuse_stolen(check_address(address))
        self._crowd = Crowd(defaults.CONNECTIONS if ipc_path(address) else make_room())
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._configure(keys)
        self._monitor = self._socket.get_monitor_socket(door.EVENTS | door.FAILURES)
        self._turned_away = TurnedAway(keys is not None)
        self._peers: dict[int, bytes] = {}  # the connection's descriptor, the peer's id
        self._known: dict[bytes, bool] = {}  # the peer's id, whether it is on this machine
        self._gone: list[tuple[bytes, bool]] = []  # those that dropped, not yet told of
        self._bind(address)
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._monitor, zmq.POLLIN)
        self.address: str = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self.local = is_local(self.address)

    def _configure(self, keys: Keys | None) -> None:
        options = {zmq.LINGER: 1000, zmq.MAXMSGSIZE: defaults.REPORT_BYTES + defaults.CURVE_BYTES,
                   zmq.BACKLOG: defaults.BACKLOG, zmq.HANDSHAKE_IVL: int(defaults.HANDSHAKE_SECONDS * 1000),
                   zmq.SNDHWM: 1000, zmq.RCVHWM: 1000}
        for option, value in options.items():
            self._socket.setsockopt(option, value)
        if keys is not None:
            Doorman(self._context, keys).guard(self._socket)

    def _bind(self, address: str) -> None:
        try:
            with closed_to_others(address):
                self._socket.bind(address.replace("tcp://*", "tcp://0.0.0.0"))
        except zmq.ZMQError as error:
            self.close()
            if error.errno == zmq.EADDRINUSE:
                raise UsageError(f"{address} is in use: another master, perhaps. Stop it, or give another --address.")
            raise UsageError(f"Cannot listen at {address}: {error.strerror or error}. Give another --address.")

    def register(self, waker: Waker) -> None:
        self._poller.register(waker.fileno(), zmq.POLLIN)

    def wait(self, seconds: float) -> None:
        """Until a message, a dropped connection or a ring, at most so long."""
        self._poller.poll(_milliseconds(seconds))

    def receive(self) -> tuple[Route, Frames] | None:
        """The next message, None when there is none now; of one with very many frames, the first."""
        try:
            frame = first = self._socket.recv(_NOW, copy=False)
        except zmq.Again:
            return None
        parts = [first.bytes]
        while frame.more:
            frame = self._socket.recv(_NOW, copy=False)
            if len(parts) < defaults.FRAMES_KEPT:
                parts.append(frame.bytes)
        if parts[0] not in self._known:
            self._note_dropped()  # first: its descriptor may be that of a peer whose end nobody has heard of yet
            self._learn(parts[0], first)
        cut = parts.index(b"") + 1 if b"" in parts else len(parts)
        return tuple(parts[:cut]), parts[cut:]

    def send(self, route: Route, frames: Frames) -> None:
        """To a peer that is gone it goes nowhere: its next request, if any, is answered again."""
        *parts, last = *route, *frames
        try:
            for part in parts:
                self._socket.send(part, _NOW_MORE)
            self._socket.send(last, _NOW)
        except zmq.Again:
            pass  # the peer reads nothing; as if lost on the way

    def dropped(self) -> list[tuple[bytes, bool]]:
        """Peers whose connection dropped since the last call, and whether they were on this machine.

        To be called often: events unread block the socket.
        """
        self._note_dropped()
        gone, self._gone = self._gone, []
        return gone

    def _note_dropped(self) -> None:
        now = time.monotonic()
        while (found := _next_event(self._monitor)) is not None:
            event, value = found
            if event & door.FAILURES:
                self._turned_away.saw(event, value, now)
            elif event == zmq.EVENT_ACCEPTED:
                self._crowd.came(value)
            else:
                self._crowd.left(value)
                peer = self._peers.pop(value, None)
                if peer is not None:
                    self._gone.append((peer, self._known.pop(peer, False)))
        self._turned_away.tell(now)

    def close(self) -> None:
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close()
        self._context.term()

    def _learn(self, peer: bytes, frame: zmq.Frame) -> None:
        try:
            self._peers[int(frame.get(zmq.SRCFD))] = peer
        except zmq.ZMQError:
            return  # a peer of ZeroMQ's first protocol, as random bytes can seem to be: its frames tell no descriptor
        self._known[peer] = self.local or is_loopback(str(frame.get("Peer-Address")))


def _next_event(monitor: zmq.Socket[bytes]) -> tuple[int, int] | None:
    """What happened next to the monitored socket: the event and its value."""
    try:
        told = monitor.recv_multipart(zmq.NOBLOCK)[0]
    except zmq.Again:
        return None
    event, value = _EVENT.unpack(told)
    return event, value


def _milliseconds(seconds: float) -> int:
    """For a poll: rounded up, or the last part of a millisecond would be spent in a busy loop."""
    return ceil(max(0.0, min(seconds, 60.0)) * 1000)


class Dialer:
    """The slave's REQ: relaxed, so that a request may follow another unanswered one; correlated, so that the
    answer to the other is not taken for its own. Belongs to the thread that uses it.

    With keys it speaks only to a master that holds them, at a tcp address.
    """

    def __init__(self, address: str, keys: Keys | None = None) -> None:
        self.address = dial_address(address)
        self._keys = keys
        self._context = zmq.Context()
        self._poller = zmq.Poller()
        self._knocks = Knocks()
        self._returned = False
        self._socket, self._monitor = self._open()

    def _open(self) -> tuple[zmq.Socket[bytes], zmq.Socket[bytes]]:
        dialer = self._context.socket(zmq.REQ)
        options = {zmq.REQ_RELAXED: 1, zmq.REQ_CORRELATE: 1, zmq.LINGER: 0, zmq.RECONNECT_IVL: 100,
                   zmq.RECONNECT_IVL_MAX: 1000, zmq.MAXMSGSIZE: defaults.BLOB_BYTES + defaults.CURVE_BYTES,
                   zmq.HANDSHAKE_IVL: int(defaults.HANDSHAKE_SECONDS * 1000)}
        for option, value in options.items():
            dialer.setsockopt(option, value)
        if self._keys is not None:
            dialer.setsockopt(zmq.CURVE_SERVERKEY, self._keys.master.public)
            dialer.setsockopt(zmq.CURVE_PUBLICKEY, self._keys.slave.public)
            dialer.setsockopt(zmq.CURVE_SECRETKEY, self._keys.slave.secret)
        monitor = dialer.get_monitor_socket(knock.EVENTS)
        dialer.connect(self.address)
        for one in (dialer, monitor):
            self._poller.register(one, zmq.POLLIN)
        return dialer, monitor

    def rebuild(self) -> None:
        """A new socket in place of one that a malformed reply may have made deaf."""
        self._shut(0)
        self._socket, self._monitor = self._open()

    def _shut(self, linger: int) -> None:
        for one in (self._socket, self._monitor):
            self._poller.unregister(one)
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close(linger)

    def register(self, waker: Waker) -> None:
        self._poller.register(waker.fileno(), zmq.POLLIN)

    def wait(self, seconds: float) -> None:
        """Until a reply, a turn in the connection or a ring, at most so long."""
        self._poller.poll(_milliseconds(seconds))

    def send(self, frames: Frames) -> None:
        """What cannot be sent now is lost, as on the way; it will be sent again."""
        try:
            self._socket.send_multipart(frames, zmq.NOBLOCK)
        except zmq.Again:
            pass

    def receive(self) -> Sequence[bytes | memoryview] | None:
        """The reply, None when there is none now: a stale one makes the socket readable and is then dropped.

        Raises KeyRefused when it has become clear that the master will never let this slave in.
        """
        self._mind_the_door()  # first: an answer counts only from whom it may come
        try:
            frames = self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
        except (zmq.Again, zmq.ZMQError) as error:
            if error.errno in (zmq.EAGAIN, zmq.EFSM):
                return None
            raise
        return [frame.bytes if len(frame) < COPIED_BYTES else frame.buffer for frame in frames]

    def returned(self) -> bool:
        """Whether the connection broke and was made again since the last call: what was under way is lost."""
        returned, self._returned = self._returned, False
        return returned

    def close(self) -> None:
        self._shut(1000 if self._knocks.let_in else 0)  # or what nobody takes would keep it waiting
        self._context.term()

    def knock(self) -> None:
        """Find out whether a master will let this slave in, where there is one already. Raises KeyRefused."""
        end = time.monotonic() + defaults.NOBODY_SECONDS
        while not self._knocks.let_in and time.monotonic() < end:
            self.wait(end - time.monotonic())
            self._mind_the_door()
            if self._knocks.failed:
                end = time.monotonic() + 2 * defaults.LOOK_SECONDS

    def _mind_the_door(self) -> None:
        while (found := _next_event(self._monitor)) is not None:
            event, value = found
            self._returned |= event == zmq.EVENT_HANDSHAKE_SUCCEEDED and self._knocks.let_in
            self._knocks.saw(event, value)
            if event == zmq.EVENT_CONNECTED and ipc_path(self.address):
                self._mind_the_owner(value)
        if self._knocks.in_doubt:
            self._look()
        if not self._knocks.let_in and is_closed(ipc_path(self.address)):
            raise KeyRefused(f"The file of {self.address} is another user's, and closed to you. Give an --address of "
                             "your own, or have the master listen at a tcp address, where a copy of its key lets you "
                             "in.")

    def _look(self) -> None:
        knocks, found = self._knocks, mechanism_at(self.address)
        refused = knocks.verdict(self.address, self._keys, found)
        if refused is not None:
            raise refused
        self._knocks = Knocks(knocks.failed if found else 0)
        if knocks.given_up:
            self.rebuild()

    def _mind_the_owner(self, descriptor: int) -> None:
        ours = listener_is_ours(descriptor, ipc_path(self.address))
        if ours is None:
            self.rebuild()  # with what it may have said
        elif not ours:
            raise KeyRefused(f"Another user's process listens at {self.address}, and could run code here. "
                             "Give an --address in a folder that only you can write to.")

"""The master's ROUTER. It knows frames, not messages."""

from __future__ import annotations

import time

import zmq

from taskmaster import defaults
from taskmaster.errors import UsageError
from taskmaster.transport import admission
from taskmaster.transport.addresses import check_address, ipc_path, is_local, is_loopback
from taskmaster.transport.admission import (ConnectionLimit, RejectedConnections, ZapAuthenticator, closed_to_others,
                                            make_room, refuse_stolen)
from taskmaster.transport.keys import Keys
from taskmaster.transport.monitor import next_event
from taskmaster.transport.waker import Waker, milliseconds

Frames = list[bytes]
Route = tuple[bytes, ...]

# Flags as plain ints, and the loop over the frames here: pyzmq's flags are enums, whose `|` for each frame made a
# message of five cost 5.2 us to send instead of 1.8, and 5.4 to receive instead of 3.1.
_NOW = int(zmq.NOBLOCK)
_NOW_MORE = int(zmq.NOBLOCK | zmq.SNDMORE)


class Listener:
    """The master's ROUTER, and a watch over its connections. Belongs to the thread that uses it.

    With keys a tcp address takes only peers that hold them; an ipc address is kept by its file's mode instead.
    Raises UsageError when it cannot listen at `address`.
    """

    def __init__(self, address: str, keys: Keys | None = None) -> None:
        refuse_stolen(check_address(address))
        self._crowd = ConnectionLimit(defaults.CONNECTIONS if ipc_path(address) else make_room())
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._configure(keys)
        self._monitor = self._socket.get_monitor_socket(admission.EVENTS | admission.FAILURES)
        self._turned_away = RejectedConnections(keys is not None)
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
            ZapAuthenticator(self._context, keys).guard(self._socket)

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
        self._poller.poll(milliseconds(seconds))

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
            if not self._learn(parts[0], first):
                return None
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
        while (found := next_event(self._monitor)) is not None:
            event, value = found
            if event & admission.FAILURES:
                self._turned_away.observe(event, value, now)
            elif event == zmq.EVENT_ACCEPTED:
                self._crowd.came(value)
            else:
                self._crowd.left(value)
                peer = self._peers.pop(value, None)
                if peer is not None:
                    self._gone.append((peer, self._known.pop(peer, False)))
        self._crowd.thin()
        self._turned_away.tell(now)

    def close(self) -> None:
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close()
        self._context.term()

    def _learn(self, peer: bytes, frame: zmq.Frame) -> bool:
        """Take note of a new peer by its first frame; whether it is one to be heard."""
        try:
            descriptor = int(frame.get(zmq.SRCFD))
        except zmq.ZMQError:
            return True  # one of ZeroMQ's first protocol, as random bytes can seem to be: its frames tell no descriptor
        if not self._crowd.spoke(descriptor):
            return False  # it was cut off meanwhile: a lease would go nowhere
        self._peers[descriptor] = peer
        self._known[peer] = self.local or is_loopback(str(frame.get("Peer-Address")))
        return True

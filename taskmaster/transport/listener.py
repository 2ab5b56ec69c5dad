"""The master's end: a ROUTER. It carries frames and does not know what they mean."""

from __future__ import annotations

import time

import zmq

from taskmaster import defaults
from taskmaster.errors import UsageError
from taskmaster.forks import close_in_children, keep_in_children
from taskmaster.limits import check_files, check_threads
from taskmaster.transport import admission
from taskmaster.transport.addresses import address_in_use, check_address, ipc_path, is_local, is_loopback
from taskmaster.transport.admission import (ConnectionLimit, RejectedConnections, ZapAuthenticator, closed_to_others,
                                            make_room, refuse_taken)
from taskmaster.transport.base import Frames, Route
from taskmaster.transport.keys import Keys
from taskmaster.transport.monitor import next_event
from taskmaster.transport.tcp import socket_options
from taskmaster.transport.waker import Waker, milliseconds

# Plain ints, and our own loop over the frames: pyzmq's flags are enums, and `|` on them for each frame made a message
# of five frames cost 5.2 us to send instead of 1.8, and 5.4 to receive instead of 3.1.
_NOW = int(zmq.NOBLOCK)
_NOW_MORE = int(zmq.NOBLOCK | zmq.SNDMORE)


class Listener:
    """A ROUTER and a monitor of its connections: a MasterSocket.

    With keys, a tcp address admits only peers that have them; an ipc address is protected by its file's mode.
    Raises UsageError if it cannot listen at `address`.
    """

    def __init__(self, address: str, keys: Keys | None = None) -> None:
        refuse_taken(check_address(address))
        check_files(defaults.LISTENER_FILES)
        check_threads(defaults.SOCKET_THREADS)
        self._limit = ConnectionLimit(defaults.CONNECTIONS if ipc_path(address) else make_room())
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._configure(address, keys)
        self._monitor = self._socket.get_monitor_socket(admission.EVENTS | admission.FAILURES)
        self._rejected = RejectedConnections(keys is not None)
        self._peers: dict[int, bytes] = {}  # peer ids by the descriptor of their connection
        self._known: dict[bytes, bool] = {}  # by peer id: whether it is on this machine
        self._dropped: list[tuple[bytes, bool]] = []  # not yet reported
        self._bind(address)
        self._note_dropped()
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._monitor, zmq.POLLIN)
        self.address: str = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self.local = is_local(self.address)

    def _configure(self, address: str, keys: Keys | None) -> None:
        options = {zmq.LINGER: 1000, zmq.MAXMSGSIZE: defaults.REPORT_BYTES + defaults.CURVE_BYTES,
                   zmq.BACKLOG: defaults.BACKLOG, zmq.HANDSHAKE_IVL: int(defaults.HANDSHAKE_SECONDS * 1000),
                   zmq.SNDHWM: 1000, zmq.RCVHWM: 1000, **socket_options(address)}
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
                raise address_in_use(address)
            raise UsageError(f"Cannot listen at {address}: {error.strerror or error}. Give another --address.")

    def register(self, waker: Waker) -> None:
        self._poller.register(waker.fileno(), zmq.POLLIN)

    def wait(self, seconds: float) -> None:
        self._poller.poll(milliseconds(seconds))

    def receive(self) -> tuple[Route, Frames] | None:
        """The next message, None when there is none now. Frames beyond FRAMES_KEPT are dropped."""
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
            self._note_dropped()  # first: its descriptor may be that of a peer whose end has not been noticed yet
            if not self._learn(parts[0], first):
                return None
        cut = parts.index(b"") + 1 if b"" in parts else len(parts)
        return tuple(parts[:cut]), parts[cut:]

    def send(self, route: Route, frames: Frames) -> None:
        """Messages to a disconnected peer are dropped: its next request, if any, is answered again."""
        *parts, last = *route, *frames
        try:
            for part in parts:
                self._socket.send(part, _NOW_MORE)
            self._socket.send(last, _NOW)
        except zmq.Again:
            pass  # the peer does not read: as if lost on the way

    def dropped(self) -> list[tuple[bytes, bool]]:
        """Peers that disconnected since the last call, and whether each was on this machine.

        Call it often: unread events block the socket.
        """
        self._note_dropped()
        dropped, self._dropped = self._dropped, []
        return dropped

    def _note_dropped(self) -> None:
        now = time.monotonic()
        while (found := next_event(self._monitor)) is not None:
            event, value = found
            if event & admission.FAILURES:
                self._rejected.observe(event, value, now)
            elif event == zmq.EVENT_LISTENING:
                close_in_children(value)  # else a child of the source keeps the port when this master ends
            elif event == zmq.EVENT_ACCEPTED:
                close_in_children(value)
                self._limit.came(value)
            else:
                keep_in_children(value)
                self._limit.left(value)
                peer = self._peers.pop(value, None)
                if peer is not None:
                    self._dropped.append((peer, self._known.pop(peer, False)))
        self._limit.enforce()
        self._rejected.report(now)

    def close(self) -> None:
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close()
        self._context.term()

    def _learn(self, peer: bytes, frame: zmq.Frame) -> bool:
        """Note a new peer by its first frame; returns whether to read its message."""
        try:
            descriptor = int(frame.get(zmq.SRCFD))
        except zmq.ZMQError:
            return True  # ZeroMQ's first protocol, which random bytes can look like: its frames carry no descriptor
        if not self._limit.spoke(descriptor):
            return False  # it was disconnected in the meantime: a lease would be lost
        self._peers[descriptor] = peer
        self._known[peer] = self.local or is_loopback(str(frame.get("Peer-Address")))
        return True

"""The master's end: a ROUTER. It carries frames and does not know what they mean."""

from __future__ import annotations

import time

import zmq

from taskmaster import defaults
from taskmaster.core.transfer import Transfer
from taskmaster.errors import UsageError
from taskmaster.forks import close_in_children, keep_in_children
from taskmaster.limits import check_files, check_threads
from taskmaster.transport import admission
from taskmaster.transport.addresses import address_in_use, check_address, ipc_path, is_local, is_loopback
from taskmaster.transport.admission import ConnectionLimit, RejectedConnections, ZapAuthenticator, make_room
from taskmaster.transport.base import Frames, Route
from taskmaster.transport.keys import Keys
from taskmaster.transport.monitor import next_event
from taskmaster.transport.peers import Peers
from taskmaster.transport.socket_file import SocketFile
from taskmaster.transport.tcp import socket_options, transfer_over
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
        check_files(defaults.LISTENER_FILES)
        check_threads(defaults.SOCKET_THREADS)
        self._file = SocketFile(address) if ipc_path(check_address(address)) else None
        self._look_at = 0.0  # whether the file is still there
        self._limit = ConnectionLimit(defaults.CONNECTIONS if ipc_path(address) else make_room())
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._configure(address, keys)
        self._monitor = self._socket.get_monitor_socket(admission.EVENTS | admission.FAILURES)
        self._rejected = RejectedConnections(keys is not None)
        self._peers = Peers()
        self._bind(address)
        self._note_dropped(time.monotonic())
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
            if self._file is not None:
                self._socket.setsockopt(zmq.USE_FD, self._file.listen())
            self._socket.bind(address.replace("tcp://*", "tcp://0.0.0.0"))
        except UsageError:
            self.close()
            raise
        except zmq.ZMQError as error:
            self.close()
            if error.errno == zmq.EADDRINUSE:
                raise address_in_use(address)
            raise UsageError(f"Cannot listen at {address}: {error.strerror or error}. Give another --address.")

    def register(self, waker: Waker) -> None:
        self._poller.register(waker.fileno(), zmq.POLLIN)

    def wait(self, seconds: float) -> None:
        self._poller.poll(0 if self._peers.any_dropped else milliseconds(seconds))

    def receive(self) -> tuple[Route, Frames] | None:
        """The next message, None when there is none now. Frames beyond FRAMES_KEPT are dropped."""
        try:
            frame = first = self._socket.recv(_NOW, copy=False)
        except zmq.Again:
            self._peers.all_read()
            return None
        parts = [first.bytes]
        while frame.more:
            frame = self._socket.recv(_NOW, copy=False)
            if len(parts) < defaults.FRAMES_KEPT:
                parts.append(frame.bytes)
        if parts[0] not in self._peers.known:
            # First: its descriptor may be that of a peer whose end has not been noticed yet.
            self._note_dropped(time.monotonic())
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
        """Call it often: unread events block the socket."""
        now = time.monotonic()
        self._note_dropped(now)
        if self._file is not None and now >= self._look_at:
            self._look_at = now + defaults.SOCKET_FILE_SECONDS
            self._bind_again(self._file)
        return self._peers.dropped()

    def _bind_again(self, file: SocketFile) -> None:
        """If the socket's file was removed. The old socket stays, with those who are connected."""
        descriptor = file.listen_again()
        if descriptor is not None:
            self._socket.setsockopt(zmq.USE_FD, descriptor)
            self._socket.bind(self.address)

    def _note_dropped(self, now: float) -> None:
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
                self._peers.closed(value)
        self._limit.enforce()
        self._rejected.report(now)

    def transfer(self, peer: bytes) -> Transfer | None:
        descriptor = self._peers.descriptor_of(peer)
        return transfer_over(descriptor) if descriptor is not None else None

    def close(self) -> None:
        if self._file is not None:
            self._file.remove()
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close()
        self._context.term()

    def _learn(self, peer: bytes, frame: zmq.Frame) -> bool:
        """Note by its frame a peer that is not known; returns whether to read its message."""
        try:
            descriptor = int(frame.get(zmq.SRCFD))
        except zmq.ZMQError:
            return True  # ZeroMQ's first protocol, which random bytes can look like: its frames carry no descriptor
        if not self._limit.spoke(descriptor):
            return False  # it was disconnected in the meantime: a lease would be lost
        self._peers.spoke(peer, descriptor, self.local or is_loopback(str(frame.get("Peer-Address"))))
        return True

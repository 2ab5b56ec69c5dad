"""The slave's end: a REQ, and what to conclude if it cannot connect. It does not know what frames mean."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

import zmq

from taskmaster import defaults
from taskmaster.core.transfer import Transfer
from taskmaster.errors import KeyRefused
from taskmaster.forks import close_in_children
from taskmaster.limits import check_files, check_threads
from taskmaster.transport import handshake
from taskmaster.transport.addresses import dial_address, ipc_path, tcp_parts
from taskmaster.transport.base import Frames
from taskmaster.transport.handshake import HandshakeHistory, is_closed, listener_is_ours, mechanism_at
from taskmaster.transport.keys import Keys
from taskmaster.transport.monitor import next_event
from taskmaster.transport.tcp import socket_options, transfer_over
from taskmaster.transport.waker import Waker, milliseconds

log = logging.getLogger(__name__)

# Larger frames are received as views: copying a lease's megabyte out of ZeroMQ's memory cost 3 % of the CPU.
COPIED_BYTES = 64 << 10


class Dialer:
    """A REQ: a SlaveSocket.

    Relaxed, so that a request may replace an unanswered one; correlated, so that the answer to the earlier one is
    dropped. With keys, at a tcp address, it talks only to a master that has them.
    """

    def __init__(self, address: str, keys: Keys | None = None) -> None:
        self.address = dial_address(address)
        self._keys = keys
        check_files(defaults.DIALER_FILES)
        check_threads(defaults.SOCKET_THREADS)
        self._context = zmq.Context()
        self._poller = zmq.Poller()
        self._handshakes = HandshakeHistory()
        self._returned = False
        self._descriptor: int | None = None  # of the connection, over tcp
        self._warned = False  # that the master seems to have no room
        self._socket, self._monitor = self._open()

    def _open(self) -> tuple[zmq.Socket[bytes], zmq.Socket[bytes]]:
        dialer = self._context.socket(zmq.REQ)
        options = {zmq.REQ_RELAXED: 1, zmq.REQ_CORRELATE: 1, zmq.LINGER: 0, zmq.RECONNECT_IVL: 100,
                   zmq.RECONNECT_IVL_MAX: 1000, zmq.MAXMSGSIZE: defaults.BLOB_BYTES + defaults.CURVE_BYTES,
                   zmq.HANDSHAKE_IVL: int(defaults.HANDSHAKE_SECONDS * 1000), **socket_options(self.address)}
        for option, value in options.items():
            dialer.setsockopt(option, value)
        if self._keys is not None:
            dialer.setsockopt(zmq.CURVE_SERVERKEY, self._keys.master.public)
            dialer.setsockopt(zmq.CURVE_PUBLICKEY, self._keys.slave.public)
            dialer.setsockopt(zmq.CURVE_SECRETKEY, self._keys.slave.secret)
        monitor = dialer.get_monitor_socket(handshake.EVENTS)
        dialer.connect(self.address)
        for one in (dialer, monitor):
            self._poller.register(one, zmq.POLLIN)
        return dialer, monitor

    def rebuild(self) -> None:
        """A malformed reply can leave a REQ deaf for good: replace it."""
        self._shut(0)
        self._socket, self._monitor = self._open()

    def _shut(self, linger: int) -> None:
        self._descriptor = None
        for one in (self._socket, self._monitor):
            self._poller.unregister(one)
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close(linger)

    def register(self, waker: Waker) -> None:
        self._poller.register(waker.fileno(), zmq.POLLIN)

    def wait(self, seconds: float) -> None:
        self._poller.poll(milliseconds(seconds))

    def send(self, frames: Frames) -> None:
        """A request that cannot be sent now is lost, as if in transit: the caller sends it again after a timeout."""
        try:
            self._socket.send_multipart(frames, zmq.NOBLOCK)
        except zmq.Again:
            pass

    def receive(self) -> Sequence[bytes | memoryview] | None:
        """The reply; None if there is none now, even if a stale one made the socket readable.

        Raises KeyRefused once it is certain that the master will never admit this slave.
        """
        self._read_events()  # first: a reply counts only from a master that this slave may trust
        try:
            frames = self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
        except (zmq.Again, zmq.ZMQError) as error:
            if error.errno in (zmq.EAGAIN, zmq.EFSM):
                return None
            raise
        return [frame.bytes if len(frame) < COPIED_BYTES else frame.buffer for frame in frames]

    def returned(self) -> bool:
        """Whether it has reconnected since the last call."""
        returned, self._returned = self._returned, False
        return returned

    def transfer(self) -> Transfer | None:
        return transfer_over(self._descriptor) if self._descriptor is not None else None

    def close(self) -> None:
        self._shut(1000 if self._handshakes.admitted else 0)  # else there is nobody to wait for
        self._context.term()

    def preflight(self) -> None:
        """If a master is there, wait until it has admitted this slave. Raises KeyRefused if it never will."""
        end = time.monotonic() + defaults.NOBODY_SECONDS
        while not self._handshakes.admitted and time.monotonic() < end:
            self.wait(end - time.monotonic())
            self._read_events()
            if self._handshakes.failed:
                end = time.monotonic() + 2 * defaults.LOOK_SECONDS

    def _read_events(self) -> None:
        while (found := next_event(self._monitor)) is not None:
            event, value = found
            self._returned |= event == zmq.EVENT_HANDSHAKE_SUCCEEDED and self._handshakes.admitted
            self._handshakes.observe(event, value)
            if event == zmq.EVENT_DISCONNECTED:
                self._descriptor = None
            if event == zmq.EVENT_CONNECTED:
                self._descriptor = value if tcp_parts(self.address) else None
                close_in_children(value)  # else a child of a handler makes this slave look alive after it is killed
            if event == zmq.EVENT_CONNECTED and ipc_path(self.address):
                self._check_owner(value)
        if self._handshakes.in_doubt:
            self._probe()
        if not self._handshakes.admitted and is_closed(ipc_path(self.address)):
            raise KeyRefused(f"The socket file of {self.address} belongs to another user, and you may not connect to "
                             "it. Give an --address of your own, or start the master at a tcp address and copy its "
                             "key.")

    def _probe(self) -> None:
        handshakes, found = self._handshakes, mechanism_at(self.address)
        refused = handshakes.verdict(self.address, self._keys, found)
        if refused is not None:
            raise refused
        if found is None and not self._warned:
            self._warned = True
            log.warning("%s accepts connections and closes them: perhaps a master that has no room for more slaves, or "
                        "a tunnel without a master. Retrying as long as --timeout and --retries allow", self.address)
        self._handshakes = handshakes.roll(found)
        if handshakes.abandoned:
            self.rebuild()

    def _check_owner(self, descriptor: int) -> None:
        ours = listener_is_ours(descriptor, ipc_path(self.address))
        if ours is None:
            self.rebuild()  # drops whatever it may have sent
        elif not ours:
            raise KeyRefused(f"Another user's process listens at {self.address} and could run its code here. "
                             "Give an --address in a folder that only you can write to.")

"""The slave's REQ, and what it makes of a door that stays closed. It knows frames, not messages."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

import zmq

from taskmaster import defaults
from taskmaster.errors import KeyRefused
from taskmaster.transport import handshake
from taskmaster.transport.addresses import dial_address, ipc_path
from taskmaster.transport.handshake import HandshakeHistory, is_closed, listener_is_ours, mechanism_at
from taskmaster.transport.keys import Keys
from taskmaster.transport.listener import Frames
from taskmaster.transport.monitor import next_event
from taskmaster.transport.waker import Waker, milliseconds

log = logging.getLogger(__name__)

# A larger frame is received as a view: to copy a lease's megabyte out of ZeroMQ's memory cost 3 % of the CPU.
COPIED_BYTES = 64 << 10


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
        self._knocks = HandshakeHistory()
        self._returned = False
        self._warned = False  # that there seems to be no room
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
        monitor = dialer.get_monitor_socket(handshake.EVENTS)
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
        self._poller.poll(milliseconds(seconds))

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

    def preflight(self) -> None:
        """Find out whether a master will let this slave in, where there is one already. Raises KeyRefused."""
        end = time.monotonic() + defaults.NOBODY_SECONDS
        while not self._knocks.let_in and time.monotonic() < end:
            self.wait(end - time.monotonic())
            self._mind_the_door()
            if self._knocks.failed:
                end = time.monotonic() + 2 * defaults.LOOK_SECONDS

    def _mind_the_door(self) -> None:
        while (found := next_event(self._monitor)) is not None:
            event, value = found
            self._returned |= event == zmq.EVENT_HANDSHAKE_SUCCEEDED and self._knocks.let_in
            self._knocks.observe(event, value)
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
        if found is None and not self._warned:
            self._warned = True
            log.warning("%s takes connections and ends them: a master that has no room for more slaves, or a tunnel "
                        "with none behind it; trying again until --timeout and --retries are over", self.address)
        self._knocks = knocks.roll(found)
        if knocks.given_up:
            self.rebuild()

    def _mind_the_owner(self, descriptor: int) -> None:
        ours = listener_is_ours(descriptor, ipc_path(self.address))
        if ours is None:
            self.rebuild()  # with what it may have said
        elif not ours:
            raise KeyRefused(f"Another user's process listens at {self.address}, and could run code here. "
                             "Give an --address in a folder that only you can write to.")

"""Decides who may connect to a master: which keys are accepted, which connections are rejected, and how many fit.

libzmq does the handshakes in its own thread and asks us which keys to accept (ZAP, ZeroMQ RFC 27). Without a ZAP
handler it would admit every client that knows the master's public key, whatever the client's own key.
"""

from __future__ import annotations

import logging
import socket
import sys
from collections import Counter
from collections.abc import Sequence
from hmac import compare_digest
from typing import Any

import zmq
from zmq.utils import z85

from taskmaster import defaults
from taskmaster.native import Thread
from taskmaster.targets.search_path import python_module
from taskmaster.transport.keys import Keys

log = logging.getLogger(__name__)

_ZAP_ADDRESS = "inproc://zeromq.zap.01"
_ZAP_VERSION = b"1.0"
_DOMAIN = b"taskmaster"
_GOOD, _BAD = b"200", b"400"
_OTHER_KEY = 0x11000001  # libzmq's ZMQ_PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC
_OTHER_MECHANISM = 0x11000002  # libzmq's ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH

EVENTS = zmq.EVENT_LISTENING | zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED
FAILURES = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH
"""The monitor's events for `Listener`, its limit of connections and its log of rejected ones. Peers that hang up midway
are not counted."""


class ZapAuthenticator:
    """Tells libzmq which keys to accept, in a thread that ends with the context. Make it before binding a ROUTER."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], keys: Keys) -> None:
        self._keys = keys
        self._socket = context.socket(zmq.REP)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(_ZAP_ADDRESS)
        # In its own thread, so that handshakes and the master's loop do not wait for each other.
        Thread(target=self._serve, name="zap").start()

    def guard(self, router: zmq.Socket[bytes]) -> None:
        """Admit only peers with the key to this socket."""
        router.setsockopt(zmq.CURVE_SERVER, 1)
        router.setsockopt(zmq.CURVE_SECRETKEY, self._keys.master.secret)
        router.setsockopt(zmq.ZAP_DOMAIN, _DOMAIN)
        router.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)  # without a ZAP handler, admit nobody rather than everybody

    def _serve(self) -> None:
        with self._socket as zap:
            while True:
                try:
                    zap.send_multipart(zap_answer(zap.recv_multipart(), self._keys.slave.public))
                except zmq.ContextTerminated:
                    return


def zap_answer(request: Sequence[bytes], admitted: bytes) -> list[bytes]:
    """Accepts CURVE with the public key `admitted` (Z85), and nothing else."""
    good = (len(request) == 7 and request[0] == _ZAP_VERSION and request[2] == _DOMAIN and request[5] == b"CURVE"
            and compare_digest(request[6], z85.decode(admitted)))
    number = request[1] if len(request) > 1 else b""
    return [_ZAP_VERSION, number, _GOOD if good else _BAD, b"" if good else b"unknown key", b"", b""]


class RejectedConnections:
    """Connections that failed the handshake: logged in one line a minute, so that a port scan cannot fill the disk."""

    def __init__(self, keyed: bool) -> None:
        self._keyed = keyed
        self._counts: Counter[str] = Counter()
        self._report_at = 0.0

    def observe(self, event: int, value: int, now: float) -> None:
        """A handshake failed."""
        if not self._counts:
            self._report_at = max(self._report_at, now + defaults.TURNED_AWAY_FIRST_SECONDS)
        self._counts[self._reason(event, value)] += 1

    def report(self, now: float) -> None:
        """Log what has accumulated, if it is time."""
        if self._counts and now >= self._report_at:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in self._counts.most_common())
            log.warning("Rejected connections: %s. Nothing they sent was read, and the run is not affected (logged at "
                        "most once a minute)", reasons)
            self._counts.clear()
            self._report_at = now + defaults.TURNED_AWAY_SECONDS

    def _reason(self, event: int, value: int) -> str:
        if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH or value == _OTHER_KEY:
            return "with a different key"
        if value == _OTHER_MECHANISM:
            return "without a key" if self._keyed else "with a key, though this master runs with --insecure"
        return "not speaking ZeroMQ"


class ConnectionLimit:
    """Keeps the number of open connections within `most`: without a free descriptor no checkpoint can be written.

    libzmq has no such limit. Above it, the connection that has been silent for longest is shut down: a slave speaks
    within milliseconds, so strangers that only connect cannot keep it out. A peer that has spoken stays connected.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._silent: dict[int, None] = {}  # an ordered set: the oldest first
        self._speaking: set[int] = set()
        self._cut: set[int] = set()  # shut down, but their end has not been seen yet
        self._full = False

    def came(self, descriptor: int) -> None:
        """A connection was accepted."""
        self.left(descriptor)  # the number may be that of an earlier connection
        self._silent[descriptor] = None

    def spoke(self, descriptor: int) -> bool:
        """It sent a message; False if it was shut down before the message was read."""
        if descriptor in self._cut:
            return False
        if descriptor in self._silent:  # else it has ended, and this message was still to be read
            del self._silent[descriptor]
            self._speaking.add(descriptor)
        return True

    def left(self, descriptor: int) -> None:
        """A connection ended."""
        self._silent.pop(descriptor, None)
        self._speaking.discard(descriptor)
        self._cut.discard(descriptor)

    def enforce(self) -> None:
        """Shut down the connections above the limit. Call it once all events are read: some may have ended."""
        while self._silent and len(self._silent) + len(self._speaking) > self._most:
            self._warn()
            descriptor = next(iter(self._silent))
            del self._silent[descriptor]
            self._cut.add(descriptor)
            _shut_down(descriptor)

    def _warn(self) -> None:
        if not self._full:
            self._full = True
            log.warning("More than %d connections were opened, which is the limit; those that have sent nothing are "
                        "closed for as long as it is exceeded", self._most)


def _shut_down(descriptor: int) -> None:
    """Shut down a connection that belongs to libzmq, which will notice and close it."""
    try:
        connection = socket.socket(fileno=descriptor)
        try:
            connection.shutdown(socket.SHUT_RDWR)
        finally:
            connection.detach()
    except OSError as error:
        log.debug("A connection has already ended: %s", error)


def make_room() -> int:
    """Raise this process's limit of open files as far as allowed; returns how many connections fit in it.

    Logs a warning if few do.
    """
    files = _files()
    room = max(1, files - defaults.DESCRIPTORS_OWN)
    if files < defaults.CONNECTIONS_FEW:
        log.warning("This process may open only %d files, so at most about %d slaves can connect. Raise the hard limit "
                    "that `ulimit -Hn` shows", files, room)
    return room


def _files() -> int:
    if sys.platform == "win32":
        return defaults.CONNECTIONS  # sockets are not files there, and have no such limit
    resource: Any = python_module("resource")  # not at the top: Windows has none
    soft, hard = map(int, resource.getrlimit(resource.RLIMIT_NOFILE))
    files = defaults.CONNECTIONS if hard == resource.RLIM_INFINITY else min(hard, defaults.CONNECTIONS)
    if soft == resource.RLIM_INFINITY or soft >= files:
        return files
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    except (OSError, ValueError) as error:  # macOS allows less than it reports
        log.debug("The limit of open files remains %d: %s", soft, error)
        return soft
    return files

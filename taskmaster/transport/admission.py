"""The master's door: who gets in by which key, who was turned away, and how many there is room for.

libzmq does the handshakes in its own thread. What it leaves to us is to say which keys are good (ZAP, its RFC 27):
without anybody to ask it would admit every key that knows the master's public one.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hmac import compare_digest

import zmq
from zmq.utils import z85

from taskmaster import defaults
from taskmaster.errors import UsageError
from taskmaster.transport.addresses import ipc_path
from taskmaster.transport.keys import Keys

log = logging.getLogger(__name__)

_ZAP_ADDRESS = "inproc://zeromq.zap.01"
_ZAP_VERSION = b"1.0"
_DOMAIN = b"taskmaster"
_GOOD, _BAD = b"200", b"400"
_OTHER_KEY = 0x11000001  # libzmq's ZMQ_PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC,
_OTHER_MECHANISM = 0x11000002  # and _MECHANISM_MISMATCH

EVENTS = zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED
FAILURES = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH
"""The monitor's events for `ConnectionLimit` and `RejectedConnections`; one that hangs up midway is not counted."""


class ZapAuthenticator:
    """Answers libzmq's question about each key, in a thread that ends with the context. Bind no ROUTER before it."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], keys: Keys) -> None:
        self._keys = keys
        self._socket = context.socket(zmq.REP)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(_ZAP_ADDRESS)
        # A thread of its own: a handshake must not wait for the master's loop, nor the loop for handshakes.
        threading.Thread(target=self._serve, name="doorman", daemon=True).start()

    def guard(self, router: zmq.Socket[bytes]) -> None:
        """Make the handshake of this socket's peers depend on the key."""
        router.setsockopt(zmq.CURVE_SERVER, 1)
        router.setsockopt(zmq.CURVE_SECRETKEY, self._keys.master.secret)
        router.setsockopt(zmq.ZAP_DOMAIN, _DOMAIN)
        router.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)  # with nobody at the ZAP address nobody gets in, not everybody

    def _serve(self) -> None:
        with self._socket as asked:
            while True:
                try:
                    asked.send_multipart(zap_answer(asked.recv_multipart(), self._keys.slave.public))
                except zmq.ContextTerminated:
                    return


def zap_answer(request: Sequence[bytes], admitted: bytes) -> list[bytes]:
    """Yes to CURVE with the public key `admitted` (Z85), no to all else."""
    good = (len(request) == 7 and request[0] == _ZAP_VERSION and request[2] == _DOMAIN and request[5] == b"CURVE"
            and compare_digest(request[6], z85.decode(admitted)))
    number = request[1] if len(request) > 1 else b""
    return [_ZAP_VERSION, number, _GOOD if good else _BAD, b"" if good else b"another key", b"", b""]


class RejectedConnections:
    """Connections that did not get in: told of in one line, and then once a minute, or a scanner fills the disk."""

    def __init__(self, keyed: bool) -> None:
        self._keyed = keyed
        self._counts: Counter[str] = Counter()
        self._tell_at = 0.0

    def observe(self, event: int, value: int, now: float) -> None:
        """A handshake failed."""
        if not self._counts:
            self._tell_at = max(self._tell_at, now + defaults.TURNED_AWAY_FIRST_SECONDS)
        self._counts[self._reason(event, value)] += 1

    def tell(self, now: float) -> None:
        """Log what came together, when it is time."""
        if self._counts and now >= self._tell_at:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in self._counts.most_common())
            log.warning("Connections turned away: %s. Nothing they said was heard, and this master goes on; such lines "
                        "come at most once a minute", reasons)
            self._counts.clear()
            self._tell_at = now + defaults.TURNED_AWAY_SECONDS

    def _reason(self, event: int, value: int) -> str:
        if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH or value == _OTHER_KEY:
            return "with another key"
        if value == _OTHER_MECHANISM:
            return "without a key" if self._keyed else "with a key, where --insecure asks for none"
        return "that spoke no ZeroMQ"


class ConnectionLimit:
    """The open connections, at most `most` of them: without a descriptor left no checkpoint can be written.

    libzmq has no such limit. Over it the one that has kept silent for longest is shut down: a slave speaks within
    milliseconds, so strangers who only connect cannot keep it out, and a peer that spoke stays in.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._silent: dict[int, None] = {}  # a set that keeps the order in which they came
        self._speaking: set[int] = set()
        self._cut: set[int] = set()  # and not yet ended
        self._full = False

    def came(self, descriptor: int) -> None:
        """A connection was accepted."""
        self.left(descriptor)  # of an earlier connection by this number
        self._silent[descriptor] = None

    def spoke(self, descriptor: int) -> bool:
        """A message came by it; False when it was cut off before that was read."""
        if descriptor in self._cut:
            return False
        self._silent.pop(descriptor, None)
        self._speaking.add(descriptor)
        return True

    def left(self, descriptor: int) -> None:
        """A connection has ended."""
        self._silent.pop(descriptor, None)
        self._speaking.discard(descriptor)
        self._cut.discard(descriptor)

    def thin(self) -> None:
        """Shut down what is too much, of all that `came` and did not leave: call it with no news left to read."""
        while self._silent and len(self._silent) + len(self._speaking) > self._most:
            self._tell()
            descriptor = next(iter(self._silent))
            del self._silent[descriptor]
            self._cut.add(descriptor)
            _shut_down(descriptor)

    def _tell(self) -> None:
        if not self._full:
            self._full = True
            log.warning("There is room for %d connections, and more came; as long as that is so, those that have said "
                        "nothing are cut off", self._most)


def _shut_down(descriptor: int) -> None:
    """End a connection that belongs to libzmq, which sees its end and closes it."""
    try:
        connection = socket.socket(fileno=descriptor)
        try:
            connection.shutdown(socket.SHUT_RDWR)
        finally:
            connection.detach()
    except OSError as error:
        log.debug("A connection has ended by itself: %s", error)


def make_room() -> int:
    """Let this process open as many files as it may; for how many connections there is room then.

    Says so where that is few.
    """
    files = _files()
    room = max(1, files - defaults.DESCRIPTORS_OWN)
    if files < defaults.CONNECTIONS_FEW:
        log.warning("This process may open only %d files, so at most about %d slaves can connect; `ulimit -Hn` says "
                    "so, and who set it can raise it", files, room)
    return room


def _files() -> int:
    if sys.platform == "win32":
        return defaults.CONNECTIONS  # sockets are no files there, and have no such limit
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = defaults.CONNECTIONS if hard == resource.RLIM_INFINITY else min(hard, defaults.CONNECTIONS)
    if soft == resource.RLIM_INFINITY or soft >= files:
        return files
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    except (OSError, ValueError) as error:  # macOS allows less than it says
        log.debug("The limit of open files stays at %d: %s", soft, error)
        return soft
    return files


@contextmanager
def closed_to_others(address: str) -> Iterator[None]:
    """What is bound meanwhile gets a file that only this user can connect to, whatever the umask."""
    if not ipc_path(address):
        yield
        return
    before = os.umask(0o177)
    try:
        yield
    finally:
        os.umask(before)


def refuse_stolen(address: str) -> None:
    """Raise UsageError where a process listens: libzmq binds to its ipc path without a word, and steals its peers."""
    path = ipc_path(address)
    if sys.platform == "win32" or not path or not os.path.exists(path):
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except OSError:
            return
    raise UsageError(f"{address} is in use: another master, perhaps. Stop it, or give another --address.")

"""A slave at the master's door: whether it is merely not answered, or will never be let in, and why.

libzmq tries again for ever and says little: "the other side hung up" may be another key, a tunnel with nothing
behind it, or a master that has no room. So after some failures in a row the greeting of whoever listens there is read:
it names the mechanism. A master with room then keeps the connection for a while, the others cut it at once.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import time
from dataclasses import dataclass

import zmq

from taskmaster import defaults
from taskmaster.errors import KeyRefused
from taskmaster.transport.addresses import is_loopback, tcp_parts
from taskmaster.transport.keys import Keys

KEYED, PLAIN = "CURVE", "NULL"  # the mechanisms' names in ZeroMQ's handshake

EVENTS = (zmq.EVENT_CONNECTED | zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
          | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH)
"""The monitor's events that `HandshakeHistory.observe` wants."""

_ZAP_REFUSED = 400
# ZeroMQ 3.0's signature and version: enough for the other side to send its own greeting, whole.
_GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00"
_GREETING_BYTES = 64
_MECHANISM = slice(12, 32)
_UCRED = struct.Struct("iII")  # of Linux: process, user and group that called listen
_NOBODY_KNOWN = 0xFFFFFFFF  # what it says of a socket that is none of its kind


@dataclass
class HandshakeHistory:
    """How handshakes went since the last that succeeded."""

    failed: int = 0
    let_in: bool = False  # once at least
    refused: bool = False  # the master's own word that it does not take this key
    given_up: bool = False  # libzmq will not try again on this socket
    found: str | None = None  # the mechanism that a look has found since

    def observe(self, event: int, value: int) -> None:
        """A monitor's event."""
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self.failed, self.let_in, self.refused, self.given_up, self.found = 0, True, False, False, None
        elif event != zmq.EVENT_CONNECTED:
            self.failed += 1
            self.refused |= event == zmq.EVENT_HANDSHAKE_FAILED_AUTH and value == _ZAP_REFUSED
            self.given_up |= event != zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL

    @property
    def in_doubt(self) -> bool:
        """Whether to look who is there."""
        return self.given_up or self.failed >= defaults.HANDSHAKES

    def roll(self, found: str | None) -> HandshakeHistory:
        """What to go on with after a look: one more failure is enough for the next. With nobody there the failures told
        nothing."""
        return HandshakeHistory(defaults.HANDSHAKES - 1 if found else 0, self.let_in, found=found)

    def verdict(self, address: str, keys: Keys | None, found: str | None) -> KeyRefused | None:
        """Why the master at `address`, whose mechanism was `found`, will never let in who has these keys; None while
        it may yet: where no ZeroMQ answers, the master is absent.

        That it has another key takes two looks and a failure between: the first may have come as a full master had
        room again.
        """
        if found == PLAIN and keys is not None:
            return KeyRefused(f"The master at {address} runs with --insecure, and this slave with a key, so it would "
                              "trust nobody there. Start the master without --insecure, or both with it.")
        if found == KEYED and keys is None:
            return KeyRefused(f"The master at {address} asks for a key, and this slave runs with --insecure. "
                              "Leave that out.")
        if keys is not None and (self.refused or (found == self.found == KEYED and self.in_doubt)):
            return KeyRefused(f"The master at {address} has another key than this slave, whose key {keys.name} is in "
                              f"{keys.origin}. {how_to_copy(address, keys.origin)}")
        return None


def how_to_copy(address: str, path: str) -> str:
    """What to do to have the master's key at `path`."""
    host = (tcp_parts(address) or ("",))[0]
    if is_loopback(host):
        return f"Copy the key file that the master names when it starts to {path}."
    return ("Copy the key file that the master names when it starts: "
            f"mkdir -p {os.path.dirname(path)} && scp {host}:.config/taskmaster/key {path}")


def mechanism_at(address: str) -> str | None:
    """The mechanism that whoever listens at a tcp address greets with; None where no ZeroMQ does, or none that keeps
    the connection: it has no room.

    Blocks for LOOK_SECONDS and KEPT_SECONDS at most, or as long as the name's lookup takes.
    """
    parts = tcp_parts(address)
    if parts is None:
        return None
    try:
        with socket.create_connection(parts, defaults.LOOK_SECONDS) as peer:
            peer.sendall(_GREETING)
            greeting = _received(peer, _GREETING_BYTES, time.monotonic() + defaults.LOOK_SECONDS)
            if len(greeting) < _GREETING_BYTES or greeting[:1] != b"\xff" or not _kept(peer):
                return None
    except OSError:
        return None  # nobody there after all
    return greeting[_MECHANISM].rstrip(b"\0").decode("ascii", "replace")


def _received(peer: socket.socket, count: int, deadline: float) -> bytes:
    """So many bytes, or fewer where the peer ends. Raises OSError, also when it takes too long."""
    data = b""
    while len(data) < count:
        peer.settimeout(max(0.001, deadline - time.monotonic()))
        more = peer.recv(count - len(data))
        if not more:
            break
        data += more
    return data


def _kept(peer: socket.socket) -> bool:
    """Whether the peer leaves the connection open, as one does that waits for the rest of a handshake."""
    peer.settimeout(defaults.KEPT_SECONDS)
    try:
        return bool(peer.recv(1))
    except TimeoutError:
        return True


def is_closed(path: str) -> bool:
    """Whether there is a socket file that this user may not connect to; not for the empty path."""
    return os.path.exists(path) and not os.access(path, os.W_OK)


def listener_is_ours(descriptor: int, path: str) -> bool | None:
    """Whether the process that listens behind a connected Unix socket is this user's or root's; None where the
    connection has ended before it could be seen. Who answers a slave can run code in it.
    """
    if sys.platform == "win32":
        return None  # there is no such address there
    owner = _owner(descriptor, path)
    return None if owner is None else owner in (os.geteuid(), 0)


def _owner(descriptor: int, path: str) -> int | None:
    try:
        if sys.platform != "linux":
            return os.stat(path).st_uid
        with socket.socket(fileno=os.dup(descriptor)) as connected:
            found = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    except OSError:
        return None
    uid: int = _UCRED.unpack(found)[1]
    return None if uid == _NOBODY_KNOWN else uid

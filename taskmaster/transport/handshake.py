"""Why a slave cannot connect: the master may still appear, or will never admit it, and the reason.

libzmq retries for ever and reports little: "the other side hung up" may mean a different key, a tunnel with nothing
behind it, or a master that has no room. So after some failures in a row a probe reads the greeting of the process that
listens there, which names the mechanism. A master with room then keeps the connection open for a while; others close
it at once.
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

KEYED, PLAIN = "CURVE", "NULL"  # names of the mechanisms in ZeroMQ's greeting

EVENTS = (zmq.EVENT_CONNECTED | zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_SUCCEEDED
          | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
          | zmq.EVENT_HANDSHAKE_FAILED_AUTH)
"""The monitor's events for `HandshakeHistory.observe`."""

_ZAP_REFUSED = 400
# The signature and version of ZMTP 3.0: enough for the other side to send its whole greeting.
_GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00"
_GREETING_BYTES = 64
_MECHANISM = slice(12, 32)
_UCRED = struct.Struct("iII")  # of Linux: the process, user and group that called listen
_UNKNOWN_UID = 0xFFFFFFFF  # for a socket of another kind


@dataclass
class HandshakeHistory:
    """The handshakes since the last one that succeeded."""

    failed: int = 0
    admitted: bool = False  # at least once
    refused: bool = False  # the master said that it does not accept this key
    abandoned: bool = False  # libzmq will not retry on this socket
    found: str | None = None  # the mechanism that the last probe found

    def observe(self, event: int, value: int) -> None:
        """A monitor's event."""
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self.failed, self.admitted, self.refused, self.abandoned, self.found = 0, True, False, False, None
        elif event not in (zmq.EVENT_CONNECTED, zmq.EVENT_DISCONNECTED):
            self.failed += 1
            self.refused |= event == zmq.EVENT_HANDSHAKE_FAILED_AUTH and value == _ZAP_REFUSED
            self.abandoned |= event != zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL

    @property
    def in_doubt(self) -> bool:
        """Whether to probe what listens there."""
        return self.abandoned or self.failed >= defaults.HANDSHAKES

    def roll(self, found: str | None) -> HandshakeHistory:
        """The history after a probe: one more failure leads to the next probe. With no master there, the failures mean
        nothing."""
        return HandshakeHistory(defaults.HANDSHAKES - 1 if found else 0, self.admitted, found=found)

    def verdict(self, address: str, keys: Keys | None, found: str | None) -> KeyRefused | None:
        """Why the master at `address`, whose mechanism is `found`, will never admit a slave with these keys; None while
        it may: where nothing speaks ZeroMQ, the master is merely absent.

        A different key is concluded only from two probes with a failure in between: at the first, a full master may
        just have got room again.
        """
        if found == PLAIN and keys is not None:
            return KeyRefused(f"The master at {address} runs with --insecure, but this slave has a key and trusts only "
                              "a master that has it too. Start the master without --insecure, or both with it.")
        if found == KEYED and keys is None:
            return KeyRefused(f"The master at {address} requires a key, and this slave runs with --insecure. "
                              "Start the slave without --insecure.")
        if keys is not None and (self.refused or (found == self.found == KEYED and self.in_doubt)):
            return KeyRefused(f"The master at {address} has a different key from this slave, which uses key "
                              f"{keys.name} from {keys.origin}. {how_to_copy(address, keys.origin)}")
        return None


def how_to_copy(address: str, path: str) -> str:
    """How to copy the master's key to `path`, in a sentence."""
    host = (tcp_parts(address) or ("",))[0]
    login = f"[{host}]" if ":" in host else host
    if is_loopback(host):
        return f"Copy the key file that the master names at startup to {path}."
    return ("Copy the key file that the master names at startup: "
            f"mkdir -p {os.path.dirname(path)} && scp {login}:.config/taskmaster/key {path}")


def mechanism_at(address: str) -> str | None:
    """The mechanism in the greeting of what listens at a tcp address; None if nothing there speaks ZeroMQ, or if it
    closes the connection because it has no room.

    Blocks for at most LOOK_SECONDS and KEPT_SECONDS, or for as long as the lookup of the host's name takes.
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
        return None  # nobody listens there after all
    return greeting[_MECHANISM].rstrip(b"\0").decode("ascii", "replace")


def _received(peer: socket.socket, count: int, deadline: float) -> bytes:
    """`count` bytes, or fewer if the peer hangs up. Raises OSError, and TimeoutError after the deadline."""
    data = b""
    while len(data) < count:
        peer.settimeout(max(0.001, deadline - time.monotonic()))
        more = peer.recv(count - len(data))
        if not more:
            break
        data += more
    return data


def _kept(peer: socket.socket) -> bool:
    """Whether the peer keeps the connection open, waiting for the rest of the handshake."""
    peer.settimeout(defaults.KEPT_SECONDS)
    try:
        return bool(peer.recv(1))
    except TimeoutError:
        return True


def is_closed(path: str) -> bool:
    """Whether there is a socket file that this user may not connect to; False for the empty path."""
    return os.path.exists(path) and not os.access(path, os.W_OK)


def listener_is_ours(descriptor: int, path: str) -> bool | None:
    """Whether the process at the other end of a connected Unix socket is this user's or root's; None if the connection
    ended too soon to tell. It matters because a process that answers a slave can run code in it.
    """
    if sys.platform == "win32":
        return None  # has no such addresses
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
    return None if uid == _UNKNOWN_UID else uid

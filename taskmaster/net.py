"""Addresses and sockets: the ROUTER end, the REQ end, and what wakes a poll. It knows frames, not messages."""

from __future__ import annotations

import os
import re
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from pathlib import Path

import zmq
from zmq.utils.monitor import parse_monitor_message

from taskmaster import defaults
from taskmaster.errors import UsageError

Frames = list[bytes]
Route = tuple[bytes, ...]

IPC_PATH_BYTES = 107  # what a Unix socket's address holds
_TCP = re.compile(r"tcp://(?P<host>\[[0-9a-fA-F:]+\]|[^:/\s\[\]]+):(?P<port>\d+)")
# Flags as plain ints, and the loop over the frames here: pyzmq's flags are enums, whose `|` for each frame made a
# message of five cost 5.2 us to send instead of 1.8, and 5.4 to receive instead of 3.1.
_NOW = int(zmq.NOBLOCK)
_NOW_MORE = int(zmq.NOBLOCK | zmq.SNDMORE)
_EVERYWHERE = ("0.0.0.0", "*", "[::]")


def check_address(address: str) -> str:
    """The address, if it is one. Raises UsageError."""
    match = _TCP.fullmatch(address)
    if match and int(match["port"]) <= 65535:
        return address
    if address.startswith("ipc://") and len(address) > len("ipc://"):
        if len(os.fsencode(address[len("ipc://"):])) <= IPC_PATH_BYTES:
            return address
        raise UsageError(f"The path in {address} is longer than a socket's may be ({IPC_PATH_BYTES} bytes).")
    raise UsageError(f"{address!r} is no address. Give tcp://HOST:PORT, such as {defaults.ADDRESS}, or ipc://PATH.")


def dial_address(address: str) -> str:
    """Where a slave reaches a master that listens at `address`: every interface is this machine, seen from here."""
    match = _TCP.fullmatch(check_address(address))
    if match and match["host"] in _EVERYWHERE:
        return f"tcp://127.0.0.1:{match['port']}"
    return address


def is_local(address: str) -> bool:
    """Whether only this machine can reach it."""
    match = _TCP.fullmatch(address)
    host = match["host"] if match else "localhost"
    return host in ("localhost", "[::1]") or host.startswith("127.")


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

    Raises UsageError when it cannot listen at `address`.
    """

    def __init__(self, address: str) -> None:
        _refuse_stolen(check_address(address))
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._configure()
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self._peers: dict[int, bytes] = {}  # the connection's descriptor, the peer's id
        self._known: set[bytes] = set()
        self._bind(address)
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._monitor, zmq.POLLIN)
        self.address: str = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self.local = is_local(self.address)

    def _configure(self) -> None:
        options = {zmq.LINGER: 1000, zmq.MAXMSGSIZE: defaults.REPORT_BYTES, zmq.BACKLOG: 4096,
                   zmq.HANDSHAKE_IVL: 5000, zmq.SNDHWM: 1000, zmq.RCVHWM: 1000}
        for option, value in options.items():
            self._socket.setsockopt(option, value)

    def _bind(self, address: str) -> None:
        try:
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
        """The next message, None when there is none now."""
        try:
            frame = first = self._socket.recv(_NOW, copy=False)
        except zmq.Again:
            return None
        parts = [first.bytes]
        while frame.more:
            frame = self._socket.recv(_NOW, copy=False)
            parts.append(frame.bytes)
        if parts[0] not in self._known:
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

    def dropped(self) -> list[bytes]:
        """Peers whose connection dropped since the last call. To be called often: events unread block the socket."""
        gone: list[bytes] = []
        while True:
            try:
                event = parse_monitor_message(self._monitor.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                return gone
            peer = self._peers.pop(event["value"], None)
            if peer is not None:
                self._known.discard(peer)
                gone.append(peer)

    def close(self) -> None:
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close()
        self._context.term()

    def _learn(self, peer: bytes, frame: zmq.Frame) -> None:
        self._known.add(peer)
        try:
            self._peers[int(frame.get(zmq.SRCFD))] = peer
        except zmq.ZMQError:
            pass  # a peer of ZeroMQ's first protocol, as random bytes can seem to be: its frames tell no descriptor


def _milliseconds(seconds: float) -> int:
    """For a poll: rounded up, or the last part of a millisecond would be spent in a busy loop."""
    return ceil(max(0.0, min(seconds, 60.0)) * 1000)


class Dialer:
    """The slave's REQ: relaxed, so that a request may follow another unanswered one; correlated, so that the
    answer to the other is not taken for its own. Belongs to the thread that uses it.
    """

    def __init__(self, address: str) -> None:
        self.address = dial_address(address)
        self._context = zmq.Context()
        self._poller = zmq.Poller()
        self._socket = self._open()

    def _open(self) -> zmq.Socket[bytes]:
        dialer = self._context.socket(zmq.REQ)
        options = {zmq.REQ_RELAXED: 1, zmq.REQ_CORRELATE: 1, zmq.LINGER: 0, zmq.RECONNECT_IVL: 100,
                   zmq.RECONNECT_IVL_MAX: 1000, zmq.MAXMSGSIZE: defaults.BLOB_BYTES}
        for option, value in options.items():
            dialer.setsockopt(option, value)
        dialer.connect(self.address)
        self._poller.register(dialer, zmq.POLLIN)
        return dialer

    def rebuild(self) -> None:
        """A new socket in place of one that a malformed reply may have made deaf."""
        self._poller.unregister(self._socket)
        self._socket.close(0)
        self._socket = self._open()

    def register(self, waker: Waker) -> None:
        self._poller.register(waker.fileno(), zmq.POLLIN)

    def wait(self, seconds: float) -> None:
        """Until a reply or a ring, at most so long."""
        self._poller.poll(_milliseconds(seconds))

    def send(self, frames: Frames) -> None:
        """What cannot be sent now is lost, as on the way; it will be sent again."""
        try:
            self._socket.send_multipart(frames, zmq.NOBLOCK)
        except zmq.Again:
            pass

    def receive(self) -> Frames | None:
        """The reply, None when there is none now: a stale one makes the socket readable and is then dropped."""
        try:
            return self._socket.recv_multipart(zmq.NOBLOCK)
        except (zmq.Again, zmq.ZMQError) as error:
            if error.errno in (zmq.EAGAIN, zmq.EFSM):
                return None
            raise

    def close(self) -> None:
        self._socket.close(1000)
        self._context.term()


@contextmanager
def private_address() -> Iterator[str]:
    """An ipc address that only this user's processes can reach; its folder goes with it."""
    if not hasattr(socket, "AF_UNIX"):
        yield "tcp://127.0.0.1:0"
        return
    _sweep_dead()
    folder = tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-")
    try:
        yield check_address(f"ipc://{folder}/master")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


_PREFIX = "taskmaster-"


def _sweep_dead() -> None:
    """Remove what masters killed with -9 left behind."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
        pid = folder.name[len(_PREFIX):].split("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists() and Path("/proc/self").exists() and _is_mine(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _is_mine(folder: Path) -> bool:
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()


def _refuse_stolen(address: str) -> None:
    """libzmq binds to an ipc path that another process listens on without a word, and steals its peers."""
    path = address[len("ipc://"):] if address.startswith("ipc://") else ""
    if not path or not os.path.exists(path):
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except OSError:
            return
    raise UsageError(f"{address} is in use: another master, perhaps. Stop it, or give another --address.")

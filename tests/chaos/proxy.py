"""A TCP proxy between slaves and a master that loses, delays, doubles and cuts what passes, on command.

It knows the frames of ZMTP 3 just well enough to see where a message ends, and nothing of what is in them; with
encryption they look the same.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable

UP, DOWN = "up", "down"  # from a slave to its master, and back

_GREETING = 64
_MORE, _LONG, _COMMAND = 1, 2, 4


class Messages:
    """Cuts a stream into commands and messages, each with all its frames.

    The greeting passes as it comes: each side sends the end of its own once it has seen the beginning of the other's.
    """

    def __init__(self) -> None:
        self._data = bytearray()
        self._greeting = _GREETING  # bytes of it that have not come yet
        self._at = 0  # up to here, `_data` has complete frames of an incomplete message

    def feed(self, data: bytes) -> list[tuple[bytes, bool]]:
        """What is complete by now, and whether it is a message."""
        self._data += data
        found = []
        while (piece := self._next()) is not None:
            found.append(piece)
        return found

    def _next(self) -> tuple[bytes, bool] | None:
        if self._greeting and self._data:
            piece = self._cut(min(self._greeting, len(self._data)))
            self._greeting -= len(piece)
            return piece, False
        while (size := self._frame(self._at)) is not None:
            flags = self._data[self._at]
            self._at += size
            if not flags & _MORE:
                return self._cut(self._at), not flags & _COMMAND
        return None

    def _frame(self, at: int) -> int | None:
        """The size of the frame there; None if it is not complete yet."""
        head = 9 if len(self._data) > at and self._data[at] & _LONG else 2
        if len(self._data) < at + head:
            return None
        size = head + int.from_bytes(self._data[at + 1:at + head], "big")
        return size if len(self._data) >= at + size else None

    def _cut(self, size: int) -> bytes:
        piece = bytes(self._data[:size])
        del self._data[:size]
        self._at = 0
        return piece


class Link:
    """One connection through the proxy."""

    def __init__(self, slave: socket.socket, master: socket.socket) -> None:
        self.slave = slave
        self.master = master
        self.messages = 0  # that passed, in both directions
        self.cut_after: int | None = None
        self.master_closed = False

    def reset(self) -> None:
        """Drop it at both ends at once, with all unsent bytes."""
        for one in (self.slave, self.master):
            with contextlib.suppress(OSError):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            _shut(one)


class Proxy:
    """Listens at `port` for the master at port `target`. What it does to the traffic may change at any time."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.delay = 0.0  # seconds that each piece is held up
        self.second_per_byte = 0.0
        self.bytes_per_second = 0.0  # that pass on each connection and way; 0 is as many as come
        self.doubled = False  # each request passes twice
        self.keeps_master_end = False  # when a slave is gone, its connection to the master stays open
        self.cuts: Callable[[int], int] | None = None  # after how many messages the nth connection is reset
        self.cut = 0  # connections that were reset like that
        self.links: list[Link] = []
        self._drops = {UP: 0, DOWN: 0}
        self._open = threading.Event()
        self._open.set()
        self._closed = False
        self._guard = threading.Lock()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self.address = f"tcp://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def blackhole(self) -> None:
        """Nothing passes, and neither end is told. What is sent meanwhile arrives after `heal`, as with TCP."""
        self._open.clear()

    def heal(self) -> None:
        self._open.set()

    def drop(self, way: str, messages: int = 1) -> None:
        """The next messages in that direction never arrive."""
        with self._guard:
            self._drops[way] += messages

    def reset_all(self) -> None:
        for link in self.links:
            link.reset()

    def close(self) -> None:
        """Close everything."""
        self._closed = True
        self.heal()
        _shut(self._server)
        for link in self.links:
            _shut(link.slave)
            _shut(link.master)

    def _accept(self) -> None:
        while not self._closed:
            try:
                slave, _ = self._server.accept()
            except OSError:
                return
            self._join(slave)

    def _join(self, slave: socket.socket) -> None:
        try:
            master = socket.create_connection(("127.0.0.1", self.target), 5)
        except OSError:
            slave.close()  # no master: the slave's connection breaks, as it would without a proxy
            return
        master.settimeout(None)
        for one in (slave, master):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = Link(slave, master)
        self.links.append(link)
        for way in (UP, DOWN):
            threading.Thread(target=self._pump, args=(link, way), daemon=True).start()

    def _pump(self, link: Link, way: str) -> None:
        source, sink = (link.slave, link.master) if way == UP else (link.master, link.slave)
        messages = Messages()
        try:
            while data := source.recv(1 << 16):
                self._carry(link, way, sink, data, messages)
        except OSError:
            pass  # one of the ends is gone, and so is the link
        link.master_closed = link.master_closed or way == DOWN
        self._open.wait()  # the end of a connection does not pass a blackhole either
        if not (way == UP and self.keeps_master_end):
            _shut(sink)

    def _carry(self, link: Link, way: str, sink: socket.socket, data: bytes, messages: Messages) -> None:
        if self.second_per_byte:
            for byte in data:
                time.sleep(self.second_per_byte)
                sink.sendall(bytes([byte]))
            return
        if self.bytes_per_second:
            sink.sendall(data)
            time.sleep(len(data) / self.bytes_per_second)
            return
        for piece, is_message in messages.feed(data):
            self._open.wait()
            if self.delay:
                time.sleep(self.delay)
            if is_message and self._dropped(way):
                continue
            sink.sendall(piece)
            if is_message and self.doubled and way == UP:
                sink.sendall(piece)
            if is_message:
                self._count(link)

    def _dropped(self, way: str) -> bool:
        with self._guard:
            self._drops[way] -= 1
            if self._drops[way] >= 0:
                return True
            self._drops[way] = 0
            return False

    def _count(self, link: Link) -> None:
        with self._guard:
            link.messages += 1
            if self.cuts is not None and link.messages == 1:
                link.cut_after = self.cuts(self.cut)
            due = link.cut_after is not None and link.messages == link.cut_after
            self.cut += due
        if due:
            link.reset()


def _shut(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()

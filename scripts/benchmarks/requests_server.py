"""A server that answers each byte after some seconds: `python requests_server.py SECONDS [AT_ONCE]` prints its port.

With AT_ONCE, it works on that many bytes at once, and the others wait for their turn.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable
from math import inf

Write = Callable[[bytes], object]


class Desk:
    """Where requests are worked on."""

    def __init__(self, seconds: float, at_once: float) -> None:
        self._seconds = seconds
        self._free = at_once
        self._waiting: deque[Write] = deque()
        self._loop = asyncio.get_running_loop()

    def take(self, write: Write) -> None:
        """Answer a request in time."""
        if self._free:
            self._free -= 1
            self._loop.call_later(self._seconds, self._answer, write)
        else:
            self._waiting.append(write)

    def _answer(self, write: Write) -> None:
        write(b"!")
        self._free += 1
        if self._waiting:
            self.take(self._waiting.popleft())


class Answering(asyncio.Protocol):
    """One connection."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._write = transport.write  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        for _ in data:
            self._desk.take(self._write)


async def serve(seconds: float, at_once: float) -> None:
    """Until the end of standard input."""
    loop = asyncio.get_running_loop()
    desk = Desk(seconds, at_once)
    server = await loop.create_server(lambda: Answering(desk), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    try:
        import uvloop  # half the CPU time, where it is installed
    except ImportError:
        pass
    else:
        uvloop.install()
    asyncio.run(serve(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else inf))

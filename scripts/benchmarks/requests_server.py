"""A server that answers each byte after some seconds: `python requests_server.py SECONDS` prints its port."""

from __future__ import annotations

import asyncio
import sys


class Answering(asyncio.Protocol):
    """One connection."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._write = transport.write  # type: ignore[attr-defined]
        self._loop = asyncio.get_running_loop()

    def data_received(self, data: bytes) -> None:
        self._loop.call_later(self._seconds, self._write, b"!" * len(data))


async def serve(seconds: float) -> None:
    """Until the end of standard input."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Answering(seconds), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    try:
        import uvloop  # half the CPU time, where it is installed
    except ImportError:
        pass
    else:
        uvloop.install()
    asyncio.run(serve(float(sys.argv[1])))

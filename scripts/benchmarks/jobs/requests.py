"""Requests to a server on this machine that answers each after 200 ms: what counts is how many wait at once."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Iterator

from stamps import stamp

stamp("ready")

SECONDS = 0.2


def get_jobs(last: int = 0, count: int = 10_000, port: int = 0) -> Iterator[int]:
    """Each job is the port of the server."""
    stamp("source")
    for _ in range(last, count):
        yield port


class Client(asyncio.Protocol):
    """One connection, over which one request at a time is made."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[None] | None = None

    def data_received(self, data: bytes) -> None:
        if self.answer is not None and not self.answer.done():
            self.answer.set_result(None)


_clients: deque[tuple[asyncio.Transport, Client]] = deque()
_sockets: deque[socket.socket] = deque()


async def handle_job(port: int) -> None:
    loop = asyncio.get_running_loop()
    transport, client = _clients.pop() if _clients else await loop.create_connection(Client, "127.0.0.1", port)
    client.answer = loop.create_future()
    transport.write(b"?")
    await client.answer
    _clients.append((transport, client))


def handle_in_greenlet(port: int) -> None:
    connection = _sockets.pop() if _sockets else socket.create_connection(("127.0.0.1", port))
    connection.send(b"?")
    if connection.recv(1) != b"!":
        raise ConnectionError("no answer")
    _sockets.append(connection)

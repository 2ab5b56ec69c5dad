"""A peer that speaks the protocol by hand: it says things twice, late or never, as no slave of ours would.

It builds its own JSON and unpickles nothing, so that it shares no mistake with the product.
"""

from __future__ import annotations

import json
import secrets
from typing import Any

import zmq


class Peer:
    """One connection, and the session of one slave that never runs anything."""

    def __init__(self, address: str, slave_id: str = "") -> None:
        self.slave_id = slave_id or secrets.token_hex(16)
        self.run = ""
        self.epoch = 0
        self.seq = 0
        self._address = address
        self._context = zmq.Context()
        self._socket = self._connect()

    def _connect(self) -> zmq.Socket[bytes]:
        dealer = self._context.socket(zmq.DEALER)
        dealer.setsockopt(zmq.LINGER, 0)
        dealer.connect(self._address)
        return dealer

    def reconnect(self) -> None:
        """The same slave by another connection, and so along another route."""
        self._socket.close()
        self._socket = self._connect()

    def poll(self, n: int | None = None, **fields: Any) -> dict[str, Any]:
        """A request's header, with the next number unless one is given."""
        self.seq = self.seq + 1 if n is None else n
        base = {"v": 1, "run": self.run, "epoch": self.epoch, "sid": self.slave_id, "n": self.seq, "want": 0, "wait": 0,
                "state": "run", "held": [], "done": []}
        return {**base, **fields}

    def send(self, header: dict[str, Any], blob: bytes = b"") -> None:
        self.send_raw([json.dumps(header).encode(), blob])

    def send_raw(self, frames: list[bytes]) -> None:
        """Any frames, after the empty one that ends the route."""
        self._socket.send_multipart([b"", *frames])

    def send_bare(self, frames: list[bytes]) -> None:
        """Just these frames."""
        self._socket.send_multipart(frames)

    def receive(self, seconds: float = 3.0) -> dict[str, Any] | None:
        """The next reply's header; None if none comes."""
        frames = self.receive_raw(seconds)
        return json.loads(frames[0]) if frames else None

    def receive_raw(self, seconds: float = 3.0) -> list[bytes] | None:
        if not self._socket.poll(int(seconds * 1000)):
            return None
        return self._socket.recv_multipart()[1:]

    def ask(self, **fields: Any) -> dict[str, Any]:
        """Send the next request and return its reply. Raises TimeoutError if there is none."""
        self.send(self.poll(**fields))
        reply = self.receive()
        if reply is None:
            raise TimeoutError("the master did not answer")
        return reply

    def join(self) -> None:
        """Learn the run and the epoch, as a slave does."""
        reply = self.ask(info={"host": "chaos", "pid": 0, "threads": 1})
        self.run, self.epoch = reply["run"], reply["epoch"]

    def close(self) -> None:
        self._socket.close()
        self._context.term()

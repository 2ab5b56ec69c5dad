"""ZeroMQ socket monitors: what happens to a socket's connections."""

from __future__ import annotations

import struct

import zmq

# An event, see zmq_socket_monitor(3). zmq.utils.monitor imports asyncio, which takes 20 ms to load in each process.
_EVENT = struct.Struct("=Hi")


def next_event(monitor: zmq.Socket[bytes]) -> tuple[int, int] | None:
    """The next event of the monitored socket, and its value; None when there is none now."""
    try:
        message = monitor.recv_multipart(zmq.NOBLOCK)[0]
    except zmq.Again:
        return None
    event, value = _EVENT.unpack(message)
    return event, value

"""A socket's monitor: what happens to its connections."""

from __future__ import annotations

import struct

import zmq

# A monitor's event, see zmq_socket_monitor(3). zmq.utils.monitor would load asyncio: 20 ms of each process's start.
_EVENT = struct.Struct("=Hi")


def next_event(monitor: zmq.Socket[bytes]) -> tuple[int, int] | None:
    """What happened next to the monitored socket: the event and its value."""
    try:
        told = monitor.recv_multipart(zmq.NOBLOCK)[0]
    except zmq.Again:
        return None
    event, value = _EVENT.unpack(told)
    return event, value

"""TCP at both ends of a connection: IPv6, how soon a vanished peer is noticed, and what has been transferred."""

from __future__ import annotations

import socket
import struct
import sys

import zmq

from taskmaster import defaults
from taskmaster.core.transfer import Transfer
from taskmaster.transport.addresses import tcp_parts

# Of Linux's struct tcp_info, see tcp(7) and linux/tcp.h: unacknowledged segments, the round trip in microseconds, bytes
# acknowledged and received, and bytes that have not been sent. Since Linux 4.6.
_TCP_INFO = struct.Struct("=24xI40xI48xQQ8xI")


def socket_options(address: str) -> dict[int, int]:
    """The options, by ZeroMQ's number, for a socket that listens at or connects to this address.

    Looks up the host's name, which may block.
    """
    return {zmq.IPV6: int(needs_ipv6(address)), zmq.TCP_KEEPALIVE: 1,
            zmq.TCP_KEEPALIVE_IDLE: defaults.KEEPALIVE_IDLE_SECONDS,
            zmq.TCP_KEEPALIVE_INTVL: defaults.KEEPALIVE_PROBE_SECONDS,
            zmq.TCP_KEEPALIVE_CNT: defaults.KEEPALIVE_PROBES,
            zmq.TCP_MAXRT: 1000 * defaults.UNACKNOWLEDGED_SECONDS}


def needs_ipv6(address: str) -> bool:
    """Whether a tcp address is an IPv6 address, or its host's name resolves only to such addresses.

    IPv6 is not enabled for every address: libzmq would then resolve `localhost` to ::1 alone, where a master at 0.0.0.0
    does not listen.
    """
    host, port = tcp_parts(address) or ("", 0)
    if ":" in host or not host or host == "*":
        return ":" in host
    try:
        families = {found[0] for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return False  # not known yet: a new socket asks again
    return families == {socket.AF_INET6}


def transfer_over(descriptor: int) -> Transfer | None:
    """What the connection with this descriptor, which belongs to libzmq, has carried; None where that is not known."""
    if sys.platform != "linux":
        return None
    try:
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, descriptor)
    except OSError:
        return None
    try:
        found = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    except OSError:
        return None  # it has ended, or is none of TCP
    finally:
        connection.detach()
    if len(found) < _TCP_INFO.size:
        return None
    unacknowledged, trip, confirmed, received, unsent = _TCP_INFO.unpack(found)
    return Transfer(received, confirmed, unacknowledged > 0 or unsent > 0, trip / 1e6)

"""Socket options that both ends of a connection set: IPv6, and how soon a vanished peer is noticed."""

from __future__ import annotations

import socket

import zmq

from taskmaster import defaults
from taskmaster.transport.addresses import tcp_parts


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

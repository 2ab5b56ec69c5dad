"""Addresses: which are valid, and who can reach them. Opens no sockets."""

from __future__ import annotations

import os
import re
import socket
import sys

from taskmaster import defaults
from taskmaster.errors import UsageError

IPC_PATH_BYTES = 107 if sys.platform == "linux" else 103  # what the address of a Unix socket holds; 103 on macOS
_IPC = "ipc://"
_TCP = re.compile(r"tcp://(?P<host>\[[0-9a-fA-F:.]+(?:%[\w.-]+)?\]|[^:/\s\[\]]+):(?P<port>\d+)")
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "*": "127.0.0.1", "[::]": "[::1]"}  # and how this machine reaches it
_IPV4_IN_IPV6 = "::ffff:"  # how a socket that listens at [::] names peers that connect over IPv4


def check_address(address: str) -> str:
    """The address, if it is valid. Raises UsageError."""
    match = _TCP.fullmatch(address)
    if match and int(match["port"]) <= 65535:
        return address
    if ipc_path(address):
        _check_path(address)
        return address
    raise UsageError(f"{address!r} is not an address. Give tcp://HOST:PORT, such as {defaults.ADDRESS}, or ipc://PATH.")


def _check_path(address: str) -> None:
    if sys.platform == "win32" or not hasattr(socket, "AF_UNIX"):
        raise UsageError(f"{address} cannot be kept from other users here. Give tcp://HOST:PORT.")
    if ipc_path(address).startswith("@"):
        raise UsageError(f"{address} is not a file, so every user of this machine could connect. Give ipc://PATH.")
    if len(os.fsencode(ipc_path(address))) > IPC_PATH_BYTES:
        raise UsageError(f"The path in {address} is too long for a socket: {IPC_PATH_BYTES} bytes at most.")


def ipc_path(address: str) -> str:
    """The socket file of an ipc address; empty for any other."""
    return address[len(_IPC):] if address.startswith(_IPC) else ""


def absolute(address: str) -> str:
    """The same address, with the full path of its socket file. Raises UsageError if it is not valid."""
    path = ipc_path(check_address(address))
    return check_address(_IPC + os.path.abspath(path)) if path else address


def dial_address(address: str) -> str:
    """Where a slave on this machine reaches a master that listens at `address`, which may be every interface."""
    match = _TCP.fullmatch(check_address(address))
    return f"tcp://{_EVERYWHERE.get(match['host'], match['host'])}:{match['port']}" if match else address


def far_address(address: str) -> str:
    """Where a slave on another machine reaches it."""
    match = _TCP.fullmatch(check_address(address))
    return f"tcp://{socket.gethostname()}:{match['port']}" if match and match["host"] in _EVERYWHERE else address


def tcp_parts(address: str) -> tuple[str, int] | None:
    """Host and port, as a socket takes them; None for any other address."""
    match = _TCP.fullmatch(address)
    return (match["host"].strip("[]"), int(match["port"])) if match else None


def is_local(address: str) -> bool:
    """Whether only this machine can reach the address."""
    parts = tcp_parts(address)
    return parts is None or is_loopback(parts[0])


def address_in_use(address: str) -> UsageError:
    """The error for an address at which another process listens."""
    return UsageError(f"{address} is in use, perhaps by another master. Stop it, or give another --address.")


def is_loopback(host: str) -> bool:
    """Whether a host name or IP address means this machine itself."""
    number = host.lower().removeprefix(_IPV4_IN_IPV6)
    return number in ("localhost", "::1") or re.fullmatch(r"127(\.\d+){3}", number) is not None

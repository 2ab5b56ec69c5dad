"""Addresses: which are valid, who can reach them, and a private one. No socket is opened here."""

from __future__ import annotations

import os
import re
import shutil
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from taskmaster import defaults
from taskmaster.errors import UsageError

# Not a default but the kernel's: sun_path without its final zero, on Linux and on macOS.
IPC_PATH_BYTES = 107 if sys.platform == "linux" else 103
_IPC = "ipc://"
_TCP = re.compile(r"tcp://(?P<host>\[[0-9a-fA-F:]+\]|[^:/\s\[\]]+):(?P<port>\d+)")
_EVERYWHERE = ("0.0.0.0", "*", "[::]")
_PREFIX = "taskmaster-"


def check_address(address: str) -> str:
    """The address unchanged. Raises UsageError if it is not valid."""
    match = _TCP.fullmatch(address)
    if match and int(match["port"]) <= 65535:
        return address
    if ipc_path(address):
        _check_path(address)
        return address
    raise UsageError(f"{address!r} is not an address. Give tcp://HOST:PORT, such as {defaults.ADDRESS}, or ipc://PATH.")


def _check_path(address: str) -> None:
    if sys.platform == "win32" or not hasattr(socket, "AF_UNIX"):
        raise UsageError(f"{address} cannot be made private on this system. Give tcp://HOST:PORT.")
    if ipc_path(address).startswith("@"):
        raise UsageError(f"{address} has no file, so every user of this machine could reach it. Give ipc://PATH.")
    if len(os.fsencode(ipc_path(address))) > IPC_PATH_BYTES:
        raise UsageError(f"The path in {address} is too long for a socket, which may have {IPC_PATH_BYTES} bytes.")


def ipc_path(address: str) -> str:
    """The socket file of an ipc address; empty for other addresses."""
    return address[len(_IPC):] if address.startswith(_IPC) else ""


def dial_address(address: str) -> str:
    """The address at which a slave on this machine reaches a master that listens at `address`."""
    return _with_host(address, "127.0.0.1")


def far_address(address: str) -> str:
    """The address at which a slave on another machine reaches a master that listens at `address`."""
    return _with_host(address, socket.gethostname())


def _with_host(address: str, host: str) -> str:
    """The address with this host in place of "every interface"."""
    match = _TCP.fullmatch(check_address(address))
    return f"tcp://{host}:{match['port']}" if match and match["host"] in _EVERYWHERE else address


def tcp_parts(address: str) -> tuple[str, int] | None:
    """Host and port of a tcp address, as `socket` takes them; None for other addresses."""
    match = _TCP.fullmatch(address)
    return (match["host"].strip("[]"), int(match["port"])) if match else None


def is_local(address: str) -> bool:
    """Whether the address can be reached from this machine only."""
    parts = tcp_parts(address)
    return parts is None or is_loopback(parts[0])


def is_loopback(host: str) -> bool:
    """Whether a host's name or number is that of the loopback interface."""
    return host in ("localhost", "::1") or re.fullmatch(r"127(\.\d+){3}", host) is not None


@contextmanager
def private_address() -> Iterator[str]:
    """An ipc address that only this user's processes can reach; its folder is removed at the end. Raises UsageError."""
    check_address("ipc://x")
    _sweep_dead()
    folder = tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-")
    try:
        yield check_address(f"ipc://{folder}/master")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep_dead() -> None:
    """Remove the folders of masters that were killed before they could do so."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
        pid = folder.name[len(_PREFIX):].split("-")[0]
        if pid.isdigit() and _is_mine(folder) and not _is_alive(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _is_mine(folder: Path) -> bool:
    try:
        found = folder.lstat()
    except OSError:
        return False
    return sys.platform != "win32" and stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True

"""Addresses: which are some, who can reach them, and the private one of a box. It opens nothing that serves."""

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

IPC_PATH_BYTES = 107 if sys.platform == "linux" else 103  # what a Unix socket's address holds there, and on macOS
_IPC = "ipc://"
_TCP = re.compile(r"tcp://(?P<host>\[[0-9a-fA-F:]+\]|[^:/\s\[\]]+):(?P<port>\d+)")
_EVERYWHERE = ("0.0.0.0", "*", "[::]")
_PREFIX = "taskmaster-"


def check_address(address: str) -> str:
    """The address, if it is one. Raises UsageError."""
    match = _TCP.fullmatch(address)
    if match and int(match["port"]) <= 65535:
        return address
    if ipc_path(address):
        _check_path(address)
        return address
    raise UsageError(f"{address!r} is no address. Give tcp://HOST:PORT, such as {defaults.ADDRESS}, or ipc://PATH.")


def _check_path(address: str) -> None:
    if sys.platform == "win32" or not hasattr(socket, "AF_UNIX"):
        raise UsageError(f"{address} cannot be kept to you on this system. Give tcp://HOST:PORT.")
    if ipc_path(address).startswith("@"):
        raise UsageError(f"{address} has no file, so every user of this box could reach it. Give ipc://PATH.")
    if len(os.fsencode(ipc_path(address))) > IPC_PATH_BYTES:
        raise UsageError(f"The path in {address} is longer than a socket's may be ({IPC_PATH_BYTES} bytes).")


def ipc_path(address: str) -> str:
    """The socket file of an ipc address; empty for any other."""
    return address[len(_IPC):] if address.startswith(_IPC) else ""


def dial_address(address: str) -> str:
    """Where a slave reaches a master that listens at `address`: every interface is this machine, seen from here."""
    return _in_place_of_everywhere(address, "127.0.0.1")


def far_address(address: str) -> str:
    """The same for a slave on another machine."""
    return _in_place_of_everywhere(address, socket.gethostname())


def _in_place_of_everywhere(address: str, host: str) -> str:
    match = _TCP.fullmatch(check_address(address))
    return f"tcp://{host}:{match['port']}" if match and match["host"] in _EVERYWHERE else address


def tcp_parts(address: str) -> tuple[str, int] | None:
    """Host and port, as a socket takes them; None for what is no tcp address."""
    match = _TCP.fullmatch(address)
    return (match["host"].strip("[]"), int(match["port"])) if match else None


def is_local(address: str) -> bool:
    """Whether only this machine can reach it."""
    parts = tcp_parts(address)
    return parts is None or is_loopback(parts[0])


def is_loopback(host: str) -> bool:
    """Whether a name or a number is this machine's own for itself."""
    return host in ("localhost", "::1") or re.fullmatch(r"127(\.\d+){3}", host) is not None


@contextmanager
def private_address() -> Iterator[str]:
    """An ipc address that only this user's processes can reach; its folder goes with it. Raises UsageError."""
    check_address("ipc://x")
    _sweep_dead()
    folder = tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-")
    try:
        yield check_address(f"ipc://{folder}/master")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep_dead() -> None:
    """Remove what masters killed with -9 left behind."""
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

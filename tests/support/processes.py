"""Processes, their memory and their ports, read off /proc."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path


def processes_in(folder: Path) -> list[int]:
    """The pids of living processes whose working folder this is."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.readlink(entry / "cwd") == str(folder) and command_of(int(entry.name)):
                found.append(int(entry.name))
        except OSError:
            continue  # it has ended meanwhile, or belongs to another user
    return found


def command_of(pid: int) -> str:
    """Its command line; empty for a process that is dead, even if nobody has reaped it yet."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def threads_of(pid: int) -> int:
    """How many threads a living process has."""
    return len(os.listdir(f"/proc/{pid}/task"))


def memory_of(pid: int, field: str = "VmRSS") -> float:
    """MiB that a process holds, or with VmHWM the most it ever held; 0 if it is gone."""
    try:
        found = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0.0
    return int(found[1]) / 1024 if found else 0.0


def free_port() -> int:
    """A TCP port at which nobody listens, and which no test is given next."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

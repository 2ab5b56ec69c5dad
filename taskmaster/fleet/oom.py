"""How many processes the kernel's OOM killer has ended. Only Linux counts them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_ROOT: Final = Path("/")


def oom_kills(root: Path = _ROOT) -> int:
    """The number of OOM kills so far, in this process's control group if that is known, else on the machine.

    The kernel counts before it kills, so once a victim has ended, the number has grown. 0 where nothing is counted.
    """
    in_group = _counted(root / "sys/fs/cgroup" / _group(root) / "memory.events")
    return in_group if in_group is not None else _counted(root / "proc/vmstat") or 0


def _group(root: Path) -> str:
    """The path of this process's control group (version 2) below the mount point; empty for the root group."""
    lines = _text(root / "proc/self/cgroup").splitlines()
    return next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")


def _counted(path: Path) -> int | None:
    """The number behind `oom_kill` in a file that has one name and one number on each line."""
    pairs = (line.split() for line in _text(path).splitlines())
    return next((int(pair[1]) for pair in pairs if len(pair) == 2 and pair[0] == "oom_kill"), None)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # no such file: another system, or another version of control groups
        return ""

"""The machine on which readings were taken, without which they mean nothing."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path


def describe() -> dict[str, object]:
    """Cores that may be used, CPU, memory, Python, and how busy it is."""
    kilobytes = int(_field("/proc/meminfo", "MemTotal").split()[0])
    return {
        "cores": len(os.sched_getaffinity(0)), "cpu": _field("/proc/cpuinfo", "model name"),
        "memory": f"{kilobytes / 2 ** 20:.0f} GiB", "system": f"{platform.system()} {platform.release()}",
        "python": sys.version.split()[0], "load average": load(),
    }


def load() -> float:
    """Processes that needed a core, on average over the last minute."""
    return round(os.getloadavg()[0], 2)


def line(found: Mapping[str, object]) -> str:
    """The same for people."""
    return "{cores} cores, {cpu}, {memory}, {system}, Python {python}, load average {load average}".format(**found)


def _field(path: str, name: str) -> str:
    for text in Path(path).read_text().splitlines():
        key, _, value = text.partition(":")
        if key.strip() == name:
            return value.strip()
    return "unknown"

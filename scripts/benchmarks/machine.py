"""The machine that figures were read on: without it they mean nothing."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path


def describe() -> dict[str, object]:
    """Cores that may be used, CPU, memory, Python, and how busy it is."""
    return {
        "cores": len(os.sched_getaffinity(0)), "cpu": _field("/proc/cpuinfo", "model name"),
        "memory": _field("/proc/meminfo", "MemTotal"), "system": f"{platform.system()} {platform.release()}",
        "python": sys.version.split()[0], "load": load(),
    }


def load() -> list[float]:
    """Processes that wanted a core, on average over 1, 5 and 15 minutes."""
    return [round(number, 2) for number in os.getloadavg()]


def line(found: Mapping[str, object]) -> str:
    """The same for a person."""
    return "{cores} cores, {cpu}, {memory}, {system}, Python {python}, load average {load}".format(**found)


def _field(path: str, name: str) -> str:
    for text in Path(path).read_text().splitlines():
        key, _, value = text.partition(":")
        if key.strip() == name:
            return value.strip()
    return "unknown"

"""When a slave has lived long enough and should be replaced by a fresh one, as handlers or their libraries leak."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

_MIB = 1 << 20


@dataclass(frozen=True)
class RecyclingLimits:
    """Most jobs, MiB of resident memory, and seconds of life; None for no limit."""

    jobs: int | None = None
    memory_mib: float | None = None
    seconds: float | None = None

    def __bool__(self) -> bool:
        return (self.jobs, self.memory_mib, self.seconds) != (None, None, None)

    def exceeded(self, jobs: int, memory_bytes: int, seconds: float) -> str:
        """Which limit a slave has reached that has ended so many jobs, in words; empty if none."""
        if self.jobs is not None and jobs >= self.jobs:
            return f"{jobs:,} jobs"
        if self.memory_mib is not None and memory_bytes >= self.memory_mib * _MIB:
            return f"{memory_bytes / _MIB:,.0f} MiB"
        if self.seconds is not None and seconds >= self.seconds:
            return f"{seconds:,.0f} s"
        return ""


def resident_bytes() -> int:
    """What this process has in memory now; where only Linux would tell that, the most that it ever had."""
    if sys.platform == "win32":
        return 0
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return _largest()


def _largest() -> int:
    if sys.platform == "win32":
        return 0
    import resource  # here: Windows has no such module

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024

"""99 jobs of 10 ms to 1 of 500 ms, shuffled by a fixed seed; in one of the slaves each takes ten times as long."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

from stamps import stamp

from benchmarks.marks import STAMPS

stamp("ready")

SHORT_SECONDS = 0.01
LONG_SECONDS = 0.5
SLOWNESS = 10.0


def get_jobs(last: int = 0, count: int = 4_000) -> Iterator[float]:
    stamp("source")
    long = count // 100
    seconds = [LONG_SECONDS] * long + [SHORT_SECONDS] * (count - long)
    random.Random(1).shuffle(seconds)
    yield from seconds[last:]


@cache
def slowness() -> float:
    """Of this process: the first one to ask is the slow one."""
    claim, pid = Path(os.environ[STAMPS]).with_name("slow"), str(os.getpid())
    with suppress(FileExistsError):
        claim.symlink_to(pid)  # one step, for other threads may ask as well
    return SLOWNESS if os.readlink(claim) == pid else 1.0


def handle_job(seconds: float) -> None:
    time.sleep(seconds * slowness())

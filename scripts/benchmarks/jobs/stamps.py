"""Lines that a job file leaves for the benchmark in the file that BENCH_STAMPS names; without it, none.

A line is a word, the process's id, the time and further numbers. The clock is CLOCK_MONOTONIC, which all processes of
a machine share, so a time written in a slave can be held against one written in the master.
"""

from __future__ import annotations

import os
import time

_path = os.environ.get("BENCH_STAMPS")
# Opened for appending and written in one go: lines of several threads and processes do not run into each other.
_file = os.open(_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600) if _path else None


def stamp(word: str, *numbers: float) -> None:
    """Takes about 2 us, so never from a handler whose speed is what is read."""
    if _file is not None:
        line = f"{word} {os.getpid()} {time.monotonic():.6f} {' '.join(format(number, '.6f') for number in numbers)}\n"
        os.write(_file, line.encode())

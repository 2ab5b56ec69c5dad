"""Makes the C library keep freed memory. It knows nothing of jobs."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any, Final

# glibc's names, from malloc.h.
_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3

# The largest batches, leases and messages have 4 MiB, and a few are alive at once.
KEPT_BYTES: Final = 16 << 20


def keep_freed_memory() -> bool:
    """Reuse freed memory instead of returning it to the kernel; returns whether the C library supports that.

    By default, glibc returns a batch of 1 MiB at once and requests the next one again, with a page fault for every
    4 KiB: pickling and copying a job of 5 kB then took 4.2 us instead of 0.2. Now it keeps up to KEPT_BYTES of
    formerly used memory for each thread.
    """
    if not _is_glibc():
        return False
    mallopt: Any = ctypes.CDLL(None).mallopt
    return bool(mallopt(_MMAP_THRESHOLD, KEPT_BYTES) and mallopt(_TRIM_THRESHOLD, KEPT_BYTES))


def _is_glibc() -> bool:
    if sys.platform == "win32":
        return False  # Windows has no confstr
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (ValueError, OSError):  # other systems do not have this name
        return False

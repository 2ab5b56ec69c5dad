"""The sources that the `slaves` benchmark gives its master: one of endless jobs, and one without any."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator


def endless(last: int = 0) -> Iterator[int]:
    """Plain integers, as fast as they can be pulled."""
    return itertools.count(last)


def silent(last: int = 0) -> Iterator[int]:
    """A source that waits for ever: the slaves stay idle."""
    threading.Event().wait()
    return iter(())

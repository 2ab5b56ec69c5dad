"""What the state writer's thread knows of where results go. A new kind of sink is a new file here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from taskmaster.core.results import Results


class Sink(Protocol):
    """Belongs to one thread at a time. Results come in the order of their jobs, unless the run is unordered.

    `flush` is also called right after `open(None)`, before any `write`, so that even the first checkpoint holds a mark.
    In the order on disk, `flush` comes before the checkpoint that holds its mark. So a sink may hold more than the last
    checkpoint knows of; `open` cuts it back. After an error only `open` and `close` may be called.
    """

    def open(self, mark: Any | None) -> None:
        """Make it hold exactly what it held when `flush` returned this mark; None begins a new one, which may not exist
        yet.

        Raises UsageError for a place that cannot be used, OSError when it cannot be written.
        """

    def write(self, results: Iterable[Results]) -> None:
        """Add these. Raises OSError; then it is called again with the same ones and more, after `open` with the last
        mark."""

    def flush(self) -> Any:
        """Make all of it durable. Returns the mark for the checkpoint, a value that JSON can hold. Raises OSError."""

    def close(self) -> None:
        """Let go of it. What was not flushed may be lost."""

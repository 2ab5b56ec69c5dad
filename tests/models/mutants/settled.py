"""Broken memories of what an earlier run settled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from taskmaster.core.codec import Batch
from taskmaster.core.identity import IDENTITY_BYTES
from taskmaster.core.settled import Entry, SettledBefore


class IgnoresIdentity(SettledBefore):
    """Passes over any job at an offset where one was settled."""

    def _compare(self, first: int, run: tuple[int, int, int], batch: Batch,
                 cursors: Sequence[Any] | None) -> list[Entry]:
        offset, count, at = run
        return [Entry(offset, count, None, known=bytes(self._identities[at:at + count * IDENTITY_BYTES]))]

"""The watermark, below which every job is settled, and what a resume from there has to know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from taskmaster.core.codec import Batch
from taskmaster.core.cursors import Cursors
from taskmaster.core.runs import Runs
from taskmaster.core.settled import Entry, SettledAbove, Snapshot
from taskmaster.job import NO_CURSOR


class Watermark:
    """Moves up as settled runs close the gap above it; keeps what is settled above, and the source's cursors."""

    def __init__(self, offset: int) -> None:
        self.offset = offset
        self.head = offset  # the offset of the next job of the source
        self.exhausted = False  # the source has no more jobs
        self.cursors = Cursors()
        self._start = offset
        self._above = Runs()
        self._settled = SettledAbove()

    @property
    def settled_above(self) -> int:
        return len(self._above)

    @property
    def bytes(self) -> int:
        """Bytes of cursors, and of payloads of settled jobs, that are kept for the next checkpoint."""
        return self._settled.bytes + self.cursors.bytes

    def admit(self, count: int, cursors: Sequence[Any] | None = None, size: int = 0) -> None:
        """The source gave so many jobs, with these cursors of their own, which take `size` bytes."""
        if cursors is not None:
            self.cursors.add(self.head, cursors, size)
        self.head += count

    def settle(self, first: int, count: int, batch: Batch | None = None, index: int = 0) -> None:
        """These jobs are settled, and were not before; `batch` has them from `index` on."""
        entry = None
        cursors = self.cursors.of(first, count)
        if batch is not None and (first != self.offset or cursors is not None):
            size = 0 if cursors is None else self.cursors.size_of(first, count)
            entry = Entry(first, count, batch.copy(), index, cursors, cursor_bytes=size)
        self._settle(first, count, entry)

    def settle_identified(self, entry: Entry) -> None:
        """The same for jobs whose identities are known: an earlier run has settled them, or they cannot be sent."""
        self._settle(entry.first, entry.count, entry)

    def _settle(self, first: int, count: int, entry: Entry | None) -> None:
        if first != self.offset:
            self._above.add(first, count)
        else:
            self.offset += count
            if self._above and self._above.first == self.offset:
                self.offset += self._above.pop_first()[1]
        if entry is not None:
            self._settled.add(entry)
        if self._settled or self.cursors.bytes:
            self._settled.passed(self.resume_offset)
            self.cursors.trim(self.resume_offset)

    def cursor_of(self, offset: int) -> Any:
        """Where to resume after this job, as it was frozen; a job without a cursor of its own counts."""
        own = self.cursors.own(offset)
        return offset + 1 if own is NO_CURSOR else own

    # -- for a checkpoint

    @property
    def resume_offset(self) -> int:
        """The offset of the first job that a resumed run gets: the watermark, or where the jobs begin that may share
        the cursor of the job below it."""
        return max(self._start, self.cursors.boundary(self.offset, self.head, self.exhausted))

    @property
    def cursor(self) -> Any:
        """What a resumed run passes as `last`, as it was frozen; NO_CURSOR when it begins where this run has begun."""
        offset = self.resume_offset
        return NO_CURSOR if offset == self._start else self.cursor_of(offset - 1)

    def snapshot(self, whole: bool) -> Snapshot:
        """What is settled from the resume offset on: up to the watermark, or the `whole` of it."""
        offset = self.resume_offset
        if not whole and offset == self.offset:
            return Snapshot()
        return self._settled.snapshot(offset, None if whole else self.offset)

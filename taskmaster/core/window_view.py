"""The window as those see it who only read it: the loop, the state on disk, the status line, the leasing policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from taskmaster import defaults
from taskmaster.core.chunks import Chunk, Chunks, State
from taskmaster.core.watermark import Watermark
from taskmaster.job import NO_CURSOR


class WindowView:
    """The jobs in flight, offsets [watermark, head): everything below the watermark is settled."""

    def __init__(self, first: int, size: int, most_bytes: int, attempts: int) -> None:
        self.size = size
        self.attempts = attempts
        self.head = first
        self._most_bytes = most_bytes
        self._mark = Watermark(first)
        self._chunks = Chunks()

    @property
    def watermark(self) -> int:
        return self._mark.offset

    @property
    def cursor(self) -> Any:
        """Where to resume: after the job just below the watermark; NO_CURSOR if nothing has been settled here yet."""
        return self._mark.cursor

    @property
    def in_flight(self) -> int:
        return self.head - self.watermark - self._mark.settled_above

    def room(self, now: float) -> int:
        """How many more jobs may be pulled: the span stays within `size`, the payloads within `most_bytes`.

        READY_BYTES of ready payloads are enough: more of them would have left the processor's cache by the time they
        are sent. While a slow job holds the watermark, so are STALLED_SPAN_JOBS: after a crash, everything settled
        above it is repeated.
        """
        if self._chunks.bytes >= self._most_bytes or self._chunks.ready_bytes >= defaults.READY_BYTES:
            return 0
        span = min(self.size, defaults.STALLED_SPAN_JOBS) if self._is_stalled(now) else self.size
        return max(0, self.watermark + span - self.head)

    def _is_stalled(self, now: float) -> bool:
        """Whether the job at the watermark is waiting for a slave, or has been with one for SPAN_SECONDS."""
        oldest = self.oldest()
        return oldest is not None and (oldest.state is not State.LEASED or now - oldest.since > defaults.SPAN_SECONDS)

    # -- the job at the watermark

    def oldest(self) -> Chunk | None:
        """The chunk whose first unsettled job is at the watermark; None if nothing is in flight."""
        return self._chunks.lowest()

    @property
    def next_cursor(self) -> Any:
        """The cursor of the job at the watermark; NO_CURSOR if it has none of its own."""
        return self._mark.own_cursor(self.watermark)

    @property
    def next_is_plain(self) -> bool:
        """Whether the job at the watermark has no cursor of its own."""
        return self.next_cursor is NO_CURSOR

    def first_unfinished(self) -> Callable[[], Any] | None:
        """Decodes the payload of the job at the watermark, in any thread; None if nothing is in flight."""
        chunk = self.oldest()
        return None if chunk is None else chunk.batch.reader(self.watermark - chunk.first)

    # -- what may be leased, and who holds what

    @property
    def ready(self) -> int:
        """Jobs that may be leased now, without the suspects."""
        return self._chunks.ready

    @property
    def next_was_returned(self) -> bool:
        """Whether the first job to be leased has been with a slave before."""
        chunk = self._chunks.next_ready()
        return chunk is not None and chunk.granted_by_seq > 0

    @property
    def suspects(self) -> bool:
        """Whether suspects are waiting for a slave that holds nothing else."""
        return self._chunks.next_suspect() is not None

    def any_ready_below(self, offset: float) -> bool:
        """Whether a job below `offset`, suspect or not, may be leased now."""
        found = [chunk for chunk in (self._chunks.next_ready(), self._chunks.next_suspect()) if chunk is not None]
        return any(chunk.first < offset for chunk in found)

    def leased(self, holder: str) -> int:
        """How many unsettled jobs `holder` has on lease."""
        return sum(len(chunk.left) for chunk in self._chunks.held_by(holder))

    def holds_suspect(self, holder: str) -> bool:
        return any(chunk.suspicion.isolated for chunk in self._chunks.held_by(holder))

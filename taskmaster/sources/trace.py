"""What a cursor in a file says of the bytes before it, so that another file in its place is noticed."""

from __future__ import annotations

import re
from zlib import crc32

HEAD_BYTES = 4096  # of the file's beginning, and
TAIL_BYTES = 256  # of what comes just before the cursor: together they cost one read each when a run resumes
_CURSOR = re.compile(r"(\d{1,18}):([0-9a-f]{8})")


class Trace:
    """Sees the bytes of a file from its beginning, and knows the cursor after them.

    That is a text: the position in bytes and a checksum of the beginning and of what comes just before the position.
    """

    def __init__(self) -> None:
        self.position = 0
        self._head = 0
        self._tail = b""

    def add(self, data: bytes) -> None:
        """These bytes come next."""
        if self.position < HEAD_BYTES:
            self._head = crc32(data[:HEAD_BYTES - self.position], self._head)
        self.position += len(data)
        self._tail = (self._tail + data)[-TAIL_BYTES:]

    def skip_to(self, position: int) -> None:
        """So many bytes are passed over; at least TAIL_BYTES are added before a cursor is asked for."""
        self.position, self._tail = position, b""

    def ends_with(self, end: bytes) -> bool:
        """Whether the last bytes are these."""
        return self._tail.endswith(end)

    @property
    def cursor(self) -> str:
        return f"{self.position}:{crc32(self._tail, self._head):08x}"


def position_of(cursor: object) -> int | None:
    """The position that a cursor names; None if it is none."""
    match = _CURSOR.fullmatch(cursor) if isinstance(cursor, str) else None
    return int(match[1]) if match else None

"""The cursors that came with a lease. Hardly any handler asks for one, so they are read only then."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from taskmaster import defaults
from taskmaster.core.codec import Bytes, open_batch
from taskmaster.core.portable import unpack


@dataclass(frozen=True)
class LeasedCursors:
    """Those of the jobs of one lease, which begins at `first`; `blob` is what `core.leased_cursors` made."""

    first: int
    form: str
    blob: Bytes

    def of(self, offset: int) -> Any:
        """The cursor of this job; that of a job without one is its number, counted from 1.

        Raises ValueError if it was too large to send, or cannot be read here.
        """
        if offset - self.first >= len(self._values):
            raise ValueError(f"The cursors of these jobs take more than {defaults.CURSORS_BYTES:,} bytes, so they were "
                             "not sent. Put into the payload what the handler needs.")
        found = self._values[offset - self.first]
        if type(found) is dict and "json" not in found:
            raise ValueError("The cursor is a pickle, and with --codec json none is read. Put into the payload what "
                             "the handler needs.")
        if type(found) is bytes:
            found = json.loads(found)
        return offset + 1 if found is None else unpack(found) if type(found) is dict else found

    @cached_property
    def _values(self) -> list[Any]:
        return open_batch("json" if self.form == "json" else "pickle", self.blob)

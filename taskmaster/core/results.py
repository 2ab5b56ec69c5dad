"""What handlers returned, as it travels: one line of JSON a job. A master passes it on without decoding it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Results:
    """The results of `count` jobs from offset `first` on: in `lines`, for each, one line of JSON in UTF-8 that ends
    with a line feed and holds no other.

    `cursors` has one for each job, as `portable.freeze` gave it, NO_CURSOR for a job without one of its own; None when
    no job has one. Where the jobs have `failed`, the lines are objects that say why.
    """

    first: int
    count: int
    lines: bytes
    cursors: Sequence[Any] | None = None
    failed: bool = False

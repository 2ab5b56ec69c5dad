"""A job that failed for good."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from taskmaster.core.codec import Batch


@dataclass(frozen=True)
class AbandonedJob:
    """Everything that the failures file needs; the job's payload is the only one in `batch`.

    `rounds` counts the runs in which it has failed.
    """

    offset: int
    cursor: Any
    attempts: int
    kind: str
    error: str
    message: str
    traceback: str
    holder: str
    batch: Batch | None
    rounds: int = 1

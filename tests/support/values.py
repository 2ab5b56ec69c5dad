"""Values that several tests need, of types with many fields."""

from __future__ import annotations

from taskmaster.core.failure import FailureRecord
from taskmaster.core.wire import FailedAttempt


def failed_attempt(offset: int, attempt: int = 1) -> FailedAttempt:
    return FailedAttempt(offset, attempt, "raised", "ValueError", "no", "Traceback")


def failure_record(offset: int, message: str = "no") -> FailureRecord:
    return FailureRecord(offset, {"json": offset + 1}, 3, "raised", "ValueError", message, "Traceback",
                         "jobs:handle_job", "here:1", "2024-05-06T07:08:09Z", {"json": offset}, repr(offset))

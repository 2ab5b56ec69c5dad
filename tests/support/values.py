"""Values and stand-ins that several tests need."""

from __future__ import annotations

import os
from collections.abc import Callable

from taskmaster.core.failure import FailureRecord
from taskmaster.core.wire import FailedAttempt


def failed_attempt(offset: int, attempt: int = 1) -> FailedAttempt:
    return FailedAttempt(offset, attempt, "raised", "ValueError", "no", "Traceback")


def failure_record(offset: int, message: str = "no") -> FailureRecord:
    return FailureRecord(offset, {"json": offset + 1}, 3, "raised", "ValueError", message, "Traceback",
                         "jobs:handle_job", "here:1", "2024-05-06T07:08:09Z", {"json": offset}, repr(offset))


def closing_with(code: int) -> Callable[[int], None]:
    """An os.close that closes the file and then fails, as on NFS or beyond a quota."""
    real = os.close

    def close(file: int) -> None:
        real(file)
        raise OSError(code, os.strerror(code))
    return close

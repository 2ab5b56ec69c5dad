"""Values and stand-ins that several tests need."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from taskmaster.core.codec import Bytes, is_sealed, open_batch, open_part
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


def decoded(form: str, blob: Bytes) -> tuple[list[Any], dict[int, BaseException]]:
    """The payloads of a batch, and what was raised for each that does not decode."""
    parts = open_batch(form, blob)
    payloads, bad = (parts, {}) if not is_sealed(form) else ([None] * len(parts), dict[int, BaseException]())
    for index in range(len(parts)) if is_sealed(form) else ():
        try:
            payloads[index] = open_part(parts[index])
        except BaseException as error:
            bad[index] = error
    return payloads, bad

"""A failed attempt as it is reported to the master, with texts cut to what is useful."""

from __future__ import annotations

import traceback
from typing import Any

from taskmaster import defaults
from taskmaster.core.wire import FailedAttempt


def failed_attempt(offset: int, attempt: int, error: BaseException, kind: str = "raised") -> FailedAttempt:
    """An attempt that ended with an exception; the frames above the handler are left out of its traceback."""
    shown = "".join(traceback.format_exception(type(error), error, _below_handler(error)))
    message = _text_of(error)[:defaults.FAILURE_MESSAGE_CHARACTERS]
    return FailedAttempt(offset, attempt, kind, type(error).__name__, message, _end_of(shown))


def timed_out_attempt(offset: int, attempt: int, seconds: float, stack: str) -> FailedAttempt:
    """An attempt that is still running after the `seconds` that it may take; `stack` is where it is."""
    return FailedAttempt(offset, attempt, "timeout", "JobTimeout", f"still running after {seconds:g} s", _end_of(stack))


def _end_of(text: str) -> str:
    return text[-defaults.FAILURE_TRACEBACK_CHARACTERS:]


def _below_handler(error: BaseException) -> Any:
    trace = error.__traceback__
    return trace.tb_next if trace is not None and trace.tb_next is not None else trace


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:  # the user's own __str__
        return f"<no message: its __str__ raised {type(broken).__name__}>"

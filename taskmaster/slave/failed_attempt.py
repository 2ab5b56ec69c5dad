"""A failed attempt as it is reported to the master, with texts cut to what is useful."""

from __future__ import annotations

import gc
import traceback

from taskmaster import defaults
from taskmaster.core.exceptions import message_of, type_name
from taskmaster.core.retrying import asked_retry_ms
from taskmaster.core.wire import FailedAttempt
from taskmaster.handlers import NO_SETTINGS, HandlerSettings
from taskmaster.targets.frames import shown_frames, user_traceback


def failed_attempt(offset: int, attempt: int, error: BaseException, kind: str = "raised",
                   settings: HandlerSettings = NO_SETTINGS) -> FailedAttempt:
    """An attempt that ended with an exception. Its traceback begins at the handler.

    Any exception can be described: only a lack of memory makes this raise, see `undescribed_attempt`.
    """
    message = message_of(error)[:defaults.MESSAGE_CHARACTERS]
    return FailedAttempt(offset, attempt, kind, type_name(error), message, _end_of(_shown(error)),
                         _asked_retry_ms(error, attempt, settings), settings.attempts or 0)


def described_attempt(offset: int, attempt: int, error: BaseException, kind: str,
                      settings: HandlerSettings) -> FailedAttempt:
    """The same, whatever there is to describe it with."""
    try:
        return failed_attempt(offset, attempt, error, kind, settings)
    except BaseException:  # MemoryError, while the frames of `error` still hold what filled the memory
        pass  # so do those of this exception, until the end of this block
    return undescribed_attempt(offset, attempt, error)


def undescribed_attempt(offset: int, attempt: int, error: BaseException) -> FailedAttempt:
    """The same for an exception whose description failed. It lets go of the frames, where the handler's data are.

    Data that refer to themselves are only freed by a collection, which Python begins when it allocates, and not when it
    fails to: until then, every step failed for lack of memory, for minutes.
    """
    error.__traceback__ = error.__context__ = error.__cause__ = None
    gc.collect()
    return FailedAttempt(offset, attempt, "raised", type_name(error), "could not be described for lack of memory", "")


def timed_out_attempt(offset: int, attempt: int, seconds: float, stack: str,
                      settings: HandlerSettings = NO_SETTINGS) -> FailedAttempt:
    """An attempt that is still running after the `seconds` that it may take; `stack` is where it is."""
    return FailedAttempt(offset, attempt, "timeout", "JobTimeout", f"still running after {seconds:g} s", _end_of(stack),
                         asked_retry_ms(None, attempt, settings), settings.attempts or 0)


def _asked_retry_ms(error: BaseException, attempt: int, settings: HandlerSettings) -> int:
    try:
        return asked_retry_ms(error, attempt, settings)
    except MemoryError:
        raise
    except BaseException:  # the user's __instancecheck__, or a Retry without `after`
        return 0


def _shown(error: BaseException) -> str:
    try:
        return user_traceback(error)
    except MemoryError:
        raise
    except BaseException:  # such as for SyntaxError("bad", "abcdef"), or if the exception's own code raises
        return "".join(traceback.format_tb(shown_frames(error))) + f"{type_name(error)}: {message_of(error)}\n"


def _end_of(text: str) -> str:
    return text[-defaults.TRACEBACK_CHARACTERS:]

"""Whether a failed attempt is followed by another, and when: what the slave asks for, and what the master makes of it.

The slave has the exception and the handler's settings, the master the options of the run, which win.
"""

from __future__ import annotations

from math import ceil
from typing import Final

from taskmaster import defaults
from taskmaster.core.backoff import Backoff
from taskmaster.core.wire import NEVER, FailedAttempt
from taskmaster.handlers import GiveUp, HandlerSettings, Retry

# Spread, because the jobs of a lease fail together.
RETRY: Final = Backoff(defaults.RETRY_SECONDS, defaults.RETRY_SECONDS_MOST, spread=0.25)


def asked_retry_ms(error: BaseException | None, attempt: int, settings: HandlerSettings) -> int:
    """What a slave asks for when an attempt failed with `error`, None for a timeout: milliseconds until the next one,
    NEVER, or 0 if it leaves that to the master."""
    if isinstance(error, GiveUp) or (error is not None and not _is_worth_it(error, settings)):
        return NEVER
    if isinstance(error, Retry) and error.after is not None:
        return _milliseconds(min(error.after, defaults.RETRY_AFTER_SECONDS_MOST))
    if settings.backoff is None:
        return 0
    backoff = Backoff(settings.backoff, max(settings.backoff, defaults.RETRY_SECONDS_MOST))
    return _milliseconds(backoff.delay(attempt))  # not spread: the master keeps those that ask for the same together


def _is_worth_it(error: BaseException, settings: HandlerSettings) -> bool:
    if isinstance(error, Retry):
        return True
    return not isinstance(error, settings.give_up_on) and (
        settings.retry_on is None or isinstance(error, settings.retry_on))


def _milliseconds(seconds: float) -> int:
    return max(1, ceil(min(seconds, defaults.RETRY_AFTER_SECONDS_MOST) * 1000))


def seconds_until_next(failure: FailedAttempt, attempts: int | None) -> float | None:
    """What a master does: seconds until the next attempt, None if the job has failed for good.

    `attempts` is the option of the run; without it the handler's own number counts.
    """
    if failure.retry_ms == NEVER or failure.attempt >= (attempts or failure.attempts or defaults.ATTEMPTS):
        return None
    if failure.retry_ms:
        return min(failure.retry_ms / 1000, defaults.RETRY_AFTER_SECONDS_MOST)
    return RETRY.delay(failure.attempt, failure.offset)

"""What a slave asks for when an attempt fails, by the exception and by the handler's settings."""

from __future__ import annotations

from typing import Any

import pytest

import taskmaster
from taskmaster import GiveUp, Retry, defaults
from taskmaster.core.retrying import asked_retry_ms
from taskmaster.core.wire import NEVER
from taskmaster.handlers import NO_SETTINGS, HandlerSettings, settings_of
from taskmaster.slave.failed_attempt import failed_attempt, timed_out_attempt


@pytest.mark.parametrize("error, attempt, settings, asked", [
    (ValueError(), 1, {}, 0),
    (None, 1, {}, 0),
    (GiveUp("no such page"), 1, {}, NEVER),
    (Retry("later", after=30), 1, {}, 30_000),
    (Retry("at once", after=0), 1, {}, 1),
    (Retry(after=1e9), 1, {}, 86_400_000),
    (Retry(), 1, {}, 0),
    (ValueError(), 1, {"give_up_on": (LookupError, ValueError)}, NEVER),
    (KeyError(), 1, {"give_up_on": (LookupError,)}, NEVER),
    (OSError(), 1, {"give_up_on": (LookupError,)}, 0),
    (ConnectionError(), 1, {"retry_on": (OSError,)}, 0),
    (ValueError(), 1, {"retry_on": (OSError,)}, NEVER),
    (ConnectionError(), 1, {"retry_on": (OSError,), "give_up_on": (ConnectionError,)}, NEVER),
    (Retry(after=2), 1, {"retry_on": (OSError,), "give_up_on": (Exception,)}, 2_000),
    (None, 1, {"retry_on": (OSError,), "give_up_on": (Exception,)}, 0),  # a timeout
    (ValueError(), 1, {"backoff": 2.0}, 2_000),
    (ValueError(), 3, {"backoff": 2.0}, 8_000),
    (ValueError(), 9, {"backoff": 2.0}, 30_000),
    (ValueError(), 9, {"backoff": 60.0}, 60_000),
    (None, 2, {"backoff": 2.0}, 4_000),
    (Retry(), 2, {"backoff": 2.0}, 4_000),
])
def test_what_is_asked_for(error: BaseException | None, attempt: int, settings: dict[str, Any], asked: int) -> None:
    assert asked_retry_ms(error, attempt, HandlerSettings(**settings)) == asked


def test_reports_carry_it() -> None:
    settings = HandlerSettings(attempts=7, backoff=1.5)
    for failure in (failed_attempt(1, 2, ValueError(), settings=settings), timed_out_attempt(1, 2, 5.0, "", settings)):
        assert (failure.retry_ms, failure.attempts) == (3_000, 7)


class Odd(type):
    def __instancecheck__(cls, instance: object) -> bool:
        raise SystemExit(3)


class Strange(Exception, metaclass=Odd):
    pass


def test_settings_that_raise_when_they_are_looked_at_leave_it_to_the_master() -> None:
    """They run in the thread that must report the failure."""
    assert failed_attempt(1, 1, ValueError(), settings=HandlerSettings(give_up_on=(Strange,))).retry_ms == 0


@taskmaster.handler(concurrency=7, retry_on=OSError, give_up_on=[KeyError, IndexError])
def decorated(job: object) -> None:
    pass


def test_a_decorated_handler_is_still_itself_and_has_settings() -> None:
    assert decorated.__name__ == "decorated" and settings_of(print) == NO_SETTINGS
    assert settings_of(decorated) == HandlerSettings(concurrency=7, retry_on=(OSError,),
                                                     give_up_on=(KeyError, IndexError))


@pytest.mark.parametrize("wrong", [
    {"concurrency": 0}, {"attempts": 1.5}, {"timeout": 0}, {"backoff": "2"}, {"retry_on": "OSError"},
    {"give_up_on": [ValueError, 3]}])
def test_settings_that_make_no_sense_are_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"@handler\({next(iter(wrong))}"):
        taskmaster.handler(**wrong)


def test_seconds_are_no_negative_number() -> None:
    with pytest.raises(ValueError, match="after=-1"):
        Retry(after=-1)


def test_a_day_is_the_longest_wait() -> None:
    assert defaults.RETRY_AFTER_SECONDS_MOST == 86_400

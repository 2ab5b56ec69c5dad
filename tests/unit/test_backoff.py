"""Delays between tries, as a table."""

from __future__ import annotations

import pytest

from taskmaster import defaults
from taskmaster.core.backoff import Backoff
from taskmaster.core.retrying import RETRY
from taskmaster.fleet.restarts import BACKOFF as RESTARTS


@pytest.mark.parametrize("failures, seconds", [(1, 0.1), (2, 0.2), (3, 0.4), (6, 3.2), (7, 5.0), (5000, 5.0)])
def test_a_delay_doubles_from_failure_to_failure_up_to_its_limit(failures: int, seconds: float) -> None:
    assert Backoff(0.1, 5.0).delay(failures) == pytest.approx(seconds)


@pytest.mark.parametrize("backoff, least, most", [
    (RETRY, defaults.RETRY_SECONDS, 1.25 * defaults.RETRY_SECONDS), (RESTARTS, 0.375, 0.5)])
@pytest.mark.parametrize("first", [0, 10 ** 12])
def test_what_failed_together_is_not_tried_again_together(backoff: Backoff, least: float, most: float,
                                                          first: int) -> None:
    delays = sorted(backoff.delay(1, key) for key in range(first, first + 50))
    assert least <= delays[0] and delays[-1] <= most
    assert min(later - sooner for sooner, later in zip(delays, delays[1:])) > (most - least) / 200
    assert delays == sorted(backoff.delay(1, key) for key in range(first, first + 50))


def test_without_a_spread_the_key_does_not_matter() -> None:
    assert {Backoff(1.0, 8.0).delay(2, key) for key in range(10)} == {2.0}

"""Which deaths count against a job, how many it takes to find one that kills its slave, and whom nobody may charge."""

from __future__ import annotations

import pytest

from taskmaster.core.abandoned import AbandonedJob
from taskmaster.core.blame import INNOCENT_DEATHS, Suspicion
from taskmaster.core.codec import GoodJobs, encode
from taskmaster.core.window import Window

MUCH = 1 << 20


def window(jobs: int, attempts: int = 3) -> Window:
    made = Window(0, 1000, MUCH, attempts)
    [good] = encode(list(range(jobs)), "pickle", MUCH)
    assert isinstance(good, GoodJobs)
    made.admit(good.batch)
    return made


def kill_with(made: Window, job: int, blame: bool, most: int) -> tuple[int, list[AbandonedJob]]:
    """Slaves come one after the other, and each that is given `job` dies, until nothing is left or `most` have died."""
    deaths, abandoned = 0, []
    while made.in_flight and deaths < most:
        held = made.lease_suspect("s", 1, 0.0) or made.lease("s", 1, 64, MUCH, 0.0)
        if any(chunk.first <= job < chunk.end for chunk in held):
            deaths += 1
            abandoned += made.forfeit("s", "killed by SIGKILL", blame)
        else:
            for chunk in held:
                made.settle("s", chunk.first, chunk.count)
    return deaths, abandoned


def test_a_job_alone_survives_ten_deaths_without_evidence_and_is_no_suspect() -> None:
    made = window(1, attempts=1)
    assert kill_with(made, 0, blame=False, most=INNOCENT_DEATHS) == (10, [])


@pytest.mark.parametrize("attempts", [1, 3])
def test_a_job_that_sends_its_slave_sigkill_is_found_after_ten_deaths_alone(attempts: int) -> None:
    deaths, abandoned = kill_with(window(1, attempts), 0, blame=False, most=100)
    assert deaths == INNOCENT_DEATHS + attempts
    assert [(job.offset, job.kind, job.attempts) for job in abandoned] == [(0, "killed", attempts)]


@pytest.mark.parametrize("job", [0, 37, 63])
def test_among_many_jobs_it_is_singled_out_first_and_no_other_is_charged(job: int) -> None:
    """Without this the whole lease was handed out again and again, and its slaves died for ever."""
    deaths, abandoned = kill_with(window(64), job, blame=False, most=100)
    assert [one.offset for one in abandoned] == [job]
    assert deaths <= 2 * INNOCENT_DEATHS + 2 + 3


def test_deaths_without_evidence_do_not_count_towards_those_with() -> None:
    made = window(4)
    for blame in (False, True, False, False):
        made.lease("s", 1, 4, MUCH, 0.0)
        assert made.forfeit("s", "killed", blame) == [] and not made.suspects


def test_evidence_against_a_job_counts_though_others_were_innocent() -> None:
    suspicion = Suspicion()
    for blame in (False, True, False, True, False, True):
        suspicion = suspicion.after_death(alone=True, blame=blame)
    assert (suspicion.deaths, suspicion.isolated_deaths, suspicion.innocent_deaths) == (3, 1, 3)


def test_a_death_is_withdrawn_once() -> None:
    suspicion = Suspicion()
    for _ in range(INNOCENT_DEATHS):
        suspicion = suspicion.after_death(alone=False, blame=False)
    assert suspicion.isolated
    back = suspicion.withdrawn()
    assert not back.isolated and back.innocent_deaths == INNOCENT_DEATHS - 1 and back.withdrawn() == back


def test_what_evidence_has_shown_is_not_withdrawn() -> None:
    suspicion = Suspicion().after_death(alone=False, blame=False).after_death(alone=False, blame=True)
    assert suspicion.withdrawn() == suspicion

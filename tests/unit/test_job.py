"""What `get_jobs` may yield, taken apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from taskmaster.job import NO_CURSOR, Job, unwrap, unwrap_all


@dataclass(frozen=True)
class Row(Job):
    """A user's own kind of Job."""

    table: str = "rows"


@pytest.mark.parametrize("job, payload, cursor", [
    ("a", "a", NO_CURSOR), (None, None, NO_CURSOR), (Job("a"), "a", NO_CURSOR), (Job("a", 5), "a", 5),
    (Row("a", 5), "a", 5), (Job(Job("a", 1), 2), Job("a", 1), 2)])
def test_a_job_is_unwrapped_once(job: Any, payload: Any, cursor: Any) -> None:
    assert unwrap(job) == (payload, cursor)


@pytest.mark.parametrize("jobs, cursors", [
    ([], None), ([1, "a", None], None), ([Job(1), Job(2, 5)], [NO_CURSOR, 5]), ([Row(1, 4), Job(2, 5)], [4, 5]),
    ([1, Row(2, 5), None], [NO_CURSOR, 5, NO_CURSOR])])
def test_several_jobs_are_unwrapped_as_each_alone(jobs: list[Any], cursors: list[Any] | None) -> None:
    assert unwrap_all(jobs) == ([unwrap(job)[0] for job in jobs], cursors)

"""A workload's state is found again by the same target and arguments, however the run is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskmaster.master.workload import workload_of
from taskmaster.targets.load import parse_target


def get_jobs(last: int = 0, n: int = 5) -> range:
    return range(last, n)


SOURCE, HANDLER = parse_target("jobs:get_jobs", "get_jobs"), parse_target("jobs:handle_job", "handle_job")


def test_its_state_is_kept_in_the_working_folder_under_a_name_of_its_own() -> None:
    one = workload_of(get_jobs, SOURCE, HANDLER, {"n": 5}, {"n": "5"}, None)
    assert one.state is not None and one.state.parent == Path.cwd() / ".taskmaster"
    assert one.state.name.startswith("jobs.get_jobs-")
    assert (one.identity.target, one.identity.arguments, one.identity.handler) == (
        "jobs:get_jobs", {"n": "5"}, "jobs:handle_job")


@pytest.mark.parametrize("source, texts, same", [
    (SOURCE, {"n": "5"}, True), (SOURCE, {"n": "6"}, False), (SOURCE, {}, False),
    (parse_target("jobs:others", "get_jobs"), {"n": "5"}, False)])
def test_the_same_target_and_arguments_have_the_same_state(source: object, texts: dict[str, str], same: bool) -> None:
    one = workload_of(get_jobs, SOURCE, HANDLER, {"n": 5}, {"n": "5"}, None)
    other = workload_of(get_jobs, source, HANDLER, {}, texts, None)  # type: ignore[arg-type]
    assert (one.state == other.state) == same


def test_a_folder_that_is_given_is_used() -> None:
    assert workload_of(get_jobs, SOURCE, HANDLER, {}, {}, Path("elsewhere")).state == Path.cwd() / "elsewhere"

"""What a slave's end means, as a table; and how OOM kills are counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskmaster.fleet.base import DONE, READY, Exit
from taskmaster.fleet.exits import exit_of, final_code, fleet_code, not_started
from taskmaster.fleet.oom import oom_kills

AT_WORK = frozenset({READY})
LEFT = frozenset({READY, DONE})
NOTHING: frozenset[str] = frozenset()


@pytest.mark.parametrize("code, heard, oom, words, blame, restart", [
    (0, LEFT, False, "exit 0", False, False),
    (75, LEFT, False, "exit 75", False, True),
    (69, LEFT, False, "exit 69", False, False),
    (78, LEFT, False, "exit 78", False, False),
    (1, LEFT, False, "exit 1", False, True),
    (2, NOTHING, False, "exit 2", False, False),  # before it was ready: no job ran
    (0, AT_WORK, False, "exit 0 in the middle of its work", True, True),
    (78, AT_WORK, False, "exit 78 in the middle of its work", True, True),
    (-11, AT_WORK, False, "killed by SIGSEGV", True, True),
    (-6, AT_WORK, False, "killed by SIGABRT", True, True),
    (-7, AT_WORK, False, "killed by SIGBUS", True, True),
    (-4, AT_WORK, False, "killed by SIGILL", True, True),
    (-8, AT_WORK, False, "killed by SIGFPE", True, True),
    (-9, AT_WORK, True, "killed by SIGKILL (out of memory)", True, True),
    (-9, AT_WORK, False, "killed by SIGKILL", False, True),
    (-15, AT_WORK, True, "killed by SIGTERM", False, True),
    (-1, AT_WORK, False, "killed by SIGHUP", False, True),
    (-35, AT_WORK, False, "killed by signal 35", False, True),
])
def test_an_end_is_blamed_on_the_job_only_if_the_job_can_have_caused_it(
        code: int, heard: frozenset[str], oom: bool, words: str, blame: bool, restart: bool) -> None:
    found = exit_of(code, heard, oom)
    assert (found.words, found.blame, found.restart) == (words, blame, restart)
    assert found.code == (1 if "middle" in words else code)


def test_a_slave_that_could_not_be_started_is_tried_again() -> None:
    assert not_started(OSError("no memory")) == Exit(1, "not started: no memory", blame=False, restart=True)


@pytest.mark.parametrize("code, final", [(-15, 75), (75, 75), (0, 0), (69, 69), (78, 78), (1, 1)])
def test_a_slave_that_ended_because_it_was_asked_to_leaves_75(code: int, final: int) -> None:
    assert final_code(exit_of(code, LEFT)) == final


@pytest.mark.parametrize("codes, whole", [
    ([0, 0], 0), ([0, 69], 69), ([69, 1, 0], 1), ([1, 2], 2), ([77, 78, 1], 78), ([69, 77, 0], 77),
    ([0, 75], 75), ([75, 69], 69), ([75, 1], 1)])
def test_the_gravest_code_is_that_of_the_fleet(codes: list[int], whole: int) -> None:
    assert fleet_code(codes) == whole


def system(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / {"group": "proc/self/cgroup", "vmstat": "proc/vmstat",
                       "events": "sys/fs/cgroup/users/me/memory.events",
                       "root_events": "sys/fs/cgroup/memory.events"}[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


VMSTAT = "pgfault 12\noom_kill 7\npgmajfault 1\n"


def test_kills_in_our_own_control_group_go_before_those_of_the_machine(tmp_path: Path) -> None:
    group = "0::/users/me\n"
    assert oom_kills(system(tmp_path, group=group, vmstat=VMSTAT, events="oom 3\noom_kill 0\n")) == 0
    assert oom_kills(system(tmp_path, group=group, vmstat=VMSTAT, events="oom 3\noom_kill 2\n")) == 2


def test_a_container_sees_its_control_group_as_the_root(tmp_path: Path) -> None:
    assert oom_kills(system(tmp_path, group="0::/\n", vmstat=VMSTAT, root_events="oom_kill 3\n")) == 3


def test_without_a_control_group_the_machine_s_number_counts(tmp_path: Path) -> None:
    assert oom_kills(system(tmp_path, group="4:memory:/users/me\n0::/\n", vmstat=VMSTAT)) == 7


def test_a_system_that_does_not_count_has_no_kills(tmp_path: Path) -> None:
    assert oom_kills(tmp_path) == 0

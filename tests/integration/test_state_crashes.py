"""A state that is being saved when its master is killed or the machine dies."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from support.state_folder import Crash, PowerSwitch, at, refusing

from taskmaster.master.state.folder import StateFolder

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("links", [True, False])
def test_a_crash_between_any_two_system_calls_leaves_a_checkpoint_twice_over(
    links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", refusing(errno.EPERM))
    crashes = 0
    for lasts in range(100):
        path = tmp_path / str(lasts)
        with StateFolder(path) as folder:
            folder.save(at(1))
            folder.save(at(2))
            try:
                with monkeypatch.context() as patch:
                    PowerSwitch(patch, lasts)
                    folder.save(at(3))
                    break
            except Crash:
                crashes += 1
        with StateFolder(path) as following:
            assert (path / "checkpoint.json").exists()
            assert following.load() in (at(2), at(3))
            following.save(at(4))  # whatever the crash left lying does not disturb the next save
            assert following.load() == at(4)
            (path / "checkpoint.json").write_bytes(b"")
            assert following.load() in (at(2), at(3))
    else:
        pytest.fail("the save never came to its end")
    assert crashes >= 8


SAVER = """
import sys
from taskmaster.master.state.checkpoint import Checkpoint
from taskmaster.master.state.failures import FailuresFile
from taskmaster.master.state.folder import StateFolder
with StateFolder(sys.argv[1]) as folder:
    found = folder.load()
    offset = found.offset if found else 0
    while True:
        offset += 1
        folder.save(Checkpoint("0" * 32, 1, offset, "x" * 5000, True, "jobs"))
        folder.handed_out.note(offset)
        print(offset, flush=True)
"""


def test_kill_9_in_the_middle_of_saving_never_loses_what_was_acknowledged(tmp_path: Path) -> None:
    state = tmp_path / "state"
    draw = random.Random(20240506)
    newest = 0
    for _ in range(30):
        command = [sys.executable, "-c", SAVER, str(state)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            for _ in range(draw.randrange(1, 60)):
                newest = int(child.stdout.readline())
            child.kill()
            # What was acknowledged between our last line and the kill; a line may be torn.
            for line in child.stdout.read().splitlines(keepends=True):
                newest = int(line) if line.endswith(b"\n") else newest
        assert (state / "checkpoint.json").exists()
        with StateFolder(state) as folder:
            found = folder.load()
            assert found is not None and found.offset >= newest
            marked = folder.handed_out.read()
            assert marked is not None and marked > newest
    assert newest > 30

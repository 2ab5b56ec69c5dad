"""The state folder is taken away from a running master: it ends and says so, and nothing is lost."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import Place, numbers, wait_until

SLOW = '''
def handle_job(job):
    time.sleep(0.01)
    record(job)
'''


def _deleted(state: Path) -> None:
    shutil.rmtree(state)


def _moved(state: Path) -> None:
    state.rename(state.with_name("moved"))


def _unlocked(state: Path) -> None:
    (state / "lock").unlink()


@pytest.mark.parametrize("lose", [_deleted, _moved, _unlocked])
def test_a_master_ends_when_its_state_is_taken_away(place: Place, lose: Callable[[Path], None]) -> None:
    place.write(SLOW)
    options = ("work.py", 1, "n=2000", "--concurrency", 2, "--state", "state")
    running = place.start("run", *options)
    wait_until(lambda: len(place.handled()) > 100)
    lose(place.folder / "state")
    ended = running.end()
    assert (ended.code, ended.tracebacks) == (74, 0), ended.err
    assert ended.explained(f"The state in {place.folder}/state cannot be saved any more", "moved or removed")
    assert len(place.handled()) < 2000
    assert place.run("run", *options).code == 0
    assert set(place.handled()) == numbers(2000)

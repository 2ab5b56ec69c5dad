"""A disk whose fsync takes seconds is named in the log, once in a while."""

from __future__ import annotations

import os
import time
from math import inf
from pathlib import Path

import pytest
from support.state_folder import at
from support.values import failure_record

from taskmaster import durable
from taskmaster.master.state.failures import FailuresFile
from taskmaster.master.state.folder import StateFolder


class Clock:
    """In which each fsync takes `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.now = 1000.0
        self.seconds = seconds

    def fsync(self, file: int) -> None:
        self.now += self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Clock:
    made = Clock(request.param)
    monkeypatch.setattr(durable, "_warn_from", [-inf])
    monkeypatch.setattr(os, "fsync", made.fsync)
    monkeypatch.setattr(time, "monotonic", lambda: made.now)
    return made


@pytest.mark.parametrize("clock, lines", [(0.9, 0), (1.1, 1), (4.0, 1), (25.0, 2)], indirect=["clock"])
def test_a_slow_disk_is_named_once_in_a_minute(folder: StateFolder, clock: Clock, lines: int,
                                               caplog: pytest.LogCaptureFixture) -> None:
    folder.save(at(1))
    folder.save(at(2))
    assert caplog.text.count("The disk is slow") == lines
    assert lines == 0 or f"fsync in {folder.path} took {clock.seconds:.1f} s" in caplog.text


@pytest.mark.parametrize("clock", [3.0], indirect=True)
def test_so_is_one_that_is_slow_for_failures(clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    FailuresFile(tmp_path / "failures.jsonl").append([failure_record(1)])
    assert f"fsync in {tmp_path} took 3.0 s" in caplog.text

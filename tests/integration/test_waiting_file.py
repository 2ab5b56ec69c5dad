"""Results behind a slow job on a real disk: there for as long as a checkpoint counts on them, whatever happens."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytest
from support.limits import no_file_larger_than

from taskmaster.core.identity import IDENTITY_BYTES
from taskmaster.core.pending_results import ResultsToSave
from taskmaster.core.results import Results
from taskmaster.core.settled import Above
from taskmaster.master.state.results_log import ResultsLog
from taskmaster.master.state.waiting_file import WaitingFile
from taskmaster.sinks.jsonl import JsonLines


def results(*offsets: int) -> tuple[Results, ...]:
    return tuple(Results(at, 1, b"%d\n" % at) for at in offsets)


def waiting(*offsets: int, anew: bool = False) -> ResultsToSave:
    return ResultsToSave((), results(*offsets), 3, counts=True, anew=anew)


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def save(file: WaitingFile, given: ResultsToSave) -> Any:
    said = file.write(given)
    file.saved(said)
    return said


def test_the_next_master_reads_what_a_checkpoint_names(tmp_path: Path) -> None:
    file = WaitingFile(tmp_path)
    assert file.open(None) == []
    save(file, waiting(4, anew=True))
    said = save(file, waiting(6, 5))
    file.write(waiting(7))  # it is killed before a checkpoint says so
    file.close()

    assert WaitingFile(tmp_path).open(said) == [*results(4), *results(6, 5)]


def test_the_old_file_stays_until_a_checkpoint_names_the_new_one(tmp_path: Path) -> None:
    file = WaitingFile(tmp_path)
    old = save(file, waiting(4, anew=True))
    new = file.write(waiting(5, anew=True))
    assert WaitingFile(tmp_path / ".").open(old) == [*results(4)]  # if it is killed here: this removes the new one
    file.write(waiting(5, anew=True))
    file.saved(new)
    assert names(tmp_path) == ["waiting-results-2"]
    assert WaitingFile(tmp_path).open(new) == [*results(5)]


def test_nothing_is_left_once_nothing_waits(tmp_path: Path) -> None:
    file = WaitingFile(tmp_path)
    assert save(file, ResultsToSave()) is None
    save(file, waiting(4, anew=True))
    assert save(file, ResultsToSave()) == {"file": 1, "size": 0, "since": 3}
    assert names(tmp_path) == []
    said = save(file, waiting(9, anew=True))
    assert names(tmp_path) == ["waiting-results-2"]
    file.write(ResultsToSave())  # a checkpoint says so, and it is killed before it removes the file
    assert WaitingFile(tmp_path).open({**said, "size": 0}) == [] and names(tmp_path) == []


def test_a_disk_that_is_full_for_a_while_costs_nothing(tmp_path: Path) -> None:
    file = WaitingFile(tmp_path)
    save(file, waiting(4, anew=True))
    with no_file_larger_than(10), pytest.raises(OSError):
        file.write(waiting(5, 6, 7))
    said = save(file, waiting(5, 6, 7))
    assert WaitingFile(tmp_path).open(said) == [*results(4, 5, 6, 7)]


@pytest.mark.parametrize("damage", ["removed", "cut", "zeros"])
def test_the_jobs_of_lost_results_run_again(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    above = Above(((1, 1), (2, 4)), bytes(5 * IDENTITY_BYTES))
    sink = tmp_path / "out.jsonl"
    log = ResultsLog(JsonLines(sink), "out.jsonl", WaitingFile(tmp_path))
    log.open(None, Above())
    said = log.write(waiting(5, 3, 4, anew=True))
    log.saved(said)
    log.close()
    path = tmp_path / "waiting-results-1"
    if damage == "removed":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] if damage == "cut" else bytes(path.stat().st_size))
    with caplog.at_level(logging.WARNING):
        _, settled, found = ResultsLog(JsonLines(sink), "out.jsonl", WaitingFile(tmp_path)).open(said, above)

    assert settled.runs == ((1, 2),) and not found
    assert "Their jobs run again" in caplog.text

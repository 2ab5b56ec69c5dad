"""A job that is stuck on one slave at the end of a run does not hold up the run."""

from __future__ import annotations

import signal

import pytest
from helpers import Place, free_port, wait_until

from taskmaster import defaults

STUCK = '''
def get_jobs(last=0, n: int = 40):
    yield from range(last, n)

def handle_job(job):
    """The first process that gets job 30 is stuck there."""
    if job == 30:
        try:
            os.close(os.open("stuck", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            pass
        else:
            time.sleep(600)
    time.sleep(0.01)
    record(job)
    return job
'''
SOON_SECONDS = 60.0  # generous: it takes three or so


@pytest.mark.parametrize("concurrency", [1, 10])
def test_a_stuck_job_is_run_by_another_slave_and_the_run_ends(place: Place, concurrency: int) -> None:
    place.write(STUCK)
    ended = place.start("run", "work.py", 2, "--concurrency", concurrency, "--summary", "summary.json", "--results",
                        "out.jsonl").end(SOON_SECONDS)

    assert ended.code == 0, ended.err
    assert set(place.handled()) == set(map(str, range(40)))
    assert "backup attempts:  1 at slow jobs, 1 of them done first" in ended.out + ended.err
    assert "is killed" not in ended.err, "the slave where it is stuck ends by itself"
    summary = place.summary()
    assert (summary["handled"], summary["backups"], summary["backups_won"]) == (40, 1, 1)
    lines = (place.folder / "out.jsonl").read_text().splitlines()
    assert len(lines) == 40 and len(set(lines)) == 40


def test_without_backup_attempts_it_is_waited_for(place: Place) -> None:
    place.write(STUCK)
    run = place.start("run", "work.py", 2, "--no-backup-attempts", "--grace", 0)
    assert wait_until(lambda: len(place.handled()) == 39)
    assert not wait_until(lambda: run.process.poll() is not None, 3 * defaults.BACKUP_SECONDS)
    run.signal(signal.SIGTERM)
    assert run.end().code == 75 and place.handled()["30"] == 0


def test_slaves_of_other_processes_are_not_held_up_either(place: Place) -> None:
    place.write(STUCK)
    address = f"tcp://127.0.0.1:{free_port()}"
    spawned = place.start("spawn", "work.py", 2, "--address", address, "--insecure", "--concurrency", 1)
    ended = place.start("master", "work.py", "--address", address, "--insecure").end(SOON_SECONDS)
    assert ended.code == 0, ended.err
    assert spawned.end(SOON_SECONDS).code == 0

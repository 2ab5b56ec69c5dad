"""Whatever dies, hangs or fills up during a run: nothing is lost, little is repeated, nothing is left behind."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
from pathlib import Path

import pytest
from helpers import Place, numbers, processes_in, threads_of, wait_until

FAILURES, UNWRITABLE, INTERRUPTED = 3, 74, 75

SLOW = '''
def handle_job(job):
    time.sleep(0.01)
    record(job)
'''


def at_work(place: Place, jobs: int = 20) -> bool:
    """Once some jobs have been handled."""
    return wait_until(lambda: len(place.handled()) >= jobs)


# -- deaths

def test_the_jobs_of_a_killed_slave_run_elsewhere(place: Place) -> None:
    place.write(SLOW)
    run = place.start("run", "work.py", 2, "n=600")
    assert at_work(place)
    os.kill(run.slaves()[0], signal.SIGKILL)
    ended = run.end()
    assert ended.code == 0 and "killed by SIGKILL" in ended.err
    assert place.handled().keys() == numbers(600)
    assert max(place.handled().values()) <= 2


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_run_drains_and_its_resume_repeats_nothing(place: Place, signum: int) -> None:
    place.write(SLOW)
    run = place.start("run", "work.py", 2, "n=800")
    assert at_work(place)
    run.signal(signum)
    ended = run.end()
    assert (ended.code, ended.tracebacks) == (INTERRUPTED, 0)
    assert "resume with:" in ended.err
    assert len(place.handled()) < 800
    assert place.run("run", "work.py", 2, "n=800", "--summary", "summary.json").code == 0
    assert place.handled().keys() == numbers(800) and set(place.handled().values()) == {1}
    assert place.summary()["replayed"] == 0


def test_a_second_interrupt_ends_the_run_at_once_with_a_sound_state(place: Place) -> None:
    place.write('''
def handle_job(job):
    record(job)
    time.sleep(0 if job < 50 or os.path.exists('on') else 100)
''')
    run = place.start("run", "work.py", 2)
    assert at_work(place, 51)
    run.signal(signal.SIGINT)
    assert not wait_until(lambda: run.process.poll() is not None, 0.5), "did not wait for the running jobs"
    run.signal(signal.SIGINT)
    assert run.end(5).code == INTERRUPTED
    (place.folder / "on").touch()
    assert place.run("run", "work.py", 2).code == 0
    assert place.handled().keys() == numbers(100)


def test_a_run_killed_again_and_again_loses_nothing(place: Place) -> None:
    place.write(SLOW)
    for _ in range(3):
        before = len(place.handled())
        run = place.start("run", "work.py", 2, "n=900", "--size", 200)
        assert at_work(place, before + 100)
        run.kill_group()
        assert wait_until(lambda: not processes_in(place.folder), 5), "slaves outlived their run"
    assert place.run("run", "work.py", 2, "n=900").code == 0
    assert place.handled().keys() == numbers(900)


def test_slaves_outlive_a_killed_master(place: Place) -> None:
    place.write(SLOW)
    here = ("--address", f"ipc://{place.folder}/socket")
    master = place.start("master", "work.py", "n=1500", *here)
    spawn = place.start("spawn", "work.py", 2, *here, "--timeout", 300)
    assert at_work(place) and wait_until(lambda: len(spawn.slaves()) == 2)
    slaves = spawn.slaves()
    master.kill_group()
    again = place.start("master", "work.py", "n=1500", *here)
    assert at_work(place, 700)
    assert spawn.slaves() == slaves
    assert again.end().code == 0 and spawn.end().code == 0
    assert place.handled().keys() == numbers(1500)


def test_a_killed_spawn_leaves_no_slave(place: Place) -> None:
    spawn = place.start("spawn", "work.py", 3, "--address", f"ipc://{place.folder}/none")
    assert wait_until(lambda: len(spawn.slaves()) == 3)
    spawn.signal(signal.SIGKILL)
    assert wait_until(lambda: not processes_in(place.folder), 5)


def test_a_slave_drains_on_one_interrupt(place: Place) -> None:
    place.write(SLOW)
    here = ("--address", f"ipc://{place.folder}/socket")
    master = place.start("master", "work.py", "n=600", *here)
    slave = place.start("slave", "work.py", *here)
    assert at_work(place)
    slave.signal(signal.SIGINT)
    ended = slave.end()
    assert (ended.code, ended.tracebacks) == (INTERRUPTED, 0)
    assert len(place.handled()) < 600
    assert place.run("slave", "work.py", *here).code == 0
    assert master.end().code == 0
    assert place.handled().keys() == numbers(600) and set(place.handled().values()) == {1}


def test_a_slave_without_a_master_leaves_when_asked(place: Place) -> None:
    slave = place.start("slave", "work.py", "--address", f"ipc://{place.folder}/none", "--log-level", "debug")
    assert wait_until(lambda: threads_of(slave.pid) > 10), "has not started"
    slave.signal(signal.SIGINT)
    assert slave.end(10).code == INTERRUPTED


def test_a_second_interrupt_ends_a_slave_that_is_busy(place: Place) -> None:
    place.write("\ndef handle_job(job):\n    record(job)\n    time.sleep(1000)\n")
    here = ("--address", f"ipc://{place.folder}/socket")
    place.start("master", "work.py", *here)
    slave = place.start("slave", "work.py", *here)
    assert at_work(place, 1)
    slave.signal(signal.SIGINT)
    assert not wait_until(lambda: slave.process.poll() is not None, 0.5), "did not wait for the running jobs"
    slave.signal(signal.SIGINT)
    assert slave.end(10).code == INTERRUPTED


def test_slaves_that_crash_as_they_start_are_given_up(place: Place) -> None:
    place.write("\nif os.path.basename(sys.argv[0]) == 'slave.py':\n    os._exit(11)\n")
    both = [place.start("spawn", "work.py", 1), place.start("run", "work.py", 1, "n=5")]
    spawn, run = [one.end() for one in both]
    assert (spawn.code, run.code) == (1, 1)
    assert "; not replaced after" in spawn.err and "; not replaced after" in run.err
    assert "All slaves have ended" in run.err and "resume with:" in run.err


# -- handlers

@pytest.mark.parametrize("deed", [
    "sys.exit(3)", "raise KeyboardInterrupt", "raise GeneratorExit", "raise StopIteration"])
def test_a_handler_that_would_end_its_thread_fails_its_job_only(place: Place, deed: str) -> None:
    place.write(f"\ndef handle_job(job):\n    if job == 50:\n        {deed}\n    record(job)\n")
    ended = place.run("run", "work.py", 1, "--attempts", 1)
    assert ended.code == FAILURES
    assert set(place.handled().items()) == {(job, 1) for job in numbers(100) - {"50"}}
    assert [(line["offset"], line["kind"]) for line in place.failures()] == [(50, "raised")]


@pytest.mark.parametrize("deed, how", [
    ("os._exit(9)", "exit 9"), ("__import__('ctypes').string_at(0)", "killed by SIGSEGV"), ("os._exit(0)", "exit 0"),
])
def test_a_job_that_kills_its_slave_is_found_and_kept_as_a_failure(place: Place, deed: str, how: str) -> None:
    place.write(f"\ndef handle_job(job):\n    if job == 50:\n        {deed}\n    record(job)\n")
    ended = place.run("run", "work.py", 2, "--attempts", 2)
    assert ended.code == FAILURES
    assert place.handled().keys() == numbers(100) - {"50"}
    [failure] = place.failures()
    assert (failure["offset"], failure["kind"]) == (50, "killed")
    assert how in failure["message"]


def test_a_job_that_hangs_is_failed_with_its_stack(place: Place) -> None:
    place.write("\ndef handle_job(job):\n    if job == 50:\n        time.sleep(1000)\n    record(job)\n")
    ended = place.run("run", "work.py", 2, "--attempts", 2, "--job-timeout", 0.5)
    assert ended.code == FAILURES
    assert place.handled().keys() == numbers(100) - {"50"}
    [failure] = place.failures()
    assert (failure["offset"], failure["kind"]) == (50, "timeout")
    assert "time.sleep(1000)" in failure["traceback"]


def test_a_handler_that_turns_slow_midway_strands_no_work(place: Place) -> None:
    place.write('''
def handle_job(job):
    if job >= 20_000:
        time.sleep(0.05)
    record(f"{os.getpid()} {job}")
''')
    assert place.run("run", "work.py", 2, "n=20400", "--summary", "summary.json").code == 0
    slow = [line.split() for line in place.handled() if int(line.split()[1]) >= 20_000]
    assert {job for _, job in slow} == numbers(20_000, 20_400)
    shares = [sum(pid == one for pid, _ in slow) for one in {pid for pid, _ in slow}]
    assert len(shares) == 2 and min(shares) > 40, "one slave sat on work while the other had none"


# -- sources

def test_a_source_that_blocks_for_ever_does_not_hold_up_the_end(place: Place) -> None:
    place.write("\ndef get_jobs(last=0):\n    yield from range(last, 10)\n    time.sleep(1000)\n")
    run = place.start("run", "work.py", 1)
    assert at_work(place, 10)
    run.signal(signal.SIGTERM)
    ended = run.end(10)
    assert (ended.code, ended.tracebacks) == (INTERRUPTED, 0)
    assert "every job below offset 10" in ended.err


def test_a_slow_source_has_each_job_handled_before_it_gives_the_next(place: Place) -> None:
    place.write('''
def get_jobs(last=0):
    for job in range(5):
        yield job
        deadline = time.monotonic() + 5
        while not os.path.exists(f"done-{job}") and time.monotonic() < deadline:
            time.sleep(0.01)
def handle_job(job):
    record(job)
    open(f"done-{job}", "w").close()
''')
    assert place.run("run", "work.py", 1, "--summary", "summary.json").code == 0
    assert place.handled().keys() == numbers(5)
    assert place.summary()["elapsed"] < 5, "a job waited for the one after it"


# -- disks

@pytest.fixture
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder on a disk of 256 KiB, where this user may make one."""
    folder = tmp_path_factory.mktemp("disk")
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], capture_output=True)
    if made.returncode != 0:
        pytest.skip("only root may mount a small disk")
    return folder


def test_a_disk_that_fills_up_stops_the_handing_out_until_there_is_room(place: Place, small_disk: Path) -> None:
    try:
        _fill_and_free(place, small_disk)
    finally:
        place.clean()
        subprocess.run(["umount", str(small_disk)], check=True)


def _fill_and_free(place: Place, small_disk: Path) -> None:
    place.write(SLOW)
    run = place.start("run", "work.py", 2, "n=3000", "--state", small_disk / "state")
    assert at_work(place)
    ballast = small_disk / "ballast"
    with open(ballast, "wb", buffering=0) as file, pytest.raises(OSError):
        while True:
            file.write(b"x" * 4096)
    assert wait_until(lambda: _stands_still(place), 30), "handed out more and more without a checkpoint"
    ballast.unlink()
    assert run.end().code == 0
    assert place.handled().keys() == numbers(3000) and set(place.handled().values()) == {1}


def _stands_still(place: Place) -> bool:
    before = len(place.handled())
    return not wait_until(lambda: len(place.handled()) > before, 1.0)


def _no_file_above(size: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_a_state_that_cannot_be_written_from_the_start_is_refused(place: Place) -> None:
    ended = place.run("run", "work.py", 1, preexec=lambda: _no_file_above(100))
    assert (ended.code, ended.tracebacks) == (UNWRITABLE, 0)
    assert ended.explained("cannot be written", "--state DIR")
    assert not place.handled()

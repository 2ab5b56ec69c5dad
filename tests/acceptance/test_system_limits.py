"""Too few files, threads or memory for a process: one sentence that names the limit, where ZeroMQ would abort."""

from __future__ import annotations

import resource
from collections.abc import Callable
from functools import partial

import pytest
from helpers import Ended, Place

from taskmaster.errors import EXIT_DONE_WITH_FAILURES, EXIT_ERROR

FILES = resource.RLIMIT_NOFILE
MEMORY = 700  # MiB: a slave with two threads begins with about 600, most of it reserved only


def limit(kind: int, most: int) -> Callable[[], None]:
    return partial(resource.setrlimit, kind, (most, most))


def refused(ended: Ended, *words: str) -> bool:
    return ended.code == EXIT_ERROR and ended.tracebacks == 0 and all(word in ended.err for word in words)


@pytest.mark.parametrize("files", [10, 12, 16, 20, 24])
def test_a_run_with_too_few_files_is_refused(place: Place, files: int) -> None:
    """With 12, libzmq ended the process with SIGABRT (134)."""
    ended = place.run("run", "work.py", 2, preexec=limit(FILES, files))
    assert refused(ended, f"`ulimit -n` shows {files}", "ulimit -n 1024"), ended
    assert not place.handled()


@pytest.mark.parametrize("command", [["master", "work.py"], ["slave", "work.py"], ["spawn", "work.py", 4]])
def test_so_is_each_command(place: Place, command: list[object]) -> None:
    ended = place.run(str(command[0]), *command[1:], "--address", f"ipc://{place.folder}/m",
                      preexec=limit(FILES, 12))
    assert refused(ended, "`ulimit -n` shows 12"), ended


def test_with_enough_files_it_runs(place: Place) -> None:
    assert place.run("run", "work.py", 2, preexec=limit(FILES, 40)).code == 0


def test_a_slave_without_room_for_its_threads_says_so_once(place: Place) -> None:
    """Each stack takes 8 MiB of address space: 2,000 threads do not fit into 4 GiB."""
    ended = place.run("run", "work.py", 1, "--concurrency", 1000, preexec=limit(resource.RLIMIT_AS, 4 << 30))
    assert refused(ended, "`ulimit -v`"), ended
    assert ended.err.count("No more threads can be started") == 1


def test_data_that_refer_to_themselves_and_fill_the_memory_fail_their_job_only(place: Place) -> None:
    """Python frees cycles when it allocates, not when it fails to: each step failed for lack of memory, for minutes."""
    place.write(f"""
import resource
if "slave" in sys.argv[0]:
    resource.setrlimit(resource.RLIMIT_AS, ({MEMORY} << 20, {MEMORY} << 20))

def handle_job(job):
    hog = {{}}
    while job == 57:
        hog[len(hog)] = (hog, str(len(hog)))
    record(job)
""")
    ended = place.run("run", "work.py", 1, "--concurrency", 2, "--attempts", 2)
    assert ended.code == EXIT_DONE_WITH_FAILURES and len(place.handled()) == 99
    [failure] = place.failures()
    assert (failure["offset"], failure["error"]) == (57, "MemoryError")

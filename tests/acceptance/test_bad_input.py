"""Whatever is wrong with what a user gives is told once, in a sentence, with the right exit code; nothing is lost."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers import ROOT, Place, numbers, wait_until

USAGE, FAILURES, SOURCE, TOO_MANY, GONE, UNWRITABLE, INTERRUPTED, MISMATCH = 2, 3, 4, 5, 69, 74, 75, 78
IMPATIENT = ("--timeout", 100, "--retries", 3)

VARIANTS = '''
value = 3
def two(first, second): pass
async def later(job): yield
def gives_none(): return None
def gives_five(): return 5
def needs(path: str): yield path
def typed(last=0, n: int = 1, quick: bool = False): yield 1
'''


@pytest.mark.parametrize("arguments, words", [
    (["nofile.py", 2], ["nofile.py", "Give a module"]),
    (["no_such_module", 2], ["no_such_module", "searched"]),
    (["work.py", 2, "--get-jobs-callback", "get_job"], ["get_job", "Did you mean 'get_jobs'?"]),
    (["work.py", 2, "--handle-job-callback", "value"], ["is not a function", "int"]),
    (["work.py", 2, "--handle-job-callback", "two"], ["called with one job", "def handle_job(job)"]),
    (["work.py", 2, "--handle-job-callback", "later"], ["later(job) yields", "without yield"]),
    (["work.py", 0], ["PROCS"]),
    (["work.py", "zwei"], ["PROCS", "zwei"]),
    (["work.py"], ["PROCS"]),
    (["work.py", 2, "n"], ["'n' is not KEY=VALUE"]),
    (["work.py", 2, "m=5"], ["No argument 'm'", "get_jobs(last=0, n: int = 100)"]),
    (["work.py", 2, "n=many"], ["n=many is not a valid int"]),
    (["work.py", 2, "quick=perhaps", "--get-jobs-callback", "typed"], ["quick=perhaps is not a valid bool"]),
    (["work.py", 2, "last=5"], ["'last' comes from the checkpoint"]),
    (["work.py", 2, "--get-jobs-callback", "needs"], ["Missing path=VALUE"]),
    (["work.py", 2, "--max-failures", "lots"], ["--max-failures", "'lots'"]),
    (["work.py", 2, "--sizee", 5], ["--sizee", "--size"]),
    (["work.py", 2, "--summary", "no/such/folder.json"], ["--summary", "no/such"]),
])
def test_wrong_usage_is_told_in_a_sentence(place: Place, arguments: list[object], words: list[str]) -> None:
    place.write(VARIANTS)
    ended = place.run("run", *arguments)
    assert (ended.code, ended.tracebacks) == (USAGE, 0)
    assert ended.explained(*words), ended.err
    assert not place.handled()


@pytest.mark.parametrize("command, more", [("run", [2]), ("spawn", [2]), ("slave", [])])
@pytest.mark.parametrize("text, words", [
    ("import no_such_thing", ["No module named 'no_such_thing'", "PYTHONPATH"]),
    ("raise ValueError('mine')", ["ValueError: mine"]),
    ("def f(:", ["SyntaxError"]),
    ("raise SystemExit('bye')", ["__name__ == '__main__'"]),
])
def test_a_module_that_fails_to_import_is_shown_once(place: Place, command: str, more: list[object], text: str,
                                                     words: list[str]) -> None:
    (place.folder / "broken.py").write_text(text + "\n")
    ended = place.run(command, "broken.py", *more)
    assert ended.code == USAGE
    assert ended.err.count("Importing broken.py failed") == 1, ended.err  # and no storm of slaves that restart
    assert all(word in ended.err for word in words)
    assert str(ROOT / "taskmaster") not in ended.err, "the user's traceback shows our own frames"


@pytest.mark.parametrize("command, arguments", [
    ("master", ["work.py"]), ("slave", ["work.py"]), ("spawn", ["work.py", 1])])
@pytest.mark.parametrize("address", ["here", "tcp://127.0.0.1", "tcp://127.0.0.1:99999", "udp://1.2.3.4:5"])
def test_a_malformed_address_is_refused(place: Place, command: str, arguments: list[object], address: str) -> None:
    ended = place.run(command, *arguments, "--address", address)
    assert (ended.code, ended.tracebacks) == (USAGE, 0)
    assert ended.explained(address, "Give tcp://HOST:PORT")


@pytest.fixture
def taken() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"


def test_an_address_in_use_is_refused(place: Place, taken: str) -> None:
    ended = place.run("master", "work.py", "--address", taken)
    assert (ended.code, ended.tracebacks) == (USAGE, 0)
    assert ended.explained(taken, "in use", "--address")


@pytest.mark.parametrize("command, more", [("slave", []), ("spawn", [2])])
def test_a_slave_without_a_master_gives_up(place: Place, taken: str, command: str, more: list[object]) -> None:
    ended = place.run(command, "work.py", *more, "--address", taken, *IMPATIENT)
    assert (ended.code, ended.tracebacks) == (GONE, 0)
    assert f"No master at {taken}" in ended.err


# -- the source

BAD_SOURCES = '''
def gives_none(): return None
def gives_five(): return 5
def at_once(): raise ValueError("at once")
def midway(last=0):
    for number in range(last, 300):
        if number == 150 and not os.path.exists("mended"):
            raise RuntimeError("midway")
        yield number
def exits():
    yield from range(5)
    raise SystemExit(9)
def interrupts():
    yield from range(5)
    raise KeyboardInterrupt
def nothing(): return []
'''


@pytest.mark.parametrize("name, shown", [("gives_none", "nothing (None)"), ("gives_five", "an int")])
def test_what_is_no_iterator_is_told(place: Place, name: str, shown: str) -> None:
    place.write(BAD_SOURCES)
    ended = place.run("run", "work.py", 1, "--get-jobs-callback", name)
    assert (ended.code, ended.tracebacks) == (SOURCE, 0)
    assert ended.explained(f"get_jobs returned {shown}, which cannot be iterated", "yield")


@pytest.mark.parametrize("name, error, handled", [
    ("at_once", "ValueError: at once", 0), ("midway", "RuntimeError: midway", 150),
    ("exits", "SystemExit: 9", 5), ("interrupts", "KeyboardInterrupt", 5)])
def test_a_source_that_raises_settles_what_it_gave_and_shows_the_users_traceback(
        place: Place, name: str, error: str, handled: int) -> None:
    place.write(BAD_SOURCES)
    ended = place.run("run", "work.py", 2, "--get-jobs-callback", name)
    assert (ended.code, ended.tracebacks) == (SOURCE, 1)
    assert error in ended.err and "work.py" in ended.err and "feeder.py" not in ended.err
    assert ended.explained("run the same command again")
    assert place.handled().keys() == numbers(handled)


def test_a_mended_source_goes_on_where_it_broke_and_repeats_nothing(place: Place) -> None:
    place.write(BAD_SOURCES)
    assert place.run("run", "work.py", 2, "--get-jobs-callback", "midway").code == SOURCE
    (place.folder / "mended").touch()
    ended = place.run("run", "work.py", 2, "--get-jobs-callback", "midway", "--summary", "summary.json")
    assert ended.code == 0
    assert place.handled().keys() == numbers(300) and set(place.handled().values()) == {1}
    assert place.summary()["replayed"] == 0


def test_a_source_whose_last_is_negative_by_default_runs_and_resumes(place: Place) -> None:
    """Its offsets begin at -1: slaves' reports of them were dropped as malformed, and the run stood still for ever."""
    place.write("\ndef get_jobs(last=-1):\n    yield from range(last + 1, 100)\n")
    for _ in range(2):
        assert place.run("run", "work.py", 2, "--limit", 60).code == 0
    assert place.handled().keys() == numbers(100) and set(place.handled().values()) == {1}


def test_a_source_without_jobs_is_a_good_end(place: Place) -> None:
    place.write(BAD_SOURCES)
    ended = place.run("run", "work.py", 2, "--get-jobs-callback", "nothing")
    assert ended.code == 0 and "no jobs" in ended.err


def test_a_source_without_last_is_resumed_by_skipping_and_told_so(place: Place) -> None:
    place.write("\ndef get_jobs():\n    yield from range(100)\n")
    assert place.run("run", "work.py", 2, "--limit", 30).code == 0
    assert place.handled().keys() == numbers(30)
    ended = place.run("run", "work.py", 2)
    assert ended.code == 0 and "has no parameter `last`" in ended.err
    assert place.handled().keys() == numbers(100) and set(place.handled().values()) == {1}


CHANGING = '''
def get_jobs(last=0):
    base = 1000 if os.path.exists("changed") else 0
    yield from range(base + last, base + 400)
def handle_job(job):
    time.sleep(0.02)
    record(job)
'''


def test_a_source_that_changed_is_refused_with_the_way_out(place: Place) -> None:
    place.write(CHANGING)
    first = place.start("run", "work.py", 1)
    assert wait_until(place.handled)
    first.signal(signal.SIGTERM)
    assert first.end().code == INTERRUPTED
    before = len(place.handled())
    (place.folder / "changed").touch()
    refused = place.run("run", "work.py", 1)
    assert (refused.code, refused.tracebacks) == (MISMATCH, 0)
    assert refused.explained("The source has changed", "cursor=", "--reset", "--force-resume")
    assert len(place.handled()) == before, "jobs of the other source were run"
    assert place.run("run", "work.py", 1, "--force-resume").code == 0
    assert place.handled().keys() == numbers(before) | numbers(1000 + before, 1400)


def test_a_source_that_reuses_one_object_gives_each_job_as_it_was(place: Place) -> None:
    place.write('''
class Row:
    def __init__(self): self.number = 0
    def __repr__(self): return f"row {self.number}"
def get_jobs():
    row, table = Row(), {}
    for number in range(200):
        row.number = number
        yield row
    for number in range(200):
        table["number"] = number
        yield table
''')
    assert place.run("run", "work.py", 2).code == 0
    rows = {f"row {number}" for number in range(200)} | {str({"number": number}) for number in range(200)}
    assert place.handled().keys() == rows


# -- jobs

BAD_JOBS = '''
class Unmade:
    def __init__(self, number): self.number = number
    def __reduce__(self): return (unmake, (self.number,))
def unmake(number): raise ValueError(f"no such thing as {number}")
def with_bad(bad):
    for number in range(60):
        yield bad(number) if number == 30 else number
def unpicklable(): return with_bad(lambda number: lambda: number)
def undecodable(): return with_bad(Unmade)
def too_large(): return with_bad(lambda number: b"x" * (17 << 20))
def all_lambdas(): yield lambda: 1
'''


def test_a_first_job_that_cannot_be_pickled_ends_the_run(place: Place) -> None:
    place.write(BAD_JOBS)
    ended = place.run("run", "work.py", 1, "--get-jobs-callback", "all_lambdas")
    assert (ended.code, ended.tracebacks) == (1, 0)
    assert ended.explained("The very first job cannot be encoded", "such as an id or a path")


@pytest.mark.parametrize("name, kind", [
    ("unpicklable", "unpicklable"), ("undecodable", "undecodable"), ("too_large", "too large")])
def test_a_bad_job_goes_to_the_failures_file_and_spoils_nobody(place: Place, name: str, kind: str) -> None:
    place.write(BAD_JOBS)
    ended = place.run("run", "work.py", 2, "--get-jobs-callback", name)
    assert (ended.code, ended.tracebacks) == (FAILURES, 0)
    assert place.handled().keys() == numbers(60) - {"30"}
    assert [(line["offset"], line["kind"]) for line in place.failures()] == [(30, kind)]


def test_jobs_of_kinds_that_nobody_designed_for_arrive_as_they_left(place: Place) -> None:
    place.write('''
from dataclasses import dataclass, field
@dataclass(frozen=True)
class Inner:
    data: bytes
@dataclass
class Outer:
    inner: Inner
    many: list = field(default_factory=list)
JOBS = [Outer(Inner(b"\\x00\\xff"), [Outer(Inner(b""))]), b"\\x80",
        "\\ud800 lone", "\\N{SNOWMAN}", {1: {2: (3,)}}, None, 1.5, 2 ** 100]
def get_jobs(): return list(JOBS)
def handle_job(job):
    record([*map(repr, JOBS)].index(repr(job)))
''')
    assert place.run("run", "work.py", 2).code == 0
    assert place.handled().keys() == numbers(8)


# -- the state

def test_a_state_folder_that_cannot_be_is_refused(place: Place) -> None:
    (place.folder / "way").touch()
    ended = place.run("run", "work.py", 1, "--state", "way/state")
    assert (ended.code, ended.tracebacks) == (UNWRITABLE, 0)
    assert ended.explained("way/state", "cannot be written", "--state DIR")
    assert not place.handled()


@pytest.mark.parametrize("damage", [
    lambda path: path.write_bytes(path.read_bytes()[:20]),
    lambda path: path.write_bytes(path.read_bytes().replace(b'"epoch": 1', b'"epoch": 3')),
    lambda path: path.write_bytes(b""),
], ids=["cut", "changed", "emptied"])
def test_a_damaged_state_is_never_taken_for_a_new_one(place: Place, damage: Callable[[Path], object]) -> None:
    assert place.run("run", "work.py", 1, "--state", "state").code == 0
    for name in ("checkpoint.json", "checkpoint.prev.json"):
        damage(place.folder / "state" / name)
    ended = place.run("run", "work.py", 1, "--state", "state")
    assert (ended.code, ended.tracebacks) == (MISMATCH, 0)
    assert ended.explained("checkpoint", "--reset")
    assert set(place.handled().values()) == {1}
    assert place.run("run", "work.py", 1, "--state", "state", "--reset").code == 0
    assert set(place.handled().values()) == {2}


def test_a_damaged_checkpoint_falls_back_to_the_one_before(place: Place) -> None:
    assert place.run("run", "work.py", 1, "--state", "state").code == 0
    (place.folder / "state" / "checkpoint.json").write_text("x")
    ended = place.run("run", "work.py", 1, "--state", "state")
    assert ended.code == 0 and "checkpoint.prev.json" in ended.err
    assert place.handled().keys() == numbers(100)


@pytest.mark.parametrize("other, differs", [
    (["work.py", 1, "n=5"], "argument n"), (["other.py", 1], "other.py:get_jobs")])
def test_another_workloads_state_is_refused(place: Place, other: list[object], differs: str) -> None:
    place.write(name="other.py")
    assert place.run("run", "work.py", 1, "--state", "state").code == 0
    ended = place.run("run", *other, "--state", "state")
    assert (ended.code, ended.tracebacks) == (MISMATCH, 0)
    assert ended.explained(differs, "--state DIR", "--reset")


def test_a_second_master_on_one_state_is_refused(place: Place) -> None:
    first = place.start("master", "work.py", "--address", f"ipc://{place.folder}/one", "--state", "state")
    while not (place.folder / "state" / "checkpoint.json").exists():
        assert first.process.poll() is None
    ended = place.run("master", "work.py", "--address", f"ipc://{place.folder}/two", "--state", "state")
    assert (ended.code, ended.tracebacks) == (UNWRITABLE, 0)
    assert ended.explained("in use by another master", str(first.pid))


# -- options

def test_a_limit_holds_for_each_run(place: Place) -> None:
    for upto in (40, 80, 100):
        assert place.run("run", "work.py", 2, "--limit", 40).code == 0
        assert place.handled().keys() == numbers(upto) and set(place.handled().values()) == {1}
    assert "Nothing new" in place.run("run", "work.py", 2, "--limit", 40).err


def test_too_many_failures_stop_the_run_and_name_the_commonest(place: Place) -> None:
    place.write("\ndef handle_job(job):\n    raise OSError('the server is gone')\n")
    ended = place.run("run", "work.py", 2, "n=5000", "--attempts", 1, "--max-failures", 20)
    assert ended.code == TOO_MANY
    assert "x OSError: the server is gone" in ended.err and "resume with:" in ended.err
    place.write()
    assert place.run("run", "work.py", 2, "n=5000").code == 0  # the failed jobs are tried again
    assert place.handled().keys() == numbers(5000) and not place.failures()


def test_a_rate_is_held(place: Place) -> None:
    assert place.run("run", "work.py", 2, "n=60", "--rate", 60, "--summary", "summary.json").code == 0
    assert place.summary()["elapsed"] > 0.7  # a tenth of a second's worth may go out at once


def test_arguments_arrive_with_the_types_of_the_signature(place: Place) -> None:
    place.write('''
from pathlib import Path
def get_jobs(last=0, *, root: Path, quick: bool, share=0.5, name="x"):
    yield [type(root).__name__.replace("Posix", ""), str(root), quick, share, name]
''')
    ended = place.run("run", "work.py", 1, "root=a/b", "quick=yes", "share=2", "name=7")
    assert ended.code == 0
    assert list(place.handled()) == [str(["Path", "a/b", True, 2.0, "7"])]


def test_a_handler_may_print_what_it_likes(place: Place) -> None:
    place.write('''
def handle_job(job):
    print("x" * 2000, end="")
    print("to stderr", end="", file=sys.stderr)
    record(job)
''')
    ended = place.run("run", "work.py", 2)
    assert ended.code == 0
    assert ended.out.count("x") == 100 * 2000
    assert place.handled().keys() == numbers(100)


# -- from Python

def test_run_from_python_returns_the_outcome(place: Place) -> None:
    (place.folder / "script.py").write_text('''
import work, sys
from taskmaster import run
if __name__ == "__main__":
    outcome = run(work.get_jobs, work.handle_job, slaves=2, arguments={"n": 50})
    sys.exit(outcome.exit_code + outcome.stats.handled)
''')
    assert place.python("script.py").code == 50
    assert place.handled().keys() == numbers(50)


@pytest.mark.parametrize("handler", ["lambda job: None", "nested()", "functools.partial(work.handle_job)"])
def test_run_refuses_what_a_slave_could_not_import(place: Place, handler: str) -> None:
    (place.folder / "script.py").write_text(f'''
import functools, work
from taskmaster import run
from taskmaster.errors import TargetError
def nested():
    def inner(job): pass
    return inner
if __name__ == "__main__":
    try:
        run(work.get_jobs, {handler}, slaves=1)
    except TargetError as error:
        print("refused:", error)
''')
    ended = place.python("script.py")
    assert ended.out.startswith("refused:") and "could not import" in ended.out, ended.err

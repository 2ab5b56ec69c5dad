"""Every kind of sink: however often it is cut off, the results are those of an undisturbed run."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.limits import no_file_larger_than
from support.sinks import KINDS, Kind, PowerLoss, after_kill, pieces
from support.state_folder import refusing

from taskmaster.core.results import Results
from taskmaster.errors import StateMismatch, UsageError
from taskmaster.sinks.base import Sink

ROOT = Path(__file__).resolve().parents[2]
each_kind = pytest.mark.parametrize("kind", KINDS, ids=str)
each_order = pytest.mark.parametrize("in_order", [True, False], ids=["in order", "unordered"])


class Writer:
    """Writes pieces to a sink as the state writer does: each mark stands for so many of them, and survives JSON."""

    def __init__(self, kind: Kind, folder: Path, work: Sequence[Results]) -> None:
        self.kind = kind
        self.folder = folder
        self.work = work
        self.marks: list[tuple[int, Any]] = []
        self.at = 0
        self.sink = self.begin(None)

    def begin(self, mark: Any | None) -> Sink:
        self.sink = self.kind.sink(self.folder)
        self.sink.open(mark)
        self.flush()
        return self.sink

    def write(self, count: int) -> None:
        self.sink.write(self.work[self.at:self.at + count])
        self.at = min(len(self.work), self.at + count)

    def flush(self) -> None:
        mark = json.loads(json.dumps(self.sink.flush()))
        self.marks.append((self.at, mark))

    def back_to(self, index: int) -> Any:
        del self.marks[index + 1:]
        self.at, mark = self.marks[index]
        return mark

    def finish(self) -> Any:
        self.write(len(self.work))
        self.flush()
        self.sink.close()
        return self.kind.read(self.folder)


def undisturbed(kind: Kind, work: Sequence[Results], folder: Path) -> Any:
    folder.mkdir()
    return Writer(kind, folder, work).finish()


def act(writer: Writer, chance: random.Random) -> None:
    for _ in range(chance.randint(0, 4)):
        writer.write(chance.randint(0, 5))
        if chance.random() < 0.6:
            writer.flush()


def after_crashes(writer: Writer, crash: Callable[[Path, Path], object], chance: random.Random, crashes: int) -> Any:
    """Each is followed by a resume at any mark that was returned."""
    for number in range(crashes):
        act(writer, chance)
        if chance.random() < 0.3:  # something else could not be written: the same sink is opened again
            writer.sink.open(writer.back_to(len(writer.marks) - 1))
            act(writer, chance)
        new = writer.folder.with_name(f"after-{number}")
        crash(writer.folder, new)
        writer.sink.close()
        writer.folder = new
        index = chance.choice([len(writer.marks) - 1, chance.randrange(len(writer.marks))])
        writer.begin(writer.back_to(index))
    return writer.finish()


@each_kind
@each_order
@given(seed=st.integers(0, 2 ** 32))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_it_is_killed_anywhere_and_resumes_at_any_mark(kind: Kind, in_order: bool, seed: int) -> None:
    chance = random.Random(seed)
    work = pieces(chance, kind, 20, in_order)
    with tempfile.TemporaryDirectory() as place:
        first = Path(place, "first")
        first.mkdir()
        found = after_crashes(Writer(kind, first, work), lambda old, new: after_kill(old, new, chance), chance, 4)

        assert found == undisturbed(kind, work, Path(place, "plain"))


# What SQLite writes does not pass through os.fsync.
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.name != "out.sqlite"], ids=str)
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
@given(seed=st.integers(0, 2 ** 32))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_a_power_loss_leaves_a_mark_covers_what_was_flushed(kind: Kind, seed: int) -> None:
    chance = random.Random(seed)
    work = pieces(chance, kind, 20)
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        first = Path(os.path.realpath(place), "first")
        first.mkdir()
        power = PowerLoss(patch)

        found = after_crashes(Writer(kind, first, work), lambda old, new: power.cut(old, new, chance), chance, 4)

        assert found == undisturbed(kind, work, Path(place, "plain"))


@each_kind
@each_order
@given(seed=st.integers(0, 2 ** 32))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_disk_that_is_full_for_a_while_costs_nothing(kind: Kind, in_order: bool, seed: int) -> None:
    chance = random.Random(seed)
    work = pieces(chance, kind, 30, in_order)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "first")
        folder.mkdir()
        writer = Writer(kind, folder, work)
        act(writer, chance)
        path = folder / kind.name
        size = path.stat().st_size if path.is_file() else 0
        with pytest.raises(OSError) as raised, no_file_larger_than(size + chance.randint(0, 1000)):
            writer.write(len(work))
            writer.flush()

        assert str(path) in raised.value.filename
        writer.sink.open(writer.back_to(len(writer.marks) - 1))  # the same object, as the state writer has it
        assert writer.finish() == undisturbed(kind, work, Path(place, "plain"))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.name != "out.sqlite"], ids=str)
def test_after_a_failed_fsync_everything_since_the_mark_is_written_again(
    kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = pieces(random.Random(1), kind, 9)
    (tmp_path / "first").mkdir()
    writer = Writer(kind, tmp_path / "first", work)
    writer.write(3)
    writer.flush()
    writer.write(3)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refusing(errno.EIO))
        with pytest.raises(OSError, match="Input/output error"):
            writer.flush()
    writer.sink.open(writer.back_to(len(writer.marks) - 1))

    assert writer.finish() == undisturbed(kind, work, tmp_path / "plain")


KILLED = """
import json, random, sys
from pathlib import Path
sys.path.insert(0, "tests")
from support.sinks import KINDS, pieces
[kind] = [kind for kind in KINDS if kind.name == sys.argv[1]]
work = pieces(random.Random(7), kind, 400)
at, mark = json.loads(sys.argv[3])
sink = kind.sink(Path(sys.argv[2]))
sink.open(mark)
while True:
    mark = sink.flush()
    print(json.dumps([at, mark]), flush=True)
    if at >= len(work):
        break
    sink.write(work[at:at + 2])
    at += 2
"""


@each_kind
def test_kill_9_of_its_process_repeats_and_loses_nothing(kind: Kind, tmp_path: Path) -> None:
    chance, newest, kills = random.Random(3), "[0, null]", 0
    folder = tmp_path / "killed"
    folder.mkdir()
    while json.loads(newest)[0] < 400:
        command = [sys.executable, "-c", KILLED, kind.name, str(folder), newest]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for _ in range(chance.randint(2, 60) if kills < 6 else 1000):
                newest = child.stdout.readline() or newest
            child.kill()
            kills += 1
    assert kills > 4
    assert kind.read(folder) == undisturbed(kind, pieces(random.Random(7), kind, 400), tmp_path / "plain")


# -- places that cannot be used


def written(kind: Kind, folder: Path) -> Writer:
    folder.mkdir()
    writer = Writer(kind, folder, pieces(random.Random(2), kind, 4))
    writer.write(4)
    writer.flush()
    return writer


@each_kind
def test_results_of_another_run_are_not_overwritten(kind: Kind, tmp_path: Path) -> None:
    writer = written(kind, tmp_path / "first")
    writer.sink.close()
    before = kind.read(writer.folder)

    with pytest.raises(UsageError, match=f"{kind.name} holds something already.* with --results, or remove it"):
        kind.sink(writer.folder).open(None)
    assert kind.read(writer.folder) == before


@each_kind
def test_a_run_that_has_written_nothing_yet_begins_anew(kind: Kind, tmp_path: Path) -> None:
    for _ in range(3):
        sink = kind.sink(tmp_path)
        sink.open(None)
        mark = sink.flush()
        sink.close()
    shutil.rmtree(tmp_path / kind.name) if kind.name == "out.parquet" else (tmp_path / kind.name).unlink()
    sink.open(mark)
    sink.close()


@each_kind
def test_results_that_are_gone_are_missed(kind: Kind, tmp_path: Path) -> None:
    writer = written(kind, tmp_path / "first")
    mark = writer.marks[-1][1]
    os.rename(writer.folder / kind.name, writer.folder / "elsewhere")
    writer.work = [*writer.work, Results(1 << 50, 1, b'{"id":1}\n')]
    with pytest.raises(OSError):
        writer.write(1)
        writer.flush()

    for sink in (writer.sink, kind.sink(writer.folder)):
        with pytest.raises(StateMismatch, match=r"results of earlier runs are lost. Put it back .* or start over with"):
            sink.open(mark)
    assert kind.name == "out.parquet" or not (writer.folder / kind.name).exists()


@each_kind
def test_results_that_are_older_than_the_state_are_noticed(kind: Kind, tmp_path: Path) -> None:
    writer = written(kind, tmp_path / "first")
    old = tmp_path / "old"
    shutil.copytree(writer.folder, old)
    writer.work = [*writer.work, Results(1 << 50, 1, b'{"id":1}\n')]
    writer.write(1)
    writer.flush()
    writer.sink.close()

    with pytest.raises(StateMismatch, match="results of earlier runs are lost"):
        kind.sink(old).open(writer.marks[-1][1])


@each_kind
@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a user whom modes bind")
def test_a_folder_that_is_not_writable_is_refused(kind: Kind, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)

    with pytest.raises(UsageError, match="Permission denied. Choose another place with --results"):
        kind.sink(tmp_path).open(None)


@each_kind
def test_the_user_s_umask_decides_who_may_read_them(kind: Kind, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        writer = written(kind, tmp_path / "first")
    finally:
        os.umask(before)
    writer.sink.close()

    for path in (writer.folder / kind.name, *(writer.folder / kind.name).rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o750 if path.is_dir() else 0o640)

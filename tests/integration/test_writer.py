"""The writer thread: order, retries, and nothing lost while the disk refuses. Time is the test's own."""

from __future__ import annotations

import errno
import itertools
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from support.values import failure_record as failure
from support.waiting import wait_until

from taskmaster import defaults
from taskmaster.core.failure import FailureRecord
from taskmaster.master.state.checkpoint import Checkpoint
from taskmaster.master.state.failures import FailuresFile
from taskmaster.master.state.folder import StateFolder
from taskmaster.master.state.writer import StateWriter

PATIENCE = 20.0  # seconds after which a test that hangs is a failure; never waited for in a test that passes


def at(offset: int) -> Checkpoint:
    return Checkpoint("0" * 32, 1, offset, offset, True, "jobs")


class Disk:
    """A folder and a failures file in memory: keeps what was written in order, refuses while `full`."""

    def __init__(self) -> None:
        self.written: list[Checkpoint | FailureRecord] = []
        self.full: Exception | None = None
        self.tries = 0
        self._refusals: Iterator[Exception | None] = iter(())
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def save(self, checkpoint: Checkpoint) -> None:
        self._put([checkpoint])

    def append(self, failures: Sequence[FailureRecord]) -> None:
        self._put(failures)

    def refuse_in_turn(self, *refusals: Exception | None) -> None:
        self._refusals = iter(refusals)

    def _put(self, things: Sequence[Checkpoint | FailureRecord]) -> None:
        self.tries += 1
        self.entered.set()
        assert self.gate.wait(PATIENCE)
        refusal = next(self._refusals, self.full)
        if refusal is not None:
            raise refusal
        self.written += things


class Rests:
    """Stands for the rests between two tries: notes their lengths, moves the clock on, does a deed."""

    def __init__(self) -> None:
        self.now = 0.0
        self.lengths: list[float] = []
        self.deeds: Iterator[Callable[[], object]] = iter(())

    def __call__(self, seconds: float) -> None:
        self.lengths.append(seconds)
        self.now += seconds
        next(self.deeds, lambda: None)()

    def clock(self) -> float:
        return self.now


class Bench:
    """A writer on a disk in memory, with a latch for each wake."""

    def __init__(self) -> None:
        self.disk = Disk()
        self.rests = Rests()
        self.woken = threading.Semaphore(0)
        self.writer = StateWriter(
            self.disk, self.disk, self.woken.release, clock=self.rests.clock, rest=self.rests)

    def await_wake(self) -> None:
        assert self.woken.acquire(timeout=PATIENCE)

    def free(self) -> None:
        self.disk.full = None


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.disk.full = None
    bench.disk.gate.set()
    bench.writer.close(PATIENCE)


NO_SPACE = OSError(errno.ENOSPC, "No space left on device")


def test_an_offer_is_written_and_the_server_woken(bench: Bench) -> None:
    bench.writer.start()
    bench.writer.offer(at(1))
    bench.await_wake()
    assert bench.writer.saved == at(1)
    assert bench.writer.behind_since() is None and bench.writer.trouble is None


def test_failures_are_durable_before_the_checkpoint_offered_after_them(bench: Bench) -> None:
    bench.writer.record([failure(1), failure(2)])
    bench.writer.offer(at(3))
    bench.writer.start()
    assert bench.writer.close(PATIENCE)
    assert bench.disk.written == [failure(1), failure(2), at(3)]


def test_a_digest_is_made_in_the_writer_s_thread_after_the_failures_are_durable(bench: Bench) -> None:
    made: list[tuple[str, int]] = []

    def digest() -> str:
        made.append((threading.current_thread().name, len(bench.disk.written)))
        return "d" * 32

    bench.writer.record([failure(1)])
    bench.writer.offer(at(2), lambda: "of a checkpoint that is never written")
    bench.writer.offer(at(3), digest)
    bench.writer.start()
    assert bench.writer.close(PATIENCE)
    assert made == [("state-writer", 1)]
    assert bench.disk.written == [failure(1), replace(at(3), digest="d" * 32)]


def test_of_several_offers_the_newest_wins(bench: Bench) -> None:
    for offset in (1, 2, 3):
        bench.writer.offer(at(offset))
    bench.writer.start()
    assert bench.writer.close(PATIENCE)
    assert bench.disk.written == [at(3)]


def test_what_comes_while_a_write_goes_on_waits_for_the_next_and_keeps_its_order(bench: Bench) -> None:
    bench.disk.gate.clear()
    bench.writer.start()
    bench.writer.offer(at(1))
    assert bench.disk.entered.wait(PATIENCE)
    bench.writer.record([failure(1)])
    bench.writer.offer(at(2))
    bench.disk.gate.set()
    assert bench.writer.close(PATIENCE)
    assert bench.disk.written == [at(1), failure(1), at(2)]
    assert bench.writer.saved == at(2)


def test_a_checkpoint_offered_behind_a_failure_waits_with_it_when_the_failures_were_being_written(
    bench: Bench
) -> None:
    bench.disk.gate.clear()
    bench.writer.start()
    bench.writer.record([failure(1)])
    assert bench.disk.entered.wait(PATIENCE)
    bench.writer.record([failure(2)])
    bench.writer.offer(at(3))
    bench.disk.gate.set()
    assert bench.writer.close(PATIENCE)
    assert bench.disk.written == [failure(1), failure(2), at(3)]


def test_failures_alone_are_written_and_the_server_woken(bench: Bench) -> None:
    bench.writer.start()
    bench.writer.record([])
    bench.writer.record([failure(1)])
    bench.await_wake()
    assert bench.disk.written == [failure(1)] and bench.writer.saved is None


def test_a_full_disk_is_tried_again_until_it_is_freed_and_nothing_is_lost(bench: Bench) -> None:
    bench.disk.full = NO_SPACE
    seen: list[tuple[str | None, float | None, Checkpoint | None]] = []

    def look() -> None:
        seen.append((bench.writer.trouble, bench.writer.behind_since(), bench.writer.saved))

    bench.rests.deeds = iter([
        look,
        lambda: bench.writer.record([failure(2)]),
        lambda: bench.writer.offer(at(5)),
        look,
        bench.free,
    ])
    bench.writer.record([failure(1)])
    bench.writer.offer(at(3))
    bench.writer.start()
    bench.await_wake()
    assert seen == [(str(NO_SPACE), 0.0, None)] * 2
    assert bench.disk.written == [failure(1), failure(2), at(5)]
    assert bench.writer.saved == at(5)
    assert bench.writer.trouble is None and bench.writer.behind_since() is None


def test_failures_that_were_written_are_not_written_again_when_the_checkpoint_fails(bench: Bench) -> None:
    bench.disk.refuse_in_turn(None, NO_SPACE, NO_SPACE)
    bench.writer.record([failure(1)])
    bench.writer.offer(at(2))
    bench.writer.start()
    bench.await_wake()
    assert bench.disk.written == [failure(1), at(2)] and bench.disk.tries == 4


def test_the_rests_double_up_to_five_seconds_and_begin_anew_after_a_success(bench: Bench) -> None:
    bench.disk.full = NO_SPACE
    bench.rests.deeds = iter([lambda: None] * 8 + [bench.free])
    bench.writer.start()
    bench.writer.offer(at(1))
    bench.await_wake()
    assert bench.rests.lengths == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]
    bench.disk.full = NO_SPACE
    bench.rests.deeds = iter([bench.free])
    bench.writer.offer(at(2))
    bench.await_wake()
    assert bench.rests.lengths[9:] == [0.1]


def test_the_trouble_is_told_once_in_thirty_seconds_with_what_happens_next(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.disk.full = NO_SPACE
    bench.rests.deeds = itertools.chain([lambda: None] * 20, [bench.free])
    bench.writer.start()
    with caplog.at_level(logging.INFO):
        bench.writer.offer(at(1))
        bench.await_wake()
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert bench.rests.now == pytest.approx(6.3 + 15 * 5.0)  # at 0, at 31.3 and at 61.3 seconds
    assert len(told) == 3
    assert "No space left on device" in told[0] and "Retrying" in told[0] and "Nothing is lost" in told[0]
    assert caplog.records[-1].getMessage() == "The state is being written again."


def test_a_checkpoint_that_cannot_be_written_down_does_not_end_the_writer(bench: Bench) -> None:
    bench.disk.full = ValueError("neither as JSON nor as a pickle")
    bench.rests.deeds = iter([lambda: None, bench.free])
    bench.writer.start()
    bench.writer.offer(at(1))
    bench.await_wake()
    assert bench.writer.saved == at(1)


def test_nor_does_a_fault_of_our_own_which_is_told_with_its_traceback(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.disk.full = KeyError("a bug")
    bench.rests.deeds = iter([bench.free])
    bench.writer.start()
    bench.writer.offer(at(1))
    bench.await_wake()
    assert bench.writer.saved == at(1)
    assert caplog.records[0].exc_info


def test_a_wake_that_raises_is_told_and_the_next_save_is_made(caplog: pytest.LogCaptureFixture) -> None:
    disk = Disk()
    woken = threading.Semaphore(0)

    def wake() -> None:
        woken.release()
        raise RuntimeError("socket is gone")

    writer = StateWriter(disk, disk, wake)
    writer.start()
    writer.offer(at(1))
    assert woken.acquire(timeout=PATIENCE)
    writer.offer(at(2))
    assert writer.close(PATIENCE)
    assert disk.written == [at(1), at(2)] and writer.trouble is None
    assert "socket is gone" in caplog.text


def test_it_is_behind_since_the_oldest_thing_that_is_not_durable(bench: Bench) -> None:
    writer, rests = bench.writer, bench.rests
    assert writer.behind_since() is None
    rests.now = 10.0
    writer.record([failure(1)])
    rests.now = 20.0
    writer.offer(at(2))
    assert writer.behind_since() == 10.0
    bench.disk.gate.clear()
    writer.start()
    assert bench.disk.entered.wait(PATIENCE)
    rests.now = 30.0
    writer.offer(at(3))
    assert writer.behind_since() == 10.0
    bench.disk.entered.clear()
    bench.disk.gate.set()
    assert writer.close(PATIENCE)
    assert writer.behind_since() is None


def test_after_a_write_it_is_behind_since_what_came_meanwhile(bench: Bench) -> None:
    bench.disk.refuse_in_turn(None, NO_SPACE)
    bench.disk.gate.clear()
    bench.writer.start()
    bench.writer.offer(at(1))
    assert bench.disk.entered.wait(PATIENCE)
    bench.rests.now = 7.0
    bench.writer.offer(at(2))
    seen: list[float | None] = []
    bench.rests.deeds = iter([lambda: seen.append(bench.writer.behind_since())])
    bench.disk.gate.set()
    bench.await_wake()
    bench.await_wake()
    assert seen == [7.0]
    assert bench.disk.written == [at(1), at(2)]


def test_closing_on_a_disk_that_stays_full_gives_up_at_the_timeout_and_says_so(bench: Bench) -> None:
    released = threading.Event()
    bench.disk.full = NO_SPACE
    bench.rests.deeds = iter([lambda: released.wait(PATIENCE)])
    bench.writer.start()
    bench.writer.offer(at(1))
    assert bench.disk.entered.wait(PATIENCE)
    assert not bench.writer.close(0.01)
    assert bench.writer.saved is None
    released.set()
    bench.writer._thread.join(PATIENCE)
    assert not bench.writer._thread.is_alive() and bench.disk.tries == 1


def test_closing_cuts_a_rest_short_so_that_a_freed_disk_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defaults, "SAVE_RETRY_SECONDS", 1_000.0)  # uncut, close would give up first
    monkeypatch.setattr(defaults, "SAVE_RETRY_SECONDS_MOST", 1_000.0)
    disk = Disk()
    disk.full = NO_SPACE
    writer = StateWriter(disk, disk, lambda: None)
    writer.start()
    writer.record([failure(1)])
    assert wait_until(lambda: writer.trouble is not None, PATIENCE)
    disk.full = None
    assert writer.close(PATIENCE)
    assert disk.written == [failure(1)]


def test_a_closed_writer_takes_nothing_more(bench: Bench) -> None:
    assert bench.writer.close(PATIENCE)
    for take in (lambda: bench.writer.offer(at(1)), lambda: bench.writer.record([failure(1)])):
        with pytest.raises(RuntimeError, match="closed"):
            take()


def test_closing_twice_gives_the_same_answer(bench: Bench) -> None:
    bench.writer.start()
    bench.writer.offer(at(1))
    assert bench.writer.close(PATIENCE) and bench.writer.close(PATIENCE)


def test_on_a_real_disk_both_files_hold_what_was_taken(tmp_path: Path) -> None:
    with StateFolder(tmp_path) as folder:
        failures = FailuresFile(folder.failures_path)
        writer = StateWriter(folder, failures, lambda: None)
        writer.start()
        for offset in range(200):
            if offset % 10 == 0:
                writer.record([failure(offset)])
            writer.offer(at(offset + 1))
        assert writer.close(PATIENCE)
        assert folder.load() == writer.saved == at(200)
        assert [one.offset for one in failures.read()] == list(range(0, 200, 10))


def test_a_state_folder_that_vanishes_is_trouble_until_it_is_back(tmp_path: Path) -> None:
    with StateFolder(tmp_path / "state") as folder:
        rests, woken = Rests(), threading.Semaphore(0)
        failures = FailuresFile(folder.failures_path)
        writer = StateWriter(folder, failures, woken.release, clock=rests.clock, rest=rests)
        folder.path.rename(tmp_path / "away")
        rests.deeds = iter([lambda: None, lambda: (tmp_path / "away").rename(folder.path)])
        writer.record([failure(1)])
        writer.offer(at(2))
        writer.start()
        assert woken.acquire(timeout=PATIENCE)
        assert len(rests.lengths) == 2
        assert folder.load() == at(2)
        assert [one.offset for one in failures.read()] == [1]
        assert writer.close(PATIENCE)


def test_a_lost_lock_ends_the_writer_instead_of_being_retried(tmp_path: Path) -> None:
    woken = threading.Event()
    with StateFolder(tmp_path / "state") as folder:
        writer: StateWriter[FailureRecord] = StateWriter(folder, FailuresFile(folder.failures_path), woken.set)
        writer.start()
        (folder.path / "lock").unlink()
        writer.offer(Checkpoint("0" * 32, 1, 1))
        assert woken.wait(20)
        assert writer.lost is not None and "removed" in writer.lost
        assert not writer.close(20)
    assert not (tmp_path / "state" / "checkpoint.json").exists()

"""Masters and slaves of one process over real sockets: what the commands do, without their command lines."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.interrupting import interrupt
from support.waiting import wait_until

from taskmaster.core.agent import Patience
from taskmaster.core.budget import FailureBudget
from taskmaster.core.failure import from_line
from taskmaster.core.interrupts import Interrupts
from taskmaster.core.portable import unpack
from taskmaster.errors import (EXIT_DONE, EXIT_DONE_WITH_FAILURES, EXIT_INTERRUPTED, EXIT_KEY_REFUSED, EXIT_MASTER_GONE,
                               EXIT_SOURCE_FAILED, EXIT_TOO_MANY_FAILURES, StateUnwritable, UsageError)
from taskmaster.job import Job
from taskmaster.master.master import Master
from taskmaster.master.outcome import Outcome
from taskmaster.master.workload import Identity, Options, Workload
from taskmaster.slave.slave import Slave
from taskmaster.targets.pool_choice import PoolChoice
from taskmaster.transport.keys import Keys, derive

SECONDS = 30.0


class Cluster:
    """A master and slaves, each in a thread; `handled` counts what the handlers did.

    `interrupts` are those of the newest master.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state: Path | None = folder / "state"
        self.observers: list[Any] = []
        self.address = f"ipc://{folder}/socket"
        self.handled: Counter[Any] = Counter()
        self.keys: Keys | None = None
        self.outcome: Outcome | None = None
        self.interrupts = Interrupts()
        self._lock = threading.Lock()
        self._slaves: list[tuple[Slave, threading.Thread]] = []
        self._codes: list[int] = []

    def count(self, job: Any) -> None:
        with self._lock:
            self.handled[job] += 1

    def master(self, get_jobs: Callable[..., Any], arguments: dict[str, Any] | None = None, **options: Any) -> Master:
        work = Workload(get_jobs, arguments or {}, Identity("test", {}, "handler"), self.state)
        self.interrupts = Interrupts()
        master = Master(work, Options(**options), observers=self.observers, interrupts=self.interrupts)
        try:
            master.open(self.address, self.keys)
        except BaseException:
            master.close()
            raise
        return master

    def slave(self, handler: Callable[[Any], Any] | None = None, **more: Any) -> Slave:
        slave = Slave(handler or self.count, "handler", self.address, pool=PoolChoice(slots=more.pop("threads", 3)),
                      keys=self.keys, **more)
        thread = threading.Thread(target=lambda: self._codes.append(slave.run()), daemon=True)
        thread.start()
        self._slaves.append((slave, thread))
        return slave

    def serve(self, master: Master) -> threading.Thread:
        """Run the master to its end in a thread; `outcome` is what came of it."""
        def serve() -> None:
            try:
                self.outcome = master.run()
            finally:
                master.close()
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        return thread

    def run(self, get_jobs: Callable[..., Any], handler: Callable[[Any], Any] | None = None, slaves: int = 2,
            **options: Any) -> Outcome:
        """A run from its start to its end."""
        thread = self.serve(self.master(get_jobs, **options))
        for _ in range(slaves):
            self.slave(handler)
        thread.join(SECONDS)
        assert not thread.is_alive() and self.outcome is not None
        return self.outcome

    def join(self) -> list[int]:
        """The exit codes of the slaves."""
        for _, thread in self._slaves:
            thread.join(SECONDS)
            assert not thread.is_alive()
        return self._codes

    def drain(self) -> None:
        for slave, _ in self._slaves:
            slave.drain()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    yield made
    made.drain()


def numbers(last: int = 0, upto: int = 1000) -> range:
    return range(last, upto)


def once(*stretch: int) -> dict[int, int]:
    return {number: 1 for number in range(*stretch)}


def test_each_job_is_handled_once(cluster: Cluster) -> None:
    outcome = cluster.run(numbers)
    assert (outcome.exit_code, outcome.stats.handled, outcome.stats.finished) == (EXIT_DONE, 1000, True)
    assert cluster.handled == once(1000)
    assert cluster.join() == [0, 0]


@pytest.mark.parametrize("payload", [None, b"\x00\xff", "\ud800", 2 ** 100, ("a", (1, 2)), 1.5])
def test_payloads_arrive_as_they_left(cluster: Cluster, payload: Any) -> None:
    cluster.run(lambda: [payload])
    assert list(cluster.handled) == [payload]


def test_json_is_enough_for_plain_jobs(cluster: Cluster) -> None:
    cluster.run(numbers, codec="json")
    assert cluster.handled == once(1000)


def test_a_second_run_finds_nothing_new_and_a_longer_source_goes_on(cluster: Cluster) -> None:
    cluster.run(numbers)
    assert cluster.run(numbers).stats.handled == 0
    assert cluster.run(lambda last=0: numbers(last, 1200)).stats.handled == 200
    assert cluster.handled == once(1200)


def test_a_run_is_resumed_by_the_users_own_cursor(cluster: Cluster) -> None:
    asked: list[Any] = []

    def rows(last: str = "") -> Iterator[Job]:
        asked.append(last)
        names = [f"row-{number:03}" for number in range(100)]
        yield from (Job(name, cursor=name) for name in names if name > last)

    assert cluster.run(rows, limit=40).exit_code == EXIT_DONE
    assert cluster.run(rows).stats.finished
    assert asked == ["", "row-038"]  # another row-039 might follow; the first one is passed over
    assert len(cluster.handled) == 100 and set(cluster.handled.values()) == {1}


def test_what_fails_is_tried_again_and_then_kept(cluster: Cluster) -> None:
    tries: Counter[int] = Counter()

    def handler(job: int) -> None:
        tries[job] += 1
        if job == 7 or (job == 8 and tries[job] < 2):
            raise OSError("not now")
        cluster.count(job)

    outcome = cluster.run(lambda: range(20), handler, attempts=2)
    assert (outcome.exit_code, outcome.stats.failed) == (EXIT_DONE_WITH_FAILURES, 1)
    assert cluster.handled == Counter(set(range(20)) - {7})
    assert (tries[7], tries[8]) == (2, 2)
    assert outcome.failures_file is not None and len(outcome.failures_file.read_text().splitlines()) == 1


def test_failures_of_earlier_runs_keep_the_exit_code_until_their_file_is_gone(cluster: Cluster) -> None:
    """The next run, which found nothing new, had ended with 0 while the failed jobs were still in the file."""
    def handler(job: int) -> None:
        cluster.count(job)
        assert job != 7

    assert cluster.run(lambda: range(20), handler, attempts=1).exit_code == EXIT_DONE_WITH_FAILURES
    for jobs in (20, 30):
        outcome = cluster.run(lambda: range(jobs), handler, attempts=1)
        assert (outcome.exit_code, outcome.stats.failed, outcome.stats.failed_before) == (EXIT_DONE_WITH_FAILURES, 0, 1)
        assert outcome.failures_file is not None and "failed earlier" in outcome.text(None)
    outcome.failures_file.unlink()
    assert cluster.run(lambda: range(30), handler, attempts=1).exit_code == EXIT_DONE


def test_after_too_many_failures_the_next_run_begins_with_the_failed_jobs(cluster: Cluster) -> None:
    """It had failed at the same jobs again, or passed over them for good."""
    order: list[int] = []

    def broken(job: int) -> None:
        raise ValueError("not yet")

    def half_fixed(job: int) -> None:
        order.append(job)
        assert job != 1
        cluster.count(job)

    outcome = cluster.run(numbers, broken, slaves=1, attempts=1, budget=FailureBudget(most=4))
    assert outcome.exit_code == EXIT_TOO_MANY_FAILURES and outcome.failures_file is not None
    failed = [from_line(line).offset for line in outcome.failures_file.read_bytes().splitlines()]
    assert len(failed) > 4 and outcome.stats.handled == 0

    outcome = cluster.run(numbers, half_fixed, slaves=1, attempts=1, budget=FailureBudget(most=4))
    assert (outcome.exit_code, outcome.stats.failed, outcome.stats.failed_before) == (EXIT_DONE_WITH_FAILURES, 1, 0)
    assert set(order[:len(failed)]) == set(failed) and cluster.handled == Counter(set(range(1000)) - {1})
    [line] = outcome.failures_file.read_bytes().splitlines()
    assert (from_line(line).offset, from_line(line).error) == (1, "AssertionError")

    outcome = cluster.run(numbers, half_fixed, attempts=1)
    assert (outcome.exit_code, outcome.stats.handled, outcome.stats.failed_before) == (EXIT_DONE_WITH_FAILURES, 0, 1)


def test_an_interrupted_second_chance_is_there_for_the_next_run(cluster: Cluster) -> None:
    def broken(job: int) -> None:
        raise ValueError("not yet")

    started = threading.Event()

    def interrupts(job: int) -> None:
        cluster.count(job)
        started.set()
        wait_until(lambda: cluster.interrupts.draining)

    outcome = cluster.run(numbers, broken, slaves=1, attempts=1, budget=FailureBudget(most=40))
    assert outcome.exit_code == EXIT_TOO_MANY_FAILURES and outcome.failures_file is not None
    failed = len(outcome.failures_file.read_bytes().splitlines())

    thread = cluster.serve(cluster.master(numbers, attempts=1))
    cluster.slave(interrupts, threads=1)
    assert started.wait(SECONDS)
    interrupt(cluster.interrupts)
    thread.join(SECONDS)
    assert cluster.outcome is not None and cluster.outcome.exit_code == EXIT_INTERRUPTED
    left = failed - len(cluster.handled)
    assert 0 < left == len(outcome.failures_file.read_bytes().splitlines()) == cluster.outcome.stats.failed_before

    outcome = cluster.run(numbers, attempts=1)
    assert outcome.exit_code == EXIT_DONE and cluster.handled == once(1000)
    assert outcome.failures_file is None or not outcome.failures_file.read_bytes()


def test_a_first_run_has_no_replays_wherever_its_offsets_begin(cluster: Cluster) -> None:
    outcome = cluster.run(lambda last=-5: range(last, 20))
    assert (outcome.stats.handled, outcome.stats.replayed) == (25, 0)
    assert cluster.run(lambda last=-5: range(last, 30)).stats.replayed == 0
    assert cluster.handled == once(-5, 30)


class Trap:
    """Ends, by SystemExit, whoever unpickles it."""

    def __reduce__(self) -> Any:
        return spring, ()


def spring() -> None:
    raise SystemExit(50)


def test_a_job_that_exits_as_it_is_decoded_spoils_nobody(cluster: Cluster) -> None:
    thread = cluster.serve(cluster.master(lambda: [*range(10), Trap(), *range(11, 20)], attempts=1))
    cluster.slave()
    thread.join(5)
    assert cluster.handled == Counter(set(range(20)) - {10})


class Slow:
    """Decoded at once by slaves; in the master, in its thread "payload-reader", only when the test lets it pass."""

    gate = threading.Event()
    met = threading.Event()

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> Any:
        return pass_gate, (self.number,)


def pass_gate(number: int) -> int:
    if threading.current_thread().name == "payload-reader":
        Slow.met.set()
        assert Slow.gate.wait(2 * SECONDS)
    return number


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    monkeypatch.setattr(Slow, "gate", threading.Event())
    monkeypatch.setattr(Slow, "met", threading.Event())
    yield Slow.gate
    Slow.gate.set()


def test_a_payload_that_is_slow_to_decode_holds_up_neither_jobs_nor_checkpoints(
        cluster: Cluster, gate: threading.Event) -> None:
    """The digest of the first unfinished job was made in the server's loop: a payload that took 3 s to decode cut a
    run to 8 jobs/s."""
    checkpoint = cluster.folder / "state" / "checkpoint.json"

    def handler(job: int) -> None:
        cluster.count(job)
        if job == 900:  # until checkpoints have been written with this job, or one before it, unfinished
            assert wait_until(lambda: json.loads(checkpoint.read_bytes().splitlines()[0])["offset"] > 0)

    outcome = cluster.run(lambda: map(Slow, range(1000)), handler)
    assert (outcome.exit_code, outcome.stats.handled) == (EXIT_DONE, 1000)
    assert Slow.met.is_set() and not gate.is_set() and cluster.handled == once(1000)


def test_a_failed_job_that_is_slow_to_decode_is_recorded_as_it_was_sent(
        cluster: Cluster, gate: threading.Event) -> None:
    def handler(job: int) -> None:
        cluster.count(job)
        assert job != 7

    outcome = cluster.run(lambda: map(Slow, range(20)), handler, attempts=1)
    assert (outcome.exit_code, outcome.stats.failed) == (EXIT_DONE_WITH_FAILURES, 1)
    assert Slow.met.is_set() and not gate.is_set() and outcome.failures_file is not None
    [line] = outcome.failures_file.read_bytes().splitlines()
    gate.set()
    assert from_line(line).shown == "<not decoded>" and unpack(from_line(line).payload) == 7


class Notes:
    """An observer that notes what it hears."""

    def __init__(self, raises: bool = False) -> None:
        self.stats: list[Any] = []
        self.events: list[Any] = []
        self.last: Any = None
        self._raises = raises

    def saw(self, stats: Any) -> None:
        self.stats.append(stats)
        assert not self._raises

    def happened(self, event: Any) -> None:
        self.events.append(event)

    def close(self, stats: Any) -> None:
        self.last = stats
        assert not self._raises


def test_a_run_without_a_state_folder_goes_to_its_end_and_leaves_nothing(cluster: Cluster) -> None:
    cluster.state, notes = None, Notes()
    cluster.observers = [notes]

    def handler(job: int) -> None:
        cluster.count(job)
        assert job != 7

    outcome = cluster.run(numbers, handler, attempts=2)
    stats = outcome.stats
    assert (outcome.exit_code, stats.handled, stats.failed) == (EXIT_DONE_WITH_FAILURES, 999, 1)
    assert (stats.finished, stats.offset, stats.replayed, outcome.failures_file) == (True, 1000, 0, None)
    assert cluster.handled == {**once(1000), 7: 2} and cluster.join() == [0, 0]
    assert [event.job.offset for event in notes.events] == [7]
    assert notes.events[0].job.batch.payload(0) == 7, "nothing else tells which job it was"
    assert {path.name for path in cluster.folder.iterdir()} <= {"socket"}


def test_an_interrupted_run_without_a_state_folder_begins_anew(cluster: Cluster) -> None:
    cluster.state = None
    master = cluster.master(numbers)
    thread = cluster.serve(master)
    cluster.slave(lambda job: (time.sleep(0.002), cluster.count(job))[1])
    assert wait_until(lambda: len(cluster.handled) > 50)
    interrupt(cluster.interrupts)
    thread.join(SECONDS)
    assert cluster.outcome is not None and cluster.outcome.exit_code == EXIT_INTERRUPTED
    cluster.handled.clear()
    assert cluster.run(numbers).stats.handled == 1000 and cluster.handled == once(1000)


def test_observers_hear_of_a_run_and_one_that_raises_does_not_end_it(cluster: Cluster) -> None:
    broken, notes = Notes(raises=True), Notes()
    cluster.observers = [broken, notes]
    outcome = cluster.run(numbers)
    assert outcome.exit_code == EXIT_DONE and cluster.handled == once(1000)
    assert len(broken.stats) == 1 and notes.stats
    assert notes.last is not None and notes.last.finished and notes.last.handled == 1000


def test_an_interrupt_settles_what_is_out_and_the_next_run_repeats_nothing(cluster: Cluster) -> None:
    def handler(job: int) -> None:
        time.sleep(0.002)
        cluster.count(job)

    master = cluster.master(numbers)
    thread = cluster.serve(master)
    cluster.slave(handler)
    cluster.slave(handler)
    assert wait_until(lambda: len(cluster.handled) > 50)
    interrupt(cluster.interrupts)
    thread.join(SECONDS)
    assert cluster.outcome is not None and cluster.outcome.exit_code == EXIT_INTERRUPTED
    before = len(cluster.handled)
    assert before < 1000 and cluster.outcome.stats.offset == before
    assert cluster.run(numbers, slaves=0).stats.replayed == 0  # by the same slaves: they waited for the next master
    assert cluster.handled == once(1000)
    assert cluster.join() == [0, 0]


def test_an_interrupt_before_the_run_began_is_not_forgotten(cluster: Cluster) -> None:
    master = cluster.master(numbers)
    interrupt(cluster.interrupts)
    cluster.serve(master).join(SECONDS)
    assert cluster.outcome is not None and cluster.outcome.exit_code == EXIT_INTERRUPTED


def test_a_slave_that_joins_midway_gets_work_and_one_that_leaves_loses_none(cluster: Cluster) -> None:
    by: dict[str, Counter[int]] = {"first": Counter(), "second": Counter()}

    def handler(name: str) -> Callable[[int], None]:
        def handle(job: int) -> None:
            time.sleep(0.002)
            by[name][job] += 1
        return handle

    thread = cluster.serve(cluster.master(numbers))
    first = cluster.slave(handler("first"))
    assert wait_until(lambda: len(by["first"]) > 50)
    cluster.slave(handler("second"))
    assert wait_until(lambda: len(by["second"]) > 50)
    first.drain()
    thread.join(SECONDS)
    assert by["first"] + by["second"] == once(1000)


def test_a_slave_without_a_master_gives_up_and_says_so(cluster: Cluster) -> None:
    slave = cluster.slave(patience=Patience(0.1, 2))
    assert cluster.join() == [EXIT_MASTER_GONE]
    assert "--timeout and --retries" in str(slave.error)


def test_a_slave_waits_for_a_master_that_starts_later(cluster: Cluster) -> None:
    cluster.slave(patience=Patience(0.1, 200))
    time.sleep(0.5)
    cluster.run(numbers, slaves=0)
    assert cluster.handled == once(1000)


def test_a_failing_source_is_in_the_outcome(cluster: Cluster) -> None:
    def broken() -> Iterator[int]:
        yield from range(30)
        raise ValueError("midway")

    outcome = cluster.run(broken)
    assert outcome.exit_code == EXIT_SOURCE_FAILED and isinstance(outcome.error, ValueError)
    assert cluster.handled == once(30) and not outcome.stats.finished


def test_strangers_on_the_port_change_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    cluster = Cluster(tmp_path)
    cluster.address = f"tcp://127.0.0.1:{port}"
    thread = cluster.serve(cluster.master(numbers))
    for said in (b"GET / HTTP/1.1\r\n\r\n", b"\x01\x00\x03\x00hi", b"\xff" * 1000):
        with socket.create_connection(("127.0.0.1", port)) as stranger:
            stranger.sendall(said)
            time.sleep(0.05)
    cluster.slave()
    thread.join(SECONDS)
    assert cluster.handled == once(1000)


@pytest.mark.parametrize("codec, code", [("pickle", EXIT_KEY_REFUSED), ("json", EXIT_DONE)])
def test_a_slave_without_a_key_unpickles_nothing_that_comes_from_afar(
        cluster: Cluster, codec: str, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    master = cluster.master(lambda: [[number] for number in range(10)], codec=codec)
    monkeypatch.setattr("taskmaster.slave.slave.is_local", lambda address: False)
    decoded: list[Any] = []
    monkeypatch.setattr("taskmaster.slave.backlog.codec.open_batch", lambda *what: decoded.append(what) or [])
    cluster.serve(master)
    slave = cluster.slave(patience=Patience(0.5, 4))
    if codec == "pickle":
        assert cluster.join() == [code] and "could run any code here" in str(slave.error)
        assert not decoded
    else:
        assert wait_until(lambda: decoded) and {form for form, _ in decoded} == {"json"}
    interrupt(cluster.interrupts, times=2)


@pytest.mark.parametrize("address, codec, taken", [
    ("tcp://0.0.0.0:0", "pickle", False), ("tcp://0.0.0.0:0", "json", True), ("tcp://127.0.0.1:0", "pickle", True)])
def test_a_master_without_a_key_sends_no_pickles_over_a_network(cluster: Cluster, address: str, codec: str,
                                                                taken: bool) -> None:
    cluster.address = address
    if taken:
        cluster.master(numbers, codec=codec).close()
    else:
        with pytest.raises(UsageError, match="--codec json"):
            cluster.master(numbers, codec=codec)


def test_keys_carry_a_whole_run(cluster: Cluster) -> None:
    cluster.address, cluster.keys = "tcp://127.0.0.1:0", derive(b"k" * 32, "here")
    master = cluster.master(lambda: [("x" * 1000, number) for number in range(500)])
    cluster.address = master.address
    thread = cluster.serve(master)
    cluster.slave()
    thread.join(SECONDS)
    assert len(cluster.handled) == 500 and set(cluster.handled.values()) == {1}


def test_a_master_leaves_its_state_and_address_to_the_next(cluster: Cluster) -> None:
    first = cluster.master(numbers)
    with pytest.raises(StateUnwritable, match="another master"):
        cluster.master(numbers)
    first.close()
    cluster.master(numbers).close()


def test_a_master_that_cannot_listen_holds_no_state(cluster: Cluster) -> None:
    address, cluster.address = cluster.address, "tcp://127.0.0.1:99999"
    with pytest.raises(UsageError):
        cluster.master(numbers)
    cluster.address = address
    cluster.master(numbers).close()

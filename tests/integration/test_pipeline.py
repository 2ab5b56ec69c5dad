"""Masters and slaves of one process over real sockets: what the commands do, without their command lines."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.waiting import wait_until

from taskmaster.core.agent import Patience
from taskmaster.errors import (EXIT_DONE, EXIT_DONE_WITH_FAILURES, EXIT_INTERRUPTED, EXIT_KEY_REFUSED, EXIT_MASTER_GONE,
                               EXIT_SOURCE_FAILED, StateUnwritable, UsageError)
from taskmaster.job import Job
from taskmaster.master.master import Master, Options, Outcome, Workload
from taskmaster.master.state.run_state import Identity
from taskmaster.slave.slave import Slave
from taskmaster.transport.keys import Keys, derive

SECONDS = 30.0


class Cluster:
    """A master and slaves, each in a thread; `handled` counts what the handlers did."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = f"ipc://{folder}/socket"
        self.handled: Counter[Any] = Counter()
        self.keys: Keys | None = None
        self.outcome: Outcome | None = None
        self._lock = threading.Lock()
        self._slaves: list[tuple[Slave, threading.Thread]] = []
        self._codes: list[int] = []

    def count(self, job: Any) -> None:
        with self._lock:
            self.handled[job] += 1

    def master(self, get_jobs: Callable[..., Any], arguments: dict[str, Any] | None = None, **options: Any) -> Master:
        work = Workload(get_jobs, arguments or {}, Identity("test", {}, "handler"), self.folder / "state")
        master = Master(work, Options(**options))
        try:
            master.open(self.address, self.keys)
        except BaseException:
            master.close()
            raise
        return master

    def slave(self, handler: Callable[[Any], Any] | None = None, **more: Any) -> Slave:
        slave = Slave(handler or self.count, "handler", self.address, threads=more.pop("threads", 3),
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
    assert asked == ["", "row-039"]
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


def test_an_interrupt_settles_what_is_out_and_the_next_run_repeats_nothing(cluster: Cluster) -> None:
    def handler(job: int) -> None:
        time.sleep(0.002)
        cluster.count(job)

    master = cluster.master(numbers)
    thread = cluster.serve(master)
    cluster.slave(handler)
    cluster.slave(handler)
    assert wait_until(lambda: len(cluster.handled) > 50)
    master.interrupt()
    thread.join(SECONDS)
    assert cluster.outcome is not None and cluster.outcome.exit_code == EXIT_INTERRUPTED
    assert cluster.join() == [0, 0]
    before = len(cluster.handled)
    assert before < 1000 and cluster.outcome.stats.offset == before
    assert cluster.run(numbers).stats.replayed == 0
    assert cluster.handled == once(1000)


def test_an_interrupt_before_the_run_began_is_not_forgotten(cluster: Cluster) -> None:
    master = cluster.master(numbers)
    master.interrupt()
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
    monkeypatch.setattr("taskmaster.slave.control.codec.decode", lambda *what: decoded.append(what) or ([], {}))
    cluster.serve(master)
    slave = cluster.slave(patience=Patience(0.5, 4))
    if codec == "pickle":
        assert cluster.join() == [code] and "could run any code here" in str(slave.error)
        assert not decoded
    else:
        assert wait_until(lambda: decoded) and {form for form, _ in decoded} == {"json"}
    master.interrupt()
    master.interrupt()


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

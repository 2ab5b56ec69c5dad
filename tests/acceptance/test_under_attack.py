"""A real master under fire, from strangers and from one who holds the key: it serves on, keeps little, says little."""

from __future__ import annotations

import functools
import json
import random
import resource
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import zmq
from helpers import Ended, Place, Running, free_port, numbers, wait_until

from taskmaster import defaults
from taskmaster.transport import keys

SLOW = '''
def handle_job(job):
    record(job)
    time.sleep(0.005)
'''
JOBS = 1500
FLAT = 24 << 20  # bytes that a master may grow by
CHANCE = random.Random(7)


class Attacked:
    """A master at work for two slaves; `check` it once the attack is over."""

    def __init__(self, place: Place, port: int, preexec: Callable[[], object] | None = None, slaves: int = 2) -> None:
        self.place = place
        self.port = port
        self.address = f"tcp://127.0.0.1:{port}"
        self.master = place.start("master", "work.py", f"n={JOBS}", "--address", self.address, preexec=preexec)
        self.slaves: list[Running] = []
        assert wait_until(self.listens), "does not listen"
        self.before = resident(self.master.pid)
        if slaves:
            self.start_slaves(slaves)
            self.before = resident(self.master.pid)

    def listens(self) -> bool:
        try:
            self.connect().close()
        except OSError:
            return False
        return True

    def start_slaves(self, count: int) -> None:
        for _ in range(count):
            self.slaves.append(self.place.start("slave", "work.py", "--address", self.address, "--concurrency", 2))
        assert wait_until(lambda: len(self.place.handled()) > 20), "has not begun"

    @property
    def keys(self) -> keys.Keys:
        return keys.read(self.place.folder / ".config" / "taskmaster" / "key")

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), 5.0)

    def check(self) -> Ended:
        grown = resident(self.master.pid) - self.before
        assert grown < FLAT, f"the master grew by {grown >> 20} MiB"
        assert len(self.place.handled()) < JOBS, "over before the attack was"
        ended = self.master.end()
        assert (ended.code, ended.tracebacks) == (0, 0), ended.err
        assert len(ended.err) < 3000, "a stranger can fill the log"
        for slave in self.slaves:
            assert slave.end().code == 0
        return ended


def resident(pid: int) -> int:
    """Bytes of memory that a process has at hand."""
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * resource.getpagesize()


@pytest.fixture
def attacked(place: Place) -> Attacked:
    place.write(SLOW)
    return Attacked(place, free_port())


@contextmanager
def side_by_side(work: Callable[[], None], threads: int) -> Iterator[None]:
    running = [threading.Thread(target=work) for _ in range(threads)]
    for thread in running:
        thread.start()
    yield
    for thread in running:
        thread.join()


@contextmanager
def strangers(attacked: Attacked, count: int) -> Iterator[None]:
    """So many connections that say nothing."""
    with ExitStack() as open_ones:
        for _ in range(count):
            open_ones.enter_context(attacked.connect())
        yield


def say_garbage(attacked: Attacked, chance: random.Random) -> None:
    openings = [b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", b"\xff" + bytes(8) + b"\x7f\x03\x00CURVE", b"\x01\x00"]
    try:
        with attacked.connect() as stranger:
            stranger.sendall(chance.choice(openings) + chance.randbytes(chance.randrange(500)))
    except OSError:
        pass  # it was cut off: that is what should happen


def test_two_thousand_strangers_who_talk_nonsense(attacked: Attacked) -> None:
    for number in range(2000):
        say_garbage(attacked, CHANCE)
    attacked.check()
    assert attacked.place.handled().keys() == numbers(JOBS)


def test_strangers_who_only_connect(attacked: Attacked) -> None:
    with strangers(attacked, 300):
        attacked.check()
    assert attacked.place.handled().keys() == numbers(JOBS)


GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
READY = b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x06DEALER"


def test_a_message_without_an_end_from_a_stranger(attacked: Attacked) -> None:
    """Its frames are gathered until the last one comes, and no limit of libzmq's is for that."""
    more = (b"\x03" + (60_000).to_bytes(8, "big") + bytes(60_000)) * 20
    sent = 0
    try:
        with attacked.connect() as stranger:
            stranger.sendall(GREETING + READY)
            for _ in range(100):
                stranger.sendall(more)
                sent += len(more)
    except OSError:
        pass
    assert sent < 100 * len(more), "the master took it all"
    attacked.check()
    assert attacked.place.handled().keys() == numbers(JOBS)


@contextmanager
def insider(attacked: Attacked) -> Iterator[zmq.Socket[bytes]]:
    """A peer that holds the key, and means harm."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.setsockopt(zmq.LINGER, 0)
        dealer.setsockopt(zmq.SNDTIMEO, 2000)
        dealer.setsockopt(zmq.CURVE_SERVERKEY, attacked.keys.master.public)
        dealer.setsockopt(zmq.CURVE_PUBLICKEY, attacked.keys.slave.public)
        dealer.setsockopt(zmq.CURVE_SECRETKEY, attacked.keys.slave.secret)
        dealer.connect(attacked.address)
        yield dealer


def greeted(dealer: zmq.Socket[bytes]) -> dict[str, Any]:
    """A header that the master takes for one of its own slave's."""
    slave_id = CHANCE.randbytes(8).hex()
    hello = {"v": 1, "run": "", "epoch": 0, "sid": slave_id, "n": 1, "want": 0, "wait": 0, "state": "run"}
    dealer.send_multipart([b"id", b"", json.dumps(hello).encode(), b""])
    assert dealer.poll(5000), "the master does not answer"
    reply = json.loads(dealer.recv_multipart()[2])
    return {**hello, "run": reply["run"], "epoch": reply["epoch"]}


def spoilt(header: dict[str, Any], n: int) -> bytes:
    """The header with an odd field, or odd bytes; nothing in it claims that a real job is done."""
    odd = [None, -1, 1 << 62, 1 << 80, 1.5, "x" * 300, [], [[]], [[JOBS + 5, 1]], [[JOBS, (1 << 62) - 1]], {"a": {}}]
    field = CHANCE.choice(["run", "epoch", "n", "want", "wait", "state", "held", "done", "info", "v", "kind"])
    data = bytearray(json.dumps({**header, "n": n, field: CHANCE.choice(odd)}).encode())
    if CHANCE.random() < 0.3:
        data[CHANCE.randrange(len(data))] = CHANCE.randrange(256)
    return bytes(data)


def test_thousands_of_bad_messages_behind_a_good_key(attacked: Attacked) -> None:
    with insider(attacked) as dealer:
        header = greeted(dealer)
        for n in range(2, 5000):
            dealer.send_multipart([b"id", b"", spoilt(header, n), CHANCE.choice([b"", b"[]", b"[[1]]", b"\xff" * 99])])
            while dealer.poll(0):
                dealer.recv_multipart()
        assert greeted(dealer)["run"] == header["run"], "the master answers no more"
        attacked.check()
    assert attacked.place.handled().keys() == numbers(JOBS)


def test_large_messages_behind_a_good_key(attacked: Attacked) -> None:
    with insider(attacked) as dealer:
        header = json.dumps(greeted(dealer)).encode()
        for _ in range(10):
            dealer.send_multipart([b"id", b"", header, *[bytes(1000)] * 3000])
            dealer.send_multipart([b"x"] * 3000)
            dealer.send_multipart([b"id", b"", b"[" * defaults.HEADER_BYTES, bytes(defaults.REPORT_BYTES)])
        assert greeted(dealer)
        dealer.send_multipart([b"id", b"", header, bytes(defaults.REPORT_BYTES * 2)])  # it is hung up on for that
        attacked.check()
    assert attacked.place.handled().keys() == numbers(JOBS)


def test_a_thousand_made_up_slaves_behind_a_good_key(attacked: Attacked) -> None:
    with insider(attacked) as dealer:
        header = greeted(dealer)
        for number in range(1000):
            dealer.send_multipart([b"id", b"", json.dumps({**header, "sid": f"m{number}"}).encode(), b""])
        assert greeted(dealer)
    attacked.check()
    assert attacked.place.handled().keys() == numbers(JOBS)


def test_strangers_who_only_connect_leave_files_for_the_state(place: Place) -> None:
    """With all descriptors taken by connections no checkpoint could be written, and the run ended with 74."""
    place.write(SLOW)
    attacked = Attacked(place, free_port(), lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)))
    with strangers(attacked, 200):
        attacked.check()
    assert place.handled().keys() == numbers(JOBS)


def test_strangers_who_only_connect_do_not_keep_a_slave_out(place: Place) -> None:
    """With all the room theirs, a slave that came later was cut off each time, took that for another key, and ended."""
    place.write(SLOW)
    few = functools.partial(resource.setrlimit, resource.RLIMIT_NOFILE, (64, 64))
    attacked = Attacked(place, free_port(), few, slaves=0)
    with strangers(attacked, 200):
        attacked.start_slaves(2)
        attacked.check()
    assert place.handled().keys() == numbers(JOBS)


def test_few_files_are_told_of_and_are_enough_for_some_slaves(place: Place) -> None:
    here = ("--address", f"tcp://127.0.0.1:{free_port()}")
    master = place.start("master", "work.py", *here,
                         preexec=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)))
    spawn = place.start("spawn", "work.py", 3, *here)
    ended = master.end()
    assert ended.code == 0 and "may open only 64 files, so at most about 32 slaves" in ended.err
    spawn.signal(15)
    spawn.end()
    assert place.handled().keys() == numbers(100)

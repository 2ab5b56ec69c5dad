"""A master under attack, by strangers and by a peer with the key: it serves on, uses little memory, logs little."""

from __future__ import annotations

import json
import random
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import zmq
from helpers import Ended, Place, Running, free_port, numbers, wait_until
from support.processes import memory_of

from taskmaster import defaults
from taskmaster.transport import keys

SLOW = '''
def handle_job(job):
    record(job)
    time.sleep(0.005)
'''
JOBS = 1500
FLAT = 24.0  # MiB that a master may grow by
FEW_FILES = 64
CHANCE = random.Random(7)


class Attacked:
    """A master at work for two slaves; `check` it after the attack."""

    def __init__(self, place: Place, port: int, preexec: Callable[[], object] | None = None, slaves: int = 2) -> None:
        self.place = place
        self.port = port
        self.address = f"tcp://127.0.0.1:{port}"
        self.master = place.start("master", "work.py", f"n={JOBS}", "--address", self.address, preexec=preexec)
        self.slaves: list[Running] = []
        assert wait_until(self.listens), "does not listen"
        self.before = memory_of(self.master.pid)
        if slaves:
            self.start_slaves(slaves)
            self.before = memory_of(self.master.pid)

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
        grown = memory_of(self.master.pid) - self.before
        assert grown < FLAT, f"the master grew by {grown:.0f} MiB"
        assert len(self.place.handled()) < JOBS, "the run ended before the attack did"
        ended = self.master.end()
        assert (ended.code, ended.tracebacks) == (0, 0), ended.err
        assert len(ended.err) < 3000, "a stranger can fill the log"
        for slave in self.slaves:
            assert slave.end().code == 0
        return ended


def limit_files() -> None:
    """In the process to be: it may open few files."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (FEW_FILES, FEW_FILES))


@pytest.fixture
def attacked(place: Place) -> Attacked:
    place.write(SLOW)
    return Attacked(place, free_port())


@contextmanager
def strangers(attacked: Attacked, count: int) -> Iterator[None]:
    """This many connections that send nothing."""
    with ExitStack() as open_ones:
        for _ in range(count):
            open_ones.enter_context(attacked.connect())
        yield


def send_garbage(attacked: Attacked, chance: random.Random) -> None:
    openings = [b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", b"\xff" + bytes(8) + b"\x7f\x03\x00CURVE", b"\x01\x00"]
    try:
        with attacked.connect() as stranger:
            stranger.sendall(chance.choice(openings) + chance.randbytes(chance.randrange(500)))
    except OSError:
        pass  # it was cut off, as it should be


def test_two_thousand_strangers_that_send_garbage(attacked: Attacked) -> None:
    for number in range(2000):
        send_garbage(attacked, CHANCE)
    attacked.check()
    assert attacked.place.handled().keys() == numbers(JOBS)


def test_strangers_that_only_connect(attacked: Attacked) -> None:
    with strangers(attacked, 300):
        attacked.check()
    assert attacked.place.handled().keys() == numbers(JOBS)


GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
READY = b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x06DEALER"


def test_an_endless_message_from_a_stranger(attacked: Attacked) -> None:
    """libzmq collects its frames until the last one comes, and has no limit for that."""
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
    """A malicious peer that holds the key."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.setsockopt(zmq.LINGER, 0)
        dealer.setsockopt(zmq.SNDTIMEO, 2000)
        dealer.setsockopt(zmq.CURVE_SERVERKEY, attacked.keys.master.public)
        dealer.setsockopt(zmq.CURVE_PUBLICKEY, attacked.keys.slave.public)
        dealer.setsockopt(zmq.CURVE_SECRETKEY, attacked.keys.slave.secret)
        dealer.connect(attacked.address)
        yield dealer


def greeted(dealer: zmq.Socket[bytes]) -> dict[str, Any]:
    """A header that the master accepts as one of a slave's."""
    slave_id = CHANCE.randbytes(8).hex()
    hello = {"v": 1, "run": "", "epoch": 0, "sid": slave_id, "n": 1, "want": 0, "wait": 0, "state": "run"}
    dealer.send_multipart([b"id", b"", json.dumps(hello).encode(), b""])
    assert dealer.poll(5000), "the master does not answer"
    reply = json.loads(dealer.recv_multipart()[2])
    while reply["kind"] == "error":  # to a message before, of another version
        reply = json.loads(dealer.recv_multipart()[2])
    return {**hello, "run": reply["run"], "epoch": reply["epoch"]}


def spoilt(header: dict[str, Any], n: int) -> bytes:
    """The header with an odd field or odd bytes; nothing in it reports a real job as done."""
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
        assert greeted(dealer)["run"] == header["run"], "the master does not answer any more"
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
        dealer.send_multipart([b"id", b"", header, bytes(defaults.REPORT_BYTES * 2)])  # closes the connection
        attacked.check()
    assert attacked.place.handled().keys() == numbers(JOBS)


def test_a_thousand_invented_slaves_behind_a_good_key(attacked: Attacked) -> None:
    with insider(attacked) as dealer:
        header = greeted(dealer)
        for number in range(1000):
            dealer.send_multipart([b"id", b"", json.dumps({**header, "sid": f"m{number}"}).encode(), b""])
        assert greeted(dealer)
    attacked.check()
    assert attacked.place.handled().keys() == numbers(JOBS)


def test_strangers_that_only_connect_leave_files_for_the_state(place: Place) -> None:
    """With all descriptors taken by connections no checkpoint could be written, and the run ended with 74."""
    place.write(SLOW)
    attacked = Attacked(place, free_port(), limit_files)
    with strangers(attacked, 200):
        attacked.check()
    assert place.handled().keys() == numbers(JOBS)


def test_strangers_that_only_connect_do_not_keep_a_slave_out(place: Place) -> None:
    """With all room taken, a later slave was cut off each time, concluded that the key was another, and ended."""
    place.write(SLOW)
    attacked = Attacked(place, free_port(), limit_files, slaves=0)
    with strangers(attacked, 200):
        attacked.start_slaves(2)
        attacked.check()
    assert place.handled().keys() == numbers(JOBS)


def test_a_low_limit_of_files_is_reported_and_is_enough_for_some_slaves(place: Place) -> None:
    here = ("--address", f"tcp://127.0.0.1:{free_port()}")
    master = place.start("master", "work.py", *here, preexec=limit_files)
    spawn = place.start("spawn", "work.py", 3, *here)
    ended = master.end()
    assert ended.code == 0 and f"may open only {FEW_FILES} files, so at most about 32 slaves" in ended.err
    spawn.signal(15)
    spawn.end()
    assert place.handled().keys() == numbers(100)

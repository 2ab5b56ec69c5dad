"""Sockets: frames arrive, answers find their way, dropped peers are noticed, and no address is taken twice."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.waiting import SECONDS, awaited

from taskmaster.errors import UsageError
from taskmaster.transport.dialer import COPIED_BYTES, Dialer
from taskmaster.transport.listener import Listener
from taskmaster.transport.private_address import private_address
from taskmaster.transport.waker import Waker


@pytest.mark.parametrize("scheme", ["tcp", "ipc"])
def test_a_request_and_its_answer(scheme: str, tmp_path: Path, opened: Callable[[Any], Any]) -> None:
    listener = opened(Listener("tcp://127.0.0.1:0" if scheme == "tcp" else f"ipc://{tmp_path}/s"))
    dialer = opened(Dialer(listener.address))
    dialer.send([b"head", b"blob"])
    route, frames = awaited(listener.receive, listener.wait)
    assert frames == [b"head", b"blob"]
    listener.send(route, [b"answer", b""])
    assert awaited(dialer.receive, dialer.wait) == [b"answer", b""]


@pytest.mark.parametrize("size", [COPIED_BYTES - 1, COPIED_BYTES, 10 * COPIED_BYTES])
def test_a_large_answer_outlives_the_next_one(size: int, opened: Callable[[Any], Any]) -> None:
    """It is a view of ZeroMQ's memory, and leases are decoded while the next answer comes."""
    listener = opened(Listener("tcp://127.0.0.1:0"))
    dialer = opened(Dialer(listener.address))
    answers = []
    for byte in b"abc":
        dialer.send([b"ask"])
        route, _ = awaited(listener.receive, listener.wait)
        listener.send(route, [b"head", bytes([byte]) * size])
        answers.append(awaited(dialer.receive, dialer.wait))
    assert [bytes(blob) for _, blob in answers] == [bytes([byte]) * size for byte in b"abc"]


def test_the_answer_to_an_overtaken_request_is_not_taken_for_that_of_the_newer(opened: Callable[[Any], Any]) -> None:
    listener = opened(Listener("tcp://127.0.0.1:0"))
    dialer = opened(Dialer(listener.address))
    dialer.send([b"one"])
    older, _ = awaited(listener.receive, listener.wait)
    dialer.send([b"two"])
    newer, _ = awaited(listener.receive, listener.wait)
    listener.send(older, [b"to one"])
    listener.send(newer, [b"to two"])
    assert awaited(dialer.receive, dialer.wait) == [b"to two"]


def test_a_dropped_peer_is_told_by_its_id(opened: Callable[[Any], Any]) -> None:
    listener = opened(Listener("tcp://127.0.0.1:0"))
    dialer = Dialer(listener.address)
    dialer.send([b"hello"])
    route, _ = awaited(listener.receive, listener.wait)
    dialer.close()
    assert awaited(listener.dropped, listener.wait) == [(route[0], True)]


def test_a_rebuilt_dialer_is_another_peer(opened: Callable[[Any], Any]) -> None:
    listener = opened(Listener("tcp://127.0.0.1:0"))
    dialer = opened(Dialer(listener.address))
    dialer.send([b"a"])
    first, _ = awaited(listener.receive, listener.wait)
    dialer.rebuild()
    dialer.send([b"b"])
    second, frames = awaited(listener.receive, listener.wait)
    assert frames == [b"b"] and second[0] != first[0]


@pytest.mark.parametrize("said", [
    b"", b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 500, bytes(range(256)) * 4,
    b"\x01\x00\x03\x00hi",  # the first protocol of ZeroMQ, which libzmq still speaks: no name, then a message
])
def test_garbage_on_the_port_harms_nobody(said: bytes, opened: Callable[[Any], Any]) -> None:
    listener = opened(Listener("tcp://127.0.0.1:0"))
    host, port = listener.address.removeprefix("tcp://").split(":")
    with socket.create_connection((host, int(port))) as stranger:
        stranger.sendall(said)
        dialer = opened(Dialer(listener.address))
        dialer.send([b"still there?"])
        heard = []
        while [b"still there?"] not in heard:
            heard.append(awaited(listener.receive, listener.wait)[1])


def test_to_a_peer_that_is_gone_nothing_is_sent_and_nothing_raised(opened: Callable[[Any], Any]) -> None:
    listener = opened(Listener("tcp://127.0.0.1:0"))
    listener.send((b"nobody", b""), [b"answer"])


@pytest.mark.parametrize("scheme", ["tcp", "ipc"])
def test_an_address_in_use_is_refused(scheme: str, tmp_path: Path, opened: Callable[[Any], Any]) -> None:
    first = opened(Listener("tcp://127.0.0.1:0" if scheme == "tcp" else f"ipc://{tmp_path}/s"))
    with pytest.raises(UsageError, match="in use"):
        Listener(first.address)


def test_the_socket_file_of_a_killed_master_is_no_hindrance(tmp_path: Path, opened: Callable[[Any], Any]) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "s"))
    opened(Listener(f"ipc://{tmp_path}/s"))


@pytest.mark.parametrize("kind", ["file", "empty file", "folder", "symbolic link", "pipe"])
def test_listening_never_removes_what_is_no_socket(kind: str, tmp_path: Path) -> None:
    path, data = tmp_path / "results.db", tmp_path / "data"
    data.write_text("three years of data")
    {"file": lambda: path.write_text("three years of data"), "empty file": path.touch, "folder": path.mkdir,
     "symbolic link": lambda: path.symlink_to(data), "pipe": lambda: os.mkfifo(path)}[kind]()
    before = path.lstat()
    with pytest.raises(UsageError, match="exists and is not a socket.*--address ipc://"):
        Listener(f"ipc://{path}")
    assert path.lstat().st_ino == before.st_ino and path.lstat().st_size == before.st_size
    assert data.read_text() == "three years of data"


def test_a_private_address_is_in_a_folder_of_its_own_that_goes_with_it() -> None:
    with private_address() as address:
        folder = Path(address.removeprefix("ipc://")).parent
        assert folder.stat().st_mode & 0o077 == 0
    assert not folder.exists()


HOLD_AN_ADDRESS = """
import sys, tempfile
from taskmaster.transport.private_address import private_address
tempfile.tempdir = sys.argv[1]
with private_address() as address:
    open(address.removeprefix("ipc://"), "w").close()
    print(address, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process with a private address in a folder in `tmp_path`."""
    with subprocess.Popen([sys.executable, "-c", HOLD_AN_ADDRESS, str(tmp_path)], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_the_folder_of_a_killed_master_is_removed_and_nothing_else(
        holder: subprocess.Popen[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "taskmaster-state").mkdir()
    (tmp_path / "taskmaster-state" / "lock").touch()
    foreign = tmp_path / "taskmaster-socket-of-another-kind"
    foreign.mkdir()
    (foreign / "data").touch()
    (tmp_path / "taskmaster-socket-12345678").mkdir()  # its master was killed before it made the lock
    holder.kill()
    holder.wait()
    with private_address():
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [foreign.name, "taskmaster-state"]


def test_the_folder_of_a_live_run_is_left_alone_even_if_its_process_id_means_nothing_here(
        holder: subprocess.Popen[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with two containers that share /tmp: neither sees the other's processes."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(os, "kill", lambda pid, number: (_ for _ in ()).throw(ProcessLookupError()))
    with private_address():
        pass
    folder, = tmp_path.iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["master", "master.lock"]


def test_a_temporary_folder_with_a_long_path_is_replaced_by_a_short_one(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long, short = tmp_path / ("x" * 100), tempfile.mkdtemp(prefix="s", dir="/tmp")
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    monkeypatch.setattr("taskmaster.transport.private_address._SHORT_FOLDERS", (short,))
    with private_address() as address:
        assert address.startswith(f"ipc://{short}/")
    os.rmdir(short)  # empty again


def test_where_no_folder_can_be_written_one_sentence_names_tmpdir(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    monkeypatch.setattr("taskmaster.transport.private_address._SHORT_FOLDERS", ("/proc/self",))
    with pytest.raises(UsageError, match="Set TMPDIR to a writable folder"), private_address():
        pass


def test_a_ring_from_another_thread_ends_a_wait(opened: Callable[[Any], Any]) -> None:
    listener, waker = opened(Listener("tcp://127.0.0.1:0")), opened(Waker())
    listener.register(waker)
    threading.Timer(0.05, waker.wake).start()
    began = time.monotonic()
    listener.wait(SECONDS)
    assert time.monotonic() - began < SECONDS / 2
    waker.clear()
    waker.wake()
    waker.wake()
    listener.wait(SECONDS)
    assert time.monotonic() - began < SECONDS / 2


def test_a_peer_whose_descriptor_is_taken_by_the_next_at_once_is_noticed(opened: Callable[[Any], Any],
                                                                         tmp_path: Path) -> None:
    """The end of a killed slave's connection was taken for that of the slave that came after it: its jobs waited for
    a minute, and the other one's were given away."""
    listener = opened(Listener(f"ipc://{tmp_path}/socket"))
    before: list[bytes] = []
    for _ in range(30):
        dialer = Dialer(listener.address)
        dialer.send([b"here", b""])
        [newcomer, *_], _ = awaited(listener.receive, listener.wait)
        assert [peer for peer, _ in listener.dropped()] == before
        dialer.close()
        time.sleep(0.01)  # so that its descriptor is free before the next one comes
        before = [newcomer]

"""Sockets: frames arrive, answers find their way, dropped peers are noticed, and no address is taken twice."""

from __future__ import annotations

import contextlib
import os
import shutil
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

from taskmaster import defaults
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


@pytest.mark.parametrize("spoke_before", [True, False])
@pytest.mark.parametrize("scheme", ["tcp", "ipc"])
def test_the_last_words_of_a_dropped_peer_are_read_and_are_no_sign_of_life(
        scheme: str, spoke_before: bool, tmp_path: Path, opened: Callable[[Any], Any]) -> None:
    """Its end was noticed, then its last message was read, and it counted as connected for the life of a lease."""
    listener = opened(Listener("tcp://127.0.0.1:0" if scheme == "tcp" else f"ipc://{tmp_path}/s"))
    dialer = Dialer(listener.address)
    dialer.preflight()
    if spoke_before:
        dialer.send([b"hello"])
        awaited(listener.receive, listener.wait)
    dialer.send([b"last words"])
    dialer.close()
    if spoke_before:
        [dropped] = awaited(listener.dropped, listener.wait)
    else:
        _await_end(dialer, listener)
    route, frames = awaited(listener.receive, listener.wait)
    assert frames == [b"last words"]
    listener.wait(SECONDS)
    assert listener.dropped() == [(route[0], True)]
    assert not spoke_before or dropped == (route[0], True)
    assert listener.receive() is None and listener.dropped() == []


def _await_end(dialer: Dialer, listener: Listener) -> None:
    """Until the listener knows that its only connection has ended."""
    assert awaited(lambda: listener.dropped() or listener._peers._unheard, time.sleep)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says what a connection has carried")
def test_both_ends_see_what_their_connection_carries(opened: Callable[[Any], Any]) -> None:
    listener = opened(Listener("tcp://127.0.0.1:0"))
    dialer = opened(Dialer(listener.address))
    assert dialer.transfer() is None, "there is no connection yet"
    dialer.send([b"request"])
    route, _ = awaited(listener.receive, listener.wait)
    dialer.receive()
    before, at_master = dialer.transfer(), listener.transfer(route[0])
    listener.send(route, [b"answer", bytes(1 << 20)])
    assert awaited(dialer.receive, dialer.wait)
    after = dialer.transfer()
    assert after.received - before.received >= 1 << 20 and after.moved_since(before) and after.trip > 0
    assert awaited(lambda: listener.transfer(route[0]).confirmed - at_master.confirmed >= 1 << 20, time.sleep)
    assert awaited(lambda: not listener.transfer(route[0]).sending, time.sleep)
    assert listener.transfer(b"nobody") is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says what a connection has carried")
def test_a_message_is_seen_before_it_has_arrived(opened: Callable[[Any], Any]) -> None:
    """Over a line of 10 MB/s at which the peer reads."""
    listener = opened(Listener("tcp://127.0.0.1:0"))
    host, port = listener.address.removeprefix("tcp://").split(":")
    with socket.create_server(("127.0.0.1", 0)) as line:
        dialer = opened(Dialer(f"tcp://127.0.0.1:{line.getsockname()[1]}"))
        dialer.send([b"request"])
        near, _ = line.accept()
        with near, socket.create_connection((host, int(port))) as far:
            threading.Thread(target=_pump, args=(near, far, 0.0), daemon=True).start()
            threading.Thread(target=_pump, args=(far, near, 0.01), daemon=True).start()
            route, _ = awaited(listener.receive, listener.wait)
            dialer.receive()
            listener.send(route, [b"answer", bytes(8 << 20)])
            seen = [dialer.transfer()]
            while dialer.receive() is None:
                time.sleep(0.01)
                seen.append(dialer.transfer())
    assert any(later.moved_since(sooner) and later.received < 8 << 20 for sooner, later in zip(seen, seen[1:]))


def _pump(source: socket.socket, sink: socket.socket, seconds: float) -> None:
    """Pass on 100 kB at a time, and rest as long in between."""
    with contextlib.suppress(OSError):
        while data := source.recv(100_000):
            sink.sendall(data)
            time.sleep(seconds)


@pytest.mark.parametrize("scheme", ["ipc", "none"])
def test_without_tcp_it_is_not_known_what_a_connection_carries(scheme: str, tmp_path: Path,
                                                               opened: Callable[[Any], Any]) -> None:
    dialer = opened(Dialer(f"ipc://{tmp_path}/s" if scheme == "ipc" else "tcp://127.0.0.1:1"))
    if scheme == "ipc":
        listener = opened(Listener(f"ipc://{tmp_path}/s"))
        dialer.send([b"request"])
        route, _ = awaited(listener.receive, listener.wait)
        assert listener.transfer(route[0]) is None
    dialer.receive()
    assert dialer.transfer() is None


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


def test_a_socket_file_that_was_removed_is_made_again(tmp_path: Path, opened: Callable[[Any], Any],
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    """As by a cleaner of /tmp, with its folder; and the source of jobs has changed the working folder since."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(defaults, "SOCKET_FILE_SECONDS", 0.0)
    (tmp_path / "run").mkdir()
    listener = opened(Listener("ipc://run/s"))
    connected = opened(Dialer(f"ipc://{tmp_path}/run/s"))
    connected.send([b"first"])
    assert awaited(listener.receive, listener.wait)[1] == [b"first"]
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    shutil.rmtree(tmp_path / "run")

    assert listener.dropped() == []
    assert (tmp_path / "run/s").stat().st_mode & 0o077 == 0
    assert (tmp_path / "run").stat().st_mode & 0o077 == 0
    newcomer = opened(Dialer(f"ipc://{tmp_path}/run/s"))
    for dialer in (newcomer, connected):
        dialer.send([b"there"])
        route, frames = awaited(listener.receive, listener.wait)
        listener.send(route, [b"too"])
        assert frames == [b"there"] and awaited(dialer.receive, dialer.wait) == [b"too"]


@pytest.mark.parametrize("kind", ["a file with data", "another master's socket"])
def test_what_was_put_in_the_place_of_a_socket_file_is_left_alone(
        kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """libzmq removes whatever is at the path when it closes."""
    monkeypatch.setattr(defaults, "SOCKET_FILE_SECONDS", 0.0)
    path = tmp_path / "s"
    listener = Listener(f"ipc://{path}")
    path.unlink()
    with socket.socket(socket.AF_UNIX) as another:
        path.write_text("three years of data") if kind == "a file with data" else another.bind(str(path))
        before = path.lstat()
        for _ in range(3):
            assert listener.dropped() == []
        listener.close()
    assert path.lstat() == before
    assert [one.levelname for one in caplog.records] == ["WARNING"] and "another file was put there" in caplog.text


@pytest.mark.parametrize("how", ["closed", "taken"])
def test_a_socket_file_goes_with_its_socket(how: str, tmp_path: Path) -> None:
    listener = Listener(f"ipc://{tmp_path}/s")
    if how == "taken":
        with pytest.raises(UsageError, match="in use"):
            Listener(f"ipc://{tmp_path}/s")
        assert (tmp_path / "s").is_socket()
    listener.close()
    assert not list(tmp_path.iterdir())

"""Sockets with keys: who holds the key talks, nobody else is heard, and either side finds out why."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import zmq
from support.waiting import SECONDS, awaited

from taskmaster import defaults
from taskmaster.errors import KeyRefused
from taskmaster.transport import handshake, keys
from taskmaster.transport import listener as net
from taskmaster.transport.admission import ZapAuthenticator
from taskmaster.transport.dialer import Dialer
from taskmaster.transport.listener import Listener
from taskmaster.transport.waker import Waker

SOON = 3.0  # a refusal has to be known by then
OURS = keys.derive(b"1" * 32, "/a/key")
THEIRS = keys.derive(b"2" * 32, "/b/key")
ANYWHERE = "tcp://127.0.0.1:0"


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


HAS_IPV6 = has_ipv6()


def refusal(dialer: Dialer, seconds: float = SOON) -> str | None:
    try:
        awaited(dialer.receive, dialer.wait, seconds)
    except KeyRefused as refused:
        return str(refused)
    return None


def test_who_holds_the_key_is_heard_and_answered(opened: Callable[[Any], Any]) -> None:
    listener = opened(Listener(ANYWHERE, OURS))
    dialer = opened(Dialer(listener.address, OURS))
    dialer.send([b"head", b"blob"])
    route, frames = awaited(listener.receive, listener.wait)
    assert frames == [b"head", b"blob"]
    listener.send(route, [b"answer", b""])
    assert awaited(dialer.receive, dialer.wait) == [b"answer", b""]
    dialer.rebuild()
    dialer.send([b"again"])
    assert awaited(listener.receive, listener.wait)[1] == [b"again"]


@pytest.mark.skipif(not HAS_IPV6, reason="this machine has no ::1")
@pytest.mark.parametrize("host", ["[::1]", "[::]"])
def test_ipv6_carries_requests_and_names_the_peer_and_the_wrong_key(host: str, opened: Callable[[Any], Any]) -> None:
    listener = opened(Listener(f"tcp://{host}:0", OURS))
    dialer = Dialer(listener.address, OURS)
    dialer.send([b"head"])
    route, frames = awaited(listener.receive, listener.wait)
    assert frames == [b"head"]
    listener.send(route, [b"answer"])
    assert awaited(dialer.receive, dialer.wait) == [b"answer"]
    dialer.close()
    assert awaited(listener.dropped, listener.wait) == [(route[0], True)]
    says = refusal(opened(Dialer(listener.address, THEIRS)))
    assert says is not None and "has a different key" in says


@pytest.mark.skipif(not HAS_IPV6, reason="this machine has no ::1")
def test_a_master_on_every_interface_of_ipv6_also_serves_ipv4(opened: Callable[[Any], Any]) -> None:
    listener = opened(Listener("tcp://[::]:0", OURS))
    port = listener.address.rpartition(":")[2]
    dialer = Dialer(f"tcp://127.0.0.1:{port}", OURS)
    dialer.send([b"head"])
    route, _ = awaited(listener.receive, listener.wait)
    dialer.close()
    assert awaited(listener.dropped, listener.wait) == [(route[0], True)]  # True: a peer on this machine


@pytest.mark.skipif(sys.platform != "linux", reason="reads the options of this process's sockets from /proc")
def test_both_ends_notice_a_peer_that_vanished_without_a_farewell(opened: Callable[[Any], Any]) -> None:
    listener = opened(Listener(ANYWHERE, OURS))
    port = int(listener.address.rpartition(":")[2])
    dialer = opened(Dialer(listener.address, OURS))
    dialer.send([b"head"])
    awaited(listener.receive, listener.wait)
    ends = list(connections(port))
    assert len(ends) == 2
    assert set(ends) == {(1, defaults.KEEPALIVE_IDLE_SECONDS, defaults.KEEPALIVE_PROBE_SECONDS,
                          defaults.KEEPALIVE_PROBES, 1000 * defaults.UNACKNOWLEDGED_SECONDS)}


def connections(port: int) -> Iterator[tuple[int, ...]]:
    """SO_KEEPALIVE, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT and TCP_USER_TIMEOUT of each end of a connection."""
    for name in os.listdir("/proc/self/fd"):
        try:
            copy = socket.socket(fileno=os.dup(int(name)))
        except OSError:
            continue  # no socket, or gone
        with copy:
            try:
                ends = {copy.getsockname()[1], copy.getpeername()[1]}
            except (OSError, IndexError):
                continue  # not connected, or of another family
            if port in ends:
                yield (copy.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                       *(copy.getsockopt(socket.IPPROTO_TCP, getattr(socket, option)) for option in (
                           "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")))


@pytest.mark.parametrize("masters, slaves, says", [
    (OURS, THEIRS, "has a different key from this slave"), (OURS, None, "requires a key"),
    (None, OURS, "runs with --insecure")])
def test_a_slave_that_does_not_fit_knows_it_soon_and_is_never_heard(
        masters: keys.Keys | None, slaves: keys.Keys | None, says: str, opened: Callable[[Any], Any]) -> None:
    listener = opened(Listener(ANYWHERE, masters))
    for _ in range(2):  # whichever side notices first: chance
        dialer = opened(Dialer(listener.address, slaves))
        dialer.send([b"let me in", b""])
        told = refusal(dialer)
        assert told is not None and says in told and listener.address in told
        assert listener.receive() is None


def test_a_slave_whose_master_is_exchanged_for_another_knows_it_too(opened: Callable[[Any], Any]) -> None:
    first = Listener(ANYWHERE, OURS)
    dialer = opened(Dialer(first.address, OURS))
    dialer.send([b"hello", b""])
    assert awaited(first.receive, first.wait)
    first.close()
    opened(Listener(first.address, THEIRS))
    assert "different key" in str(refusal(dialer, SOON + 1))


def test_a_slave_outlives_a_restart_of_its_master(opened: Callable[[Any], Any]) -> None:
    first = Listener(ANYWHERE, OURS)
    dialer = opened(Dialer(first.address, OURS))
    dialer.send([b"hello", b""])
    assert awaited(first.receive, first.wait)
    first.close()
    assert refusal(dialer, 0.5) is None
    second = opened(Listener(first.address, OURS))
    dialer.send([b"hello", b"again"])
    assert awaited(second.receive, lambda seconds: dialer.wait(seconds))[1] == [b"hello", b"again"]


def _hang_up(peer: socket.socket) -> None:
    peer.close()


def _say_nothing(peer: socket.socket) -> None:
    peer.recv(1000)


def _say_other_things(peer: socket.socket) -> None:
    peer.sendall(b"SSH-2.0-OpenSSH_9.6\r\n" + b"x" * 100)
    peer.close()


def _say_it_slowly(peer: socket.socket) -> None:
    for byte in b"\xff" + bytes(63):
        time.sleep(0.3)
        peer.sendall(bytes([byte]))


@pytest.mark.parametrize("behave, own", [
    (_hang_up, OURS), (_hang_up, None), (_say_nothing, OURS), (_say_other_things, OURS), (_say_it_slowly, OURS)])
def test_a_tunnel_with_no_master_behind_it_is_an_absent_master(
        behave: Callable[[socket.socket], None], own: keys.Keys | None, opened: Callable[[Any], Any],
        caplog: pytest.LogCaptureFixture) -> None:
    server = opened(socket.create_server(("127.0.0.1", 0)))

    def accept() -> None:
        while True:
            try:
                peer, _ = server.accept()
                threading.Thread(target=_quietly, args=(behave, peer), daemon=True).start()
            except OSError:
                return

    threading.Thread(target=accept, daemon=True).start()
    dialer = opened(Dialer(f"tcp://127.0.0.1:{server.getsockname()[1]}", own))
    dialer.send([b"hello", b""])
    assert refusal(dialer, 2.0) is None
    assert sum("has no room" in line for line in caplog.messages) == (behave in (_hang_up, _say_nothing))


def _quietly(behave: Callable[[socket.socket], None], peer: socket.socket) -> None:
    try:
        with peer:
            behave(peer)
    except OSError:
        pass


@pytest.mark.parametrize("listens, found", [(OURS, handshake.KEYED), (None, handshake.PLAIN)])
def test_a_look_tells_who_is_there(listens: keys.Keys | None, found: str, opened: Callable[[Any], Any]) -> None:
    listener = opened(Listener(ANYWHERE, listens))
    assert handshake.mechanism_at(listener.address) == found


def test_a_look_at_nobody_finds_nothing(opened: Callable[[Any], Any]) -> None:
    taken = opened(socket.create_server(("127.0.0.1", 0)))
    port = taken.getsockname()[1]
    taken.close()
    assert handshake.mechanism_at(f"tcp://127.0.0.1:{port}") is None
    assert handshake.mechanism_at("tcp://no.such.host.invalid:5") is None
    assert handshake.mechanism_at("ipc://here") is None


def raw_client(context: zmq.Context[Any], address: str, server: bytes, own: keys.Pair) -> zmq.Socket[bytes]:
    client = context.socket(zmq.DEALER)
    for option, value in ((zmq.LINGER, 0), (zmq.CURVE_SERVERKEY, server), (zmq.CURVE_PUBLICKEY, own.public),
                          (zmq.CURVE_SECRETKEY, own.secret)):
        client.setsockopt(option, value)
    client.connect(address)
    return client


@pytest.mark.parametrize("own, heard", [(OURS.slave, True), (THEIRS.slave, False), (OURS.master, False)])
def test_knowing_the_masters_public_key_is_not_enough(own: keys.Pair, heard: bool,
                                                      opened: Callable[[Any], Any]) -> None:
    listener = opened(Listener(ANYWHERE, OURS))
    with zmq.Context() as context, raw_client(context, listener.address, OURS.master.public, own) as client:
        client.send(b"hello")
        assert (awaited(listener.receive, listener.wait, SECONDS if heard else 0.7) is not None) is heard


def test_without_anybody_to_ask_nobody_gets_in(opened: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """libzmq admits every key then, unless it is told otherwise."""
    def no_handler(self: ZapAuthenticator, context: Any, own: keys.Keys) -> None:
        self._keys = own

    monkeypatch.setattr(ZapAuthenticator, "__init__", no_handler)
    listener = opened(Listener(ANYWHERE, OURS))
    with zmq.Context() as context, raw_client(context, listener.address, OURS.master.public, OURS.slave) as client:
        client.send(b"hello")
        assert awaited(listener.receive, listener.wait, 0.7) is None


def test_the_largest_frames_pass_with_a_key(opened: Callable[[Any], Any]) -> None:
    listener = opened(Listener(ANYWHERE, OURS))
    dialer = opened(Dialer(listener.address, OURS))
    dialer.send([b"h" * defaults.HEADER_BYTES, b"b" * defaults.REPORT_BYTES])
    route, frames = awaited(listener.receive, listener.wait)
    assert list(map(len, frames)) == [defaults.HEADER_BYTES, defaults.REPORT_BYTES]
    listener.send(route, [b"h", b"b" * defaults.BLOB_BYTES])
    assert [len(frame) for frame in awaited(dialer.receive, dialer.wait)] == [1, defaults.BLOB_BYTES]


@pytest.mark.parametrize("own", [OURS, None], ids=["key", "no key"])
def test_larger_frames_do_not_arrive_at_either_end(own: keys.Keys | None, opened: Callable[[Any], Any]) -> None:
    listener = opened(Listener(ANYWHERE, own))
    loud, other = opened(Dialer(listener.address, own)), opened(Dialer(listener.address, own))
    loud.send([b"h", b"b" * (defaults.REPORT_BYTES + 2 * defaults.CURVE_BYTES)])
    time.sleep(0.2)
    other.send([b"still", b"here"])
    route, frames = awaited(listener.receive, listener.wait)
    assert frames == [b"still", b"here"]
    listener.send(route, [b"h", b"b" * (defaults.BLOB_BYTES + 2 * defaults.CURVE_BYTES)])
    assert awaited(other.receive, other.wait, 1.0) is None


def test_a_stranger_who_says_nothing_is_cut_off(opened: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defaults, "HANDSHAKE_SECONDS", 0.3)
    listener = opened(Listener(ANYWHERE, OURS))
    with socket.create_connection(("127.0.0.1", int(listener.address.rsplit(":", 1)[1])), SECONDS) as stranger:
        while stranger.recv(100):
            pass  # the greeting, and then the end


def serve(listener: Listener, seconds: float) -> None:
    """Wait as the server does: it learns of dropped connections, too, which makes room."""
    listener.wait(seconds)
    listener.dropped()


class Served:
    """A listener in a thread of its own, and all that it heard."""

    def __init__(self) -> None:
        self.heard: list[list[bytes]] = []
        self._listener = Listener(ANYWHERE, OURS)
        self.address = self._listener.address
        self._waker, self._stop = Waker(), threading.Event()
        self._listener.register(self._waker)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while not self._stop.is_set():
            serve(self._listener, 1.0)
            while (message := self._listener.receive()) is not None:
                self.heard.append(message[1])
        self._listener.close()

    def hears(self, frames: list[bytes], dialer: Dialer, seconds: float = SECONDS) -> bool:
        """Whether these frames of the dialer's arrive; sent again whenever it had to reconnect."""
        def arrived() -> bool:
            dialer.receive()  # raises once it concludes that it will never get in
            if dialer.returned():
                dialer.send(frames)  # what was on its way is lost
            return frames in self.heard

        dialer.send(frames)
        return bool(awaited(arrived, dialer.wait, seconds))

    def close(self) -> None:
        self._stop.set()
        self._waker.wake()
        self._thread.join()
        self._waker.close()


def test_strangers_who_fill_the_room_are_cut_off_for_a_slave_that_speaks(
        opened: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(net, "make_room", lambda: 3)
    listener = opened(Listener(ANYWHERE, OURS))

    def heard(dialer: Dialer) -> bool:
        dialer.send([b"hello"])
        return awaited(listener.receive, partial(serve, listener)) is not None

    early = [opened(Dialer(listener.address, OURS)) for _ in range(2)]
    assert all(map(heard, early))
    host, port = listener.address.removeprefix("tcp://").split(":")
    strangers = [socket.create_connection((host, int(port)), SECONDS) for _ in range(20)]
    awaited(lambda: None, partial(serve, listener), 0.3)
    assert all(map(heard, early)), "a slave that was in was cut off"
    assert heard(opened(Dialer(listener.address, OURS))), "strangers keep a slave out"
    for stranger in strangers:
        stranger.close()
    assert sum("More than 3 connections" in line for line in caplog.messages) == 1


def test_a_slave_too_many_waits_for_room(opened: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """It used to say that the master had another key, and to end with 77."""
    monkeypatch.setattr(net, "make_room", lambda: 1)
    served = opened(Served())
    first = Dialer(served.address, OURS)
    assert served.hears([b"first"], first)
    late = opened(Dialer(served.address, OURS))
    assert not served.hears([b"late"], late, SOON)
    first.close()
    assert served.hears([b"late"], late)


def test_of_a_message_with_very_many_frames_few_are_kept(opened: Callable[[Any], Any]) -> None:
    listener = opened(Listener(ANYWHERE, OURS))
    with zmq.Context() as context, raw_client(context, listener.address, OURS.master.public, OURS.slave) as client:
        client.send_multipart([b"x"] * 10_000)
        client.send_multipart([b"id", b"", b"head", b"blob"])
        route, frames = awaited(listener.receive, listener.wait)
        assert len(route) + len(frames) <= defaults.FRAMES_KEPT + 1
        assert awaited(listener.receive, listener.wait)[1] == [b"head", b"blob"]


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="the mode of a socket file is POSIX")
@pytest.mark.parametrize("mask", [0, 0o022, 0o077])
def test_a_socket_file_is_closed_to_others_whatever_the_umask(mask: int, tmp_path: Path,
                                                              opened: Callable[[Any], Any]) -> None:
    before = os.umask(mask)
    try:
        opened(Listener(f"ipc://{tmp_path}/s"))
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert (tmp_path / "s").stat().st_mode & 0o077 == 0


def test_a_socket_file_of_another_user_is_not_believed(tmp_path: Path, opened: Callable[[Any], Any],
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    opened(Listener(f"ipc://{tmp_path}/s"))
    monkeypatch.setattr(handshake, "_owner", lambda descriptor, path: os.geteuid() + 1)
    dialer = opened(Dialer(f"ipc://{tmp_path}/s"))
    assert "Another user's process listens" in str(refusal(dialer))


def test_a_socket_file_that_is_closed_to_this_user_is_told(tmp_path: Path, opened: Callable[[Any], Any],
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "s").touch()
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != str(tmp_path / "s"))
    assert "you may not connect" in str(refusal(opened(Dialer(f"ipc://{tmp_path}/s"))))
    assert refusal(opened(Dialer(f"ipc://{tmp_path}/none")), 0.3) is None


def test_whose_process_listens_is_seen_by_the_connection(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(str(tmp_path / "s"))
        server.listen()
        client.connect(str(tmp_path / "s"))
        assert handshake.listener_is_ours(client.fileno(), str(tmp_path / "s")) is True
    assert handshake.listener_is_ours(client.fileno(), str(tmp_path / "gone")) is None

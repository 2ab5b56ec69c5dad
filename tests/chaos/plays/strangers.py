"""Peers that are no slaves of ours, or too many: random bytes, half handshakes, endless frames, fuzz, and crowds."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chaos.act import Act
from chaos.commands import INSECURE, Actor
from chaos.peer import Peer
from chaos.plays.shared import INTERRUPTED, crowd_of, growth_limited, joined_peer_of
from chaos.scene import Scene
from support.processes import free_port

KEY_REFUSED = 77
GARBAGE, HALVES = 5000, 500
FUZZ = 3000
CROWD = 300
KEPT = 0.8  # of the rate is promised while strangers come
GROWTH_MIB = 20.0
# What a peer of ZMTP 3.0 sends first: signature, version, mechanism NULL, and 31 bytes of filler.
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + b"\0" + bytes(31)


def garbage(act: Act) -> None:
    """Thousands of connections of random bytes and hundreds of half handshakes: the slaves' rate stays."""
    scene = act.scene().work(seconds=0.01)
    port = scene.on_tcp()
    master, spawn = scene.master(), scene.spawn(2)
    scene.await_slaves([spawn])
    scene.pause(1.0)
    before = scene.settled_since(time.monotonic() - 1.0)
    scene.blow("strangers")
    with growth_limited(scene, master, GROWTH_MIB):
        during = _rate_among_strangers(scene, port)
    if during < KEPT * before:
        scene.late.append(f"{during:.0f} jobs a second while {GARBAGE + HALVES} strangers came, of {before} before")
    scene.complete(master, spawn)


def _rate_among_strangers(scene: Scene, port: int) -> float:
    """Jobs a second."""
    began = time.monotonic()
    with contextlib.ExitStack() as halves:
        for _ in range(HALVES):
            halves.enter_context(_half_handshake(port))
        for _ in range(GARBAGE):
            _random_bytes(port, scene.chance)
        return scene.settled_since(began) / (time.monotonic() - began)


def _half_handshake(port: int) -> socket.socket:
    one = socket.create_connection(("127.0.0.1", port), 5)
    one.sendall(GREETING[:40])
    return one


def _random_bytes(port: int, chance: random.Random) -> None:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as one:
        start = chance.choice([b"", GREETING[:10], GREETING, b"\x01\x00", b"\xff\0\0\0\0\0\0\0\x01\x7f"])
        one.sendall(start + chance.randbytes(chance.randrange(1, 200)))


# What follows the greeting with NULL: the command READY, of a DEALER without an identity.
READY = b"\x04\x26\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\0"


def endless_frames(act: Act) -> None:
    """A message that never ends, from a peer without the key: it is cut off, and nothing of it is kept."""
    scene = act.scene().work(seconds=0.01)
    port = scene.on_tcp()
    master, spawn = scene.master(), scene.spawn(2)
    scene.at_work(200)
    with growth_limited(scene, master, GROWTH_MIB):
        for mechanism in (b"NULL", b"CURVE"):
            _flood(port, GREETING.replace(b"NULL\0", mechanism.ljust(5, b"\0")))
    scene.complete(master, spawn)


def _flood(port: int, greeting: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), 5) as one, contextlib.suppress(OSError):
        one.sendall(greeting + READY)
        end = time.monotonic() + 3
        while time.monotonic() < end:
            one.sendall((b"\x01\xff" + bytes(255)) * 1000)


def wrong_keys(act: Act) -> None:
    """Another key, none, or --insecure on one side: refused within three seconds, with 77; the master serves on."""
    _master_with_a_key(act.scene("a master with a key").work(seconds=0.01))
    _master_without_a_key(act.scene("a master without a key").work(seconds=0.01))


def _master_with_a_key(scene: Scene) -> None:
    scene.on_tcp()
    master, spawn = scene.master(), scene.spawn(2)
    scene.await_slaves([spawn])
    scene.blow("strangers")
    stranger = scene.folder / "stranger"
    _make_key(scene, stranger)
    _refused(scene, "a different key", scene.slave(home=stranger), scene.spawn(3, home=stranger))
    _refused(scene, "requires a key", scene.slave(*INSECURE), scene.spawn(3, *INSECURE))
    _refused(scene, "no key", scene.slave(address="tcp://192.0.2.1:3050", home=scene.folder / "nowhere"))
    scene.complete(master, spawn)


def _master_without_a_key(scene: Scene) -> None:
    scene.on_tcp()
    master = scene.master(*INSECURE)
    _refused(scene, "--insecure", scene.slave())
    spawn = scene.spawn(2, *INSECURE)
    scene.complete(master, spawn)


def _make_key(scene: Scene, home: Path) -> None:
    """A master makes one where it finds none."""
    other = scene.start("master", "work.py", "--address", f"tcp://127.0.0.1:{free_port()}", "--state", "other",
                        home=home)
    scene.until(lambda: scene.listens(other), "the stranger's master listens")
    other.signal(signal.SIGINT)
    scene.finish(other, INTERRUPTED)


def _refused(scene: Scene, words: str, *actors: Actor) -> None:
    for actor in actors:
        began = time.monotonic()
        scene.finish(actor, KEY_REFUSED)
        scene.expect_in(time.monotonic() - began, 3.0 + 1.0, f"until tm-{actor.command} said that it was refused")
        scene.expect(words in actor.said, f"tm-{actor.command} does not say {words!r}: {actor.said[-300:]}")


def fuzz(act: Act) -> None:
    """A peer with the key sends thousands of malformed messages: they are dropped, and the master serves on."""
    scene = act.scene().work(seconds=0.01)
    master, spawn = scene.master(), scene.spawn(2)
    scene.at_work(200)
    peer = joined_peer_of(scene)
    with growth_limited(scene, master, GROWTH_MIB):
        for frames in _fuzzed(peer, act.chance):
            peer.send_bare(frames)
        while peer.receive_raw(0.3) is not None:
            pass
        other = joined_peer_of(scene)
        scene.expect(other.ask(state="bye")["kind"] == "stop", "the master does not answer as it should")
        scene.at_work(200)
    scene.complete(master, spawn)


def _fuzzed(peer: Peer, chance: random.Random) -> Iterator[list[bytes]]:
    """Requests that are wrong in one place or in many; none that wants jobs, which would wait for their lease's end."""
    odd: list[Any] = [None, True, -1, 1 << 63, 1.5, "", "x" * 300, [], [[1]], [[1, 0]], [["a", "b"]], {},
                      [[0, 1 << 62]]]
    for _ in range(FUZZ):
        header = peer.poll(slave_id=f"{chance.randrange(50):032x}")
        header[chance.choice([*header, "info", "more"])] = chance.choice(odd)
        header["want"], header["done"] = 0, []  # otherwise lies, which the master believes from a peer with the key
        data = bytearray(json.dumps(header).encode())
        for _ in range(chance.choice([0, 0, 1, 5])):
            data[chance.randrange(len(data))] = chance.randrange(256)
        blob = chance.choice([b"", b"[]", b"[[1,1,1]]", b"{", chance.randbytes(50), b"[" * 1000])
        yield chance.choice([[b"", bytes(data), blob], [b"", bytes(data), blob], [bytes(data)], [b"", b"", b""], [b""],
                             [b"", bytes(data), blob, b"more"], [chance.randbytes(9)] * chance.randrange(1, 9)])


def crowd(act: Act) -> None:
    """Three hundred slaves at once all join and leave; a limit of 64 files is raised, or reported in a sentence."""
    _many_at_once(act.scene("300 at once").work(seconds=0.01))
    for hard in (False, True):
        _few_files(act.scene("64 files, for good" if hard else "64 files, may be raised").work(seconds=0.01), hard)


def _many_at_once(scene: Scene) -> None:
    master, spawn = scene.master(), scene.spawn(2)
    scene.at_work(200)
    peers, answered = crowd_of(scene, CROWD, 20.0)
    scene.expect(answered == CROWD, f"{answered} of {CROWD} slaves that came at once were answered")
    for peer in peers:
        peer.send(peer.poll(state="bye"))
    scene.at_work(200)
    scene.complete(master, spawn)


def _few_files(scene: Scene, hard: bool) -> None:
    """Where the limit can be raised, a hundred more slaves are answered; otherwise those at work do not suffer."""
    # Not a socket file: when files run out at one, libzmq ends the process, and nothing can be done about it.
    scene.on_tcp()
    scene.insecure = True
    master = scene.master(limits="ulimit -n 64" if hard else "ulimit -Sn 64", listens=False)
    scene.until(lambda: scene.listens(master) or not master.running, "the master listens, or says why not")
    if not master.running:
        scene.finishes = False
        scene.expect("Error: " in master.said and "Traceback" not in master.said, f"it said: {master.said[-300:]}")
        return
    spawn = scene.spawn(2)
    scene.await_slaves([spawn])
    peers, answered = crowd_of(scene, 100, 5.0)
    for peer in peers:
        peer.close()
    scene.expect(hard or answered == 100, f"{answered} of 100 slaves were answered with 64 files that may be more")
    scene.at_work(200)
    scene.complete(master, spawn)

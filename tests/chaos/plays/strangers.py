"""Who is not a slave of ours, or not alone: random bytes, half handshakes, endless frames, fuzz, and crowds."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import socket
import time
from collections.abc import Iterator
from typing import Any

from chaos import oracle
from chaos.commands import INSECURE, KEYED, Actor
from chaos.peer import Peer
from chaos.scene import Act, Scene, Unplayable, free_port, memory_of

INTERRUPTED, KEY_REFUSED = 75, 77
GARBAGE, HALVES = 5000, 500
FUZZ = 3000
CROWD = 300
KEPT = 0.8  # of the rate, promised while strangers knock
GROWTH_MIB = 20.0
# What a peer of ZMTP 3.0 says first: signature, version, mechanism NULL, and 31 bytes of filler.
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + b"\0" + bytes(31)


def garbage(act: Act) -> None:
    """Thousands of connections of random bytes and hundreds of half handshakes: the slaves' rate stays."""
    scene = act.scene().work(seconds=0.01)
    port = scene.on_tcp()
    master, spawn = scene.master(), scene.spawn(2)
    scene.await_slaves([spawn])
    scene.pause(1.0)
    before = oracle.settled_within(scene.log, time.monotonic() - 1.0, time.monotonic())
    memory = memory_of(master.pid, "VmRSS")
    scene.blow("strangers")
    began = time.monotonic()
    halves = [_half_handshake(port) for _ in range(HALVES)]
    for _ in range(GARBAGE):
        _random_bytes(port, act.chance)
    spent = time.monotonic() - began
    during = oracle.settled_within(scene.log, began, began + spent) / spent
    for half in halves:
        half.close()
    if during < KEPT * before:
        scene.late.append(f"{during:.0f} jobs a second while {GARBAGE + HALVES} strangers came, of {before} before")
    growth = memory_of(master.pid, "VmRSS") - memory
    scene.expect(growth < GROWTH_MIB, f"the master grew by {growth:.0f} MiB")
    scene.complete(master, spawn)


def _half_handshake(port: int) -> socket.socket:
    one = socket.create_connection(("127.0.0.1", port), 5)
    one.sendall(GREETING[:40])
    return one


def _random_bytes(port: int, chance: random.Random) -> None:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as one:
        start = chance.choice([b"", GREETING[:10], GREETING, b"\x01\x00", b"\xff\0\0\0\0\0\0\0\x01\x7f"])
        one.sendall(start + chance.randbytes(chance.randrange(1, 200)))


# What follows the greeting of a peer that speaks NULL: the command READY, of a DEALER without an identity.
READY = b"\x04\x26\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\0"


def endless_frames(act: Act) -> None:
    """A message that never ends, from a peer without the key: cut off, and nothing of it kept."""
    _needs_keys()
    scene = act.scene().work(seconds=0.01)
    port = scene.on_tcp()
    master, spawn = scene.master(), scene.spawn(2)
    scene.at_work(200)
    before = memory_of(master.pid, "VmRSS")
    for mechanism in (b"NULL", b"CURVE"):
        _flood(port, GREETING.replace(b"NULL\0", mechanism.ljust(5, b"\0")))
    growth = memory_of(master.pid, "VmRSS") - before
    scene.expect(growth < GROWTH_MIB, f"the master grew by {growth:.0f} MiB")
    scene.complete(master, spawn)


def _needs_keys() -> None:
    if not KEYED:
        raise Unplayable("this taskmaster has no keys")


def _flood(port: int, greeting: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), 5) as one, contextlib.suppress(OSError):
        one.sendall(greeting + READY)
        end = time.monotonic() + 3
        while time.monotonic() < end:
            one.sendall((b"\x01\xff" + bytes(255)) * 1000)


def wrong_keys(act: Act) -> None:
    """Another key, none, or --insecure on one side: told within three seconds, with 77; the master goes on."""
    _needs_keys()
    scene = act.scene("a master with a key").work(seconds=0.01)
    scene.on_tcp()
    master, spawn = scene.master(), scene.spawn(2)
    scene.await_slaves([spawn])
    scene.blow("strangers")
    stranger = scene.folder / "stranger"
    other = scene.start("master", "work.py", "--address", f"tcp://127.0.0.1:{free_port()}", "--state", "other",
                        home=stranger)  # makes the stranger's key
    scene.until(lambda: "Listening at" in other.said, "the stranger's master listens")
    other.signal(signal.SIGINT)
    scene.finish(other, INTERRUPTED)
    _refused(scene, "a different key", scene.slave(home=stranger), scene.spawn(3, home=stranger))
    _refused(scene, "requires a key", scene.slave(*INSECURE), scene.spawn(3, *INSECURE))
    _refused(scene, "no key", scene.slave(address="tcp://192.0.2.1:3050", home=scene.folder / "nowhere"))
    scene.complete(master, spawn)
    scene = act.scene("a master without a key").work(seconds=0.01)
    scene.on_tcp()
    master = scene.master(*INSECURE)
    _refused(scene, "--insecure", scene.slave())
    spawn = scene.spawn(2, *INSECURE)
    scene.complete(master, spawn)


def _refused(scene: Scene, words: str, *actors: Actor) -> None:
    for actor in actors:
        began = time.monotonic()
        scene.finish(actor, KEY_REFUSED)
        scene.expect_in(time.monotonic() - began, 3.0 + 1.0, f"until tm-{actor.command} said that it was refused")
        scene.expect(words in actor.said, f"tm-{actor.command} does not say {words!r}: {actor.said[-300:]}")


def fuzz(act: Act) -> None:
    """A peer that may speak says thousands of things that are none: dropped, and the master serves on."""
    scene = act.scene().work(seconds=0.01)
    master, spawn = scene.master(), scene.spawn(2)
    scene.at_work(200)
    peer = Peer(scene.address)
    scene.on_close(peer.close)
    peer.join()
    memory = memory_of(master.pid, "VmRSS")
    for frames in _fuzzed(peer, act.chance):
        peer.send_bare(frames)
    while peer.receive_raw(0.3) is not None:
        pass
    other = Peer(scene.address)
    scene.on_close(other.close)
    other.join()
    scene.expect(other.ask(state="bye")["kind"] == "stop", "the master does not answer as it should")
    scene.at_work(200)
    growth = memory_of(master.pid, "VmRSS") - memory
    scene.expect(growth < GROWTH_MIB, f"the master grew by {growth:.0f} MiB")
    scene.complete(master, spawn)


def _fuzzed(peer: Peer, chance: random.Random) -> Iterator[list[bytes]]:
    """Requests that are wrong in one place, or in all; none that wants jobs, for those would wait for their lease."""
    odd: list[Any] = [None, True, -1, 1 << 63, 1.5, "", "x" * 300, [], [[1]], [[1, 0]], [["a", "b"]], {},
                      [[0, 1 << 62]]]
    for _ in range(FUZZ):
        header = peer.poll(slave_id=f"{chance.randrange(50):032x}")
        header[chance.choice([*header, "info", "more"])] = chance.choice(odd)
        header["want"], header["done"] = 0, []  # lies that it may tell: a peer with the key is believed
        data = bytearray(json.dumps(header).encode())
        for _ in range(chance.choice([0, 0, 1, 5])):
            data[chance.randrange(len(data))] = chance.randrange(256)
        blob = chance.choice([b"", b"[]", b"[[1,1,1]]", b"{", chance.randbytes(50), b"[" * 1000])
        yield chance.choice([[b"", bytes(data), blob], [b"", bytes(data), blob], [bytes(data)], [b"", b"", b""], [b""],
                             [b"", bytes(data), blob, b"more"], [chance.randbytes(9)] * chance.randrange(1, 9)])


def crowd(act: Act) -> None:
    """Three hundred slaves at once all join and leave; a limit of 64 files is raised, or told of in a sentence."""
    scene = act.scene("300 at once").work(seconds=0.01)
    master, spawn = scene.master(), scene.spawn(2)
    scene.at_work(200)
    peers = [Peer(scene.address) for _ in range(CROWD)]
    for peer in peers:
        scene.on_close(peer.close)
        peer.send(peer.poll(info={"host": "chaos", "pid": 0, "threads": 1}))
    end = time.monotonic() + 20.0
    answered = sum(peer.receive(max(0.0, end - time.monotonic())) is not None for peer in peers)
    scene.expect(answered == CROWD, f"{answered} of {CROWD} slaves that came at once were answered")
    for peer in peers:
        peer.send(peer.poll(state="bye"))
    scene.at_work(200)
    scene.complete(master, spawn)
    _few_files(act)


def _few_files(act: Act) -> None:
    for hard in (False, True):
        scene = act.scene("64 files, for good" if hard else "64 files, may be raised").work(seconds=0.01)
        # Not a socket file: where files run out at one, libzmq ends the process, and nothing can be done about it.
        scene.on_tcp()
        scene.insecure = True
        master = scene.master(limits="ulimit -n 64" if hard else "ulimit -Sn 64", listens=False)
        scene.until(lambda: "Listening at" in master.said or not master.running, "the master listens, or says why not")
        if not master.running:
            scene.finishes = False
            scene.expect("Error: " in master.said and "Traceback" not in master.said, f"it said: {master.said[-300:]}")
            continue
        spawn = scene.spawn(2)
        scene.await_slaves([spawn])
        _come_to_few_files(scene, hard)
        scene.at_work(200)
        scene.complete(master, spawn)


def _come_to_few_files(scene: Scene, hard: bool) -> None:
    """A hundred more: all are answered where the limit could be raised; else those at work do not suffer."""
    peers = [Peer(scene.address) for _ in range(100)]
    for peer in peers:
        peer.send(peer.poll(info={"host": "chaos", "pid": 0, "threads": 1}))
    end = time.monotonic() + 5.0
    answered = sum(peer.receive(max(0.0, end - time.monotonic())) is not None for peer in peers)
    for peer in peers:
        peer.close()
    if not hard:
        scene.expect(answered == 100, f"{answered} of 100 slaves were answered with 64 files that may be more")

"""What several plays need."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from chaos.commands import Actor
from chaos.peer import Peer
from chaos.proxy import Proxy
from chaos.scene import Scene
from support.processes import memory_of

INTERRUPTED = 75
# The times of a lease, short enough to wait for.
QUICK = {"defaults": {"LEASE_LIFE_SECONDS": 2.0, "HEARTBEAT_SECONDS": 0.2, "SILENCE_MARGIN_SECONDS": 0.5}}
QUICK_LIFE = 2.0
LATE = 1.6  # the master looks for silent slaves once a second, and a machine with two cores is busy


def proxy_of(scene: Scene) -> Proxy:
    """A proxy of the scene's master, which listens on TCP from now on."""
    proxy = Proxy(scene.on_tcp())
    scene.on_close(proxy.close)
    return proxy


def peer_of(scene: Scene) -> Peer:
    """A peer connected to the scene's master."""
    peer = Peer(scene.address)
    scene.on_close(peer.close)
    return peer


def joined_peer_of(scene: Scene) -> Peer:
    """One that knows the run and the epoch, as a slave does."""
    peer = peer_of(scene)
    peer.join()
    return peer


def crowd_of(scene: Scene, count: int, seconds: float) -> tuple[list[Peer], int]:
    """Slaves that all come at once, and how many of them are answered in that time."""
    peers = [peer_of(scene) for _ in range(count)]
    for peer in peers:
        peer.send(peer.poll(info={"host": "chaos", "pid": 0, "threads": 1}))
    end = time.monotonic() + seconds
    return peers, sum(peer.receive(max(0.0, end - time.monotonic())) is not None for peer in peers)


@contextmanager
def growth_limited(scene: Scene, master: Actor, limit: float) -> Iterator[None]:
    """Expects that the master does not grow by more than so many MiB meanwhile."""
    before = memory_of(master.pid)
    yield
    growth = memory_of(master.pid) - before
    scene.expect(growth < limit, f"the master grew by {growth:.1f} MiB, of at most {limit:g}")

"""Broken bookkeeping of connections."""

from __future__ import annotations

from taskmaster.transport.peers import Peers


class TakesLastWordsForASignOfLife(Peers):
    """Learns a peer again by a message that was still to be read when its connection dropped."""

    def spoke(self, peer: bytes, descriptor: int, local: bool) -> None:
        self._gone.discard(peer)
        super().spoke(peer, descriptor, local)


class TakesADescriptorForAConnection(Peers):
    """Does not see that the connection over which a first message came may have ended."""

    def closed(self, descriptor: int) -> None:
        super().closed(descriptor)
        self._unheard.discard(descriptor)

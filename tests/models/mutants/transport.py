"""Broken bookkeeping of connections."""

from __future__ import annotations

from taskmaster.transport.peers import Peers


class TakesLastWordsForASignOfLife(Peers):
    """Learns a peer again by a message that was still to be read when its connection dropped."""

    def spoke(self, peer: bytes, descriptor: int, local: bool) -> None:
        self._gone.pop(peer, None)
        self._open.add(descriptor)
        super().spoke(peer, descriptor, local)


class ForgetsWhoseNumberWasUsedAgain(Peers):
    """Does not see that a descriptor belongs to another connection by now."""

    def spoke(self, peer: bytes, descriptor: int, local: bool) -> None:
        self._gone.pop(peer, None)
        super().spoke(peer, descriptor, local)

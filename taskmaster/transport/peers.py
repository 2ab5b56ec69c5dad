"""Which peer speaks over which connection: decided from a socket's events and the descriptors of its messages.

Opens no sockets, so that the simulation uses it, too.
"""

from __future__ import annotations


class Peers:
    """The peers of one socket, and those whose connection dropped and has not been reported yet.

    A connection's end is often known before the last messages that came over it are read: they wait in the inbox. Such
    a message is read like any other, but it is no sign of life, so its peer is reported as dropped again.

    Descriptors are used again. A peer's first message may have come over an earlier connection with the same one: then
    the peer counts as dropped, and if it lives, its next message says so.
    """

    __slots__ = ("_dropped", "_gone", "_speaker", "_unheard", "known")

    def __init__(self) -> None:
        self.known: dict[bytes, bool] = {}  # connected peers that have spoken: whether each is on this machine
        self._speaker: dict[int, bytes] = {}  # the same, by the descriptor of the connection
        self._gone: set[bytes] = set()  # dropped peers, of which a message may wait
        self._unheard: set[int] = set()  # descriptors of ended connections over which a first message may have come
        self._dropped: list[tuple[bytes, bool]] = []

    @property
    def any_dropped(self) -> bool:
        """Whether `dropped` has something to report."""
        return bool(self._dropped)

    def closed(self, descriptor: int) -> None:
        """A connection ended."""
        peer = self._speaker.pop(descriptor, None)
        if peer is None:
            self._unheard.add(descriptor)
        else:
            self._drop(peer, self.known.pop(peer))

    def spoke(self, peer: bytes, descriptor: int, local: bool) -> None:
        """A message of a peer that is not `known` came over this connection. Call it once all events are taken in."""
        if peer in self._gone or descriptor in self._unheard:
            self._drop(peer, local)
        else:
            self._speaker[descriptor] = peer
            self.known[peer] = local

    def all_read(self) -> None:
        """No message waits: whatever comes from now on came over a connection that has not ended yet."""
        self._gone.clear()
        self._unheard.clear()

    def dropped(self) -> list[tuple[bytes, bool]]:
        """Peers whose connection dropped since the last call, and whether each was on this machine."""
        dropped, self._dropped = self._dropped, []
        return dropped

    def descriptor_of(self, peer: bytes) -> int | None:
        """Of its connection; None if it has none."""
        return next((one for one, speaker in self._speaker.items() if speaker == peer), None)

    def _drop(self, peer: bytes, local: bool) -> None:
        self._gone.add(peer)
        self._dropped.append((peer, local))

"""The two ends of a connection, as the master's and the slave's loops see them: frames in, frames out.

`Listener` and `Dialer` implement them with ZeroMQ. Each must be used by one thread only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from taskmaster.core.transfer import Transfer
from taskmaster.transport.waker import Waker

Frames = list[bytes]

Route = tuple[bytes, ...]
"""The frames that lead a reply back to its request: an opaque value, to be handed back as it is."""


class MasterSocket(Protocol):
    """The master's end: requests from many slaves, each answered along the route by which it came."""

    @property
    def address(self) -> str:
        """Where slaves reach it; a port that was given as 0 or * has its actual number here."""

    @property
    def local(self) -> bool:
        """Whether only this machine can reach it."""

    def register(self, waker: Waker) -> None:
        """Let `waker` end a `wait`. Once, before the first."""

    def wait(self, seconds: float) -> None:
        """Wait for a message or a dropped connection, or until the waker is set; at most this long."""

    def receive(self) -> tuple[Route, Frames] | None:
        """The next message; None when there is none now."""

    def send(self, route: Route, frames: Frames) -> None:
        """Does not block. Messages to a disconnected peer are dropped."""

    def dropped(self) -> list[tuple[bytes, bool]]:
        """Peers that disconnected since the last call, by the first part of their route, and whether each was on this
        machine. One whose last messages were read afterwards is reported once more. Call it at every turn of the
        loop."""

    def transfer(self, peer: bytes) -> Transfer | None:
        """What the connection of this peer, the first part of a route, has carried; None where that is not known."""

    def close(self) -> None:
        """Send what is queued, for at most a second, and disconnect."""


class SlaveSocket(Protocol):
    """The slave's end: one request under way at a time, which a newer one replaces."""

    @property
    def address(self) -> str:
        """The master's."""

    def register(self, waker: Waker) -> None:
        """Let `waker` end a `wait`. Once, before the first."""

    def wait(self, seconds: float) -> None:
        """Wait for a reply or a change of the connection, or until the waker is set; at most this long."""

    def send(self, frames: Frames) -> None:
        """Does not block; a request that cannot be sent now is lost. Replies to earlier requests are dropped."""

    def receive(self) -> Sequence[bytes | memoryview] | None:
        """The reply to the newest request; None when there is none now.

        Raises KeyRefused once it is certain that the master will never admit this slave.
        """

    def rebuild(self) -> None:
        """Start over with a new connection; the request under way is lost."""

    def returned(self) -> bool:
        """Whether it has reconnected since the last call: then the request under way is lost."""

    def transfer(self) -> Transfer | None:
        """What the present connection has carried; None without one, or where that is not known."""

    def close(self) -> None:
        """Send what is queued, for at most a second and only to a master that admitted this slave; disconnect."""

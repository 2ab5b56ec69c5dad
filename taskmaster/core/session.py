"""What a master remembers of one slave, between its requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from taskmaster.core.runs import Run
from taskmaster.core.wire import Frames, Poll, printable

Route = tuple[bytes, ...]
"""The frames that lead a reply back: the ROUTER's peer id, the REQ's request id, the empty delimiter."""


@dataclass(eq=False)
class Session:
    """One slave process, known by the id it drew at its start; sockets and routes come and go under it."""

    slave_id: str
    seen: float = 0.0
    seq: int = 0  # its newest request
    route: Route = ()
    info: dict[str, Any] = field(default_factory=dict)
    parked: Poll | None = None  # the request that waits for work, when one does
    park_round: int = 0  # in which it has waited enough
    answer: Frames | None = None  # the reply to request n, kept for when the request comes again
    drops: list[Run] = field(default_factory=list)  # jobs it holds that others settled
    told: tuple[Run, ...] = ()  # what request n reported, and one that overtakes it says again
    peers: set[bytes] = field(default_factory=set)  # its connections: a new one may be heard before the old

    @property
    def name(self) -> str:
        return display_name(self.slave_id, self.info)


def display_name(slave_id: str, info: Mapping[str, Any]) -> str:
    """Where a person finds a slave: host:pid, or the start of its id when it has not said."""
    host, pid = info.get("host"), info.get("pid")
    return f"{host}:{pid}" if host and pid else printable(slave_id, 8)

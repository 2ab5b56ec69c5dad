"""What a master remembers of one slave between its requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from taskmaster.core.runs import Runs
from taskmaster.core.transfer import Transfer
from taskmaster.core.wire import Frames, Poll, printable
from taskmaster.defaults import DEATH_REPORT_SECONDS, NAME_CHARACTERS

Route = tuple[bytes, ...]
"""The frames that lead a reply back: the ROUTER's peer id, the REQ's request id, the empty delimiter."""


@dataclass(eq=False)
class Session:
    """One slave process, identified by the id it drew when it started; its connections and routes may change."""

    slave_id: str
    heard_at: float = 0.0  # when its last message arrived
    seq: int = 0  # the number of its newest request
    route: Route = ()  # the way back to that request
    info: dict[str, Any] = field(default_factory=dict)  # what it said about itself when it joined
    parked: Poll | None = None  # its request, while held until there is work
    park_round: int = 0  # the round in which the wait ends
    last_reply: Frames | None = None  # to request `seq`, kept in case that request arrives again
    drops: Runs = field(default_factory=Runs)  # jobs it holds that others have settled
    reported_done: Runs = field(default_factory=Runs)  # by request `seq`; a request that overtakes it reports it again
    peers: set[bytes] = field(default_factory=set)  # its connections: the new one may be heard before the old one drops

    carried: Transfer | None = None  # by its connection, when it was last looked at

    def forget(self) -> None:
        """Keep only what a slave that returns needs."""
        self.parked = self.last_reply = None
        self.drops, self.reported_done = Runs(), Runs()

    @property
    def name(self) -> str:
        """The name for people: host:pid, or the start of its id if it did not say."""
        return display_name(self.slave_id, self.info)

    @property
    def report_seconds(self) -> float:
        """How long to wait for the report of its death: 0 if no fleet will send one."""
        return DEATH_REPORT_SECONDS if self.info.get("fleet") else 0.0

    @property
    def threads(self) -> int:
        """How many jobs it runs at once; 1 if it did not say."""
        threads = str(self.info.get("threads", ""))
        return max(1, int(threads)) if threads.isdecimal() else 1

    @property
    def batch(self) -> int:
        """How many jobs a call of its handler takes; 1 if it did not say."""
        batch = str(self.info.get("batch", ""))
        return max(1, int(batch)) if batch.isdecimal() else 1


def display_name(slave_id: str, info: Mapping[str, Any]) -> str:
    """The name of a slave for people: host:pid, or the start of its id if it did not say."""
    host, pid = info.get("host"), info.get("pid")
    return printable(f"{host}:{pid}", NAME_CHARACTERS) if host and pid else printable(slave_id, 8)

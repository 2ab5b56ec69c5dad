"""What a master needs to know of slaves that its own process keeps; `fleet.Fleet` provides it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Dead(Protocol):
    """A slave process that ended; `status` says how ("killed by SIGKILL"), `blame` whether a job may be the cause."""

    @property
    def pid(self) -> int: ...

    @property
    def status(self) -> str: ...

    @property
    def blame(self) -> bool: ...


class Crew(Protocol):
    """The slave processes of this machine, if the master's process keeps any."""

    def watch(self, now: float) -> Sequence[Dead]:
        """The processes that ended since the last call; restarts those that should be."""

    def signal(self, signum: int) -> None:
        """Send a signal to every process. After SIGTERM no more are started."""

    def verdict(self) -> int | None:
        """None while slaves run or are due to be started; else the exit code that tells how they ended."""

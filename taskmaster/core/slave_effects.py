"""What the agent asks of the control loop around it."""

from __future__ import annotations

from dataclasses import dataclass

from taskmaster.core.runs import Run
from taskmaster.core.wire import Frames, Lease


@dataclass(frozen=True)
class Request:
    """Send these frames to the master."""

    frames: Frames


@dataclass(frozen=True)
class Rebuild:
    """Close the socket, open a new one, then send these frames."""

    frames: Frames


@dataclass(frozen=True)
class Enqueue:
    """Put these leases into the backlog; the master wants what their handlers return if `results` is set."""

    leases: tuple[Lease, ...]
    results: bool = False


@dataclass(frozen=True)
class Cancel:
    """Others have settled these jobs: do not start those that still wait in the backlog."""

    runs: tuple[Run, ...]


@dataclass(frozen=True)
class DiscardAll:
    """The jobs held came from an earlier master: empty the backlog; what the handlers still do no longer counts."""


@dataclass(frozen=True)
class Drain:
    """The master wants this slave to exit once its jobs are handled and reported. `reason` is the master's."""

    reason: str


@dataclass(frozen=True)
class Exit:
    """Everything is reported and the master has heard it, or is gone: exit."""


@dataclass(frozen=True)
class Refused:
    """The master will never serve this slave: exit with its reason."""

    reason: str


@dataclass(frozen=True)
class MasterLost:
    """The master was silent for longer than this slave's patience."""

    seconds: float


Effect = Request | Rebuild | Enqueue | Cancel | DiscardAll | Drain | Exit | Refused | MasterLost

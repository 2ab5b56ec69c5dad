"""Everything that the models read of the product's private state, so that a refactoring has one place to look at.

What they replace inside it (threads, disk, clock) is in `master`; what the mutants override is in `mutants`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from taskmaster.core.agent import Agent
from taskmaster.core.chunks import Chunk
from taskmaster.core.dispatch import Dispatcher
from taskmaster.core.runs import Runs
from taskmaster.core.window import Window
from taskmaster.master.server import Server
from taskmaster.master.state.base import StateStore


def window_of(server: Server) -> Window:
    return server._window


def dispatcher_of(server: Server) -> Dispatcher:
    return server._dispatcher


def connections_of(dispatcher: Dispatcher) -> dict[str, set[bytes]]:
    """The peers of each slave that counts as connected."""
    slaves = dispatcher._slaves
    return {one.slave_id: one.peers for one in slaves.sessions() if one.slave_id not in slaves._disconnected}


def chances_of(state: StateStore) -> frozenset[int]:
    """The failed jobs of earlier runs that a master is to try again."""
    runs = state._chances.runs  # type: ignore[attr-defined]
    return frozenset(offset for first, count in runs for offset in range(first, first + count))


def chunks_of(window: Window) -> Collection[Chunk]:
    """All that is unsettled, in pieces."""
    return window._chunks._chunks.values()


def backups_of(window: Window) -> dict[int, str]:
    """The jobs that a second slave has as well, and which."""
    return {offset: one.holder for offset, one in window.backups.leases.items()}


def settled_above(window: Window) -> Runs:
    """The settled jobs above the watermark."""
    return window._mark._above


def serves_elsewhere(agent: Agent) -> None:
    """Make it one that works for another master, which has its `info`."""
    agent._run, agent._master_epoch, agent._introduced = "elsewhere", 1, True


def cursor_of(window: Window, offset: int) -> Any:
    return window._mark.cursor_of(offset)


def resume_offset(window: Window) -> int:
    """Where a run would resume: the watermark, or the first of the jobs below it that may share a cursor."""
    return window._mark.resume_offset

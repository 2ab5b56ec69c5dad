"""The classes that a cluster is made of: the shipped ones, any of which a test may replace by a broken one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from taskmaster.core.agent import Agent
from taskmaster.core.dispatch import Dispatcher
from taskmaster.core.pending_results import PendingResults
from taskmaster.core.settled import SettledBefore
from taskmaster.core.window import Window
from taskmaster.fleet.watchdog import Watchdog
from taskmaster.master.state.results_log import ResultsLog
from taskmaster.master.state.run_state import RunState
from taskmaster.master.state.waiting_file import WaitingFile
from taskmaster.master.state.writer import StateWriter
from taskmaster.sinks.jsonl import JsonLines
from taskmaster.slave.pools.batches import BatchExecution
from taskmaster.slave.slots import Slots
from taskmaster.transport.peers import Peers


@dataclass(frozen=True)
class Parts:
    """The classes of a model's masters and slaves."""

    window: type[Window] = Window
    dispatcher: type[Dispatcher] = Dispatcher
    agent: type[Agent] = Agent
    run_state: type[RunState] = RunState
    writer: type[StateWriter[Any]] = StateWriter
    settled_before: type[SettledBefore] = SettledBefore
    peers: type[Peers] = Peers
    watchdog: type[Watchdog] = Watchdog
    slots: type[Slots] = Slots
    batches: type[BatchExecution] = BatchExecution
    results: type[PendingResults] = PendingResults
    results_log: type[ResultsLog] = ResultsLog
    sink: type[JsonLines] = JsonLines
    waiting_file: type[WaitingFile] = WaitingFile


SHIPPED = Parts()

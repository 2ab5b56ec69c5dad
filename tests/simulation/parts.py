"""What a cluster is made of: the shipped classes, any of which may be replaced by a broken one."""

from __future__ import annotations

from dataclasses import dataclass

from taskmaster.core.agent import Agent
from taskmaster.core.dispatch import Dispatcher
from taskmaster.core.window import Window
from taskmaster.master.state.run_state import RunState
from taskmaster.master.state.writer import StateWriter


@dataclass(frozen=True)
class Parts:
    """The classes that a `World` makes its masters and slaves of."""

    window: type[Window] = Window
    dispatcher: type[Dispatcher] = Dispatcher
    agent: type[Agent] = Agent
    keeper: type[RunState] = RunState
    writer: type[StateWriter] = StateWriter


SHIPPED = Parts()

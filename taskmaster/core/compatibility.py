"""Whether a slave's code is its master's: whose handler it runs, and on which releases of Python and of Taskmaster.

Another workload's handler is refused: it would do the wrong thing to every job, and the jobs would count as handled.
Everything else may differ and still work (a fixed handler, machines that are upgraded one after the other), and where
it does not, jobs fail one by one, with their reasons in the failures file. So that is only a warning.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from taskmaster.core.master_effects import Log
from taskmaster.core.wire import INFO_VALUE_CHARACTERS, printable

_MOST_WARNINGS: Final = 20  # a fleet has a few releases; more come from a slave that lies


class Compatibility:
    """Compares what slaves say of their code with what the master's `own` is, as `targets.code.describe` gives both.

    What either side does not say is not compared: a slave in another language has no module and no Python.
    """

    def __init__(self, own: Mapping[str, Any]) -> None:
        self._own = {key: printable(value, INFO_VALUE_CHARACTERS) for key, value in own.items()}  # cut as a slave's is
        self._warned: set[str] = set()

    def conflict(self, info: Mapping[str, str]) -> str:
        """Why a slave that says this of itself may not serve this master: one sentence. Empty if it may."""
        ours, theirs = self._own.get("module"), info.get("module")
        if not ours or not theirs or _is_same(ours, theirs):
            return ""
        return (f"This slave's handler is {info.get('handler', theirs)}, but the master's jobs come from "
                f"{self._own.get('target', ours)}. Start slaves with {ours} or, if this handler is meant for these "
                "jobs, the master with --any-handler.")

    def warnings(self, name: str, info: Mapping[str, str]) -> list[Log]:
        """What differs between the slave of this name and the master; each difference once in the master's life."""
        news = [text for text in self._differences(info) if text not in self._warned]
        news = news[:_MOST_WARNINGS - len(self._warned)]
        self._warned.update(news)
        return [Log("warning", "slave %s %s (logged once)", (name, text)) for text in news]

    def _differences(self, info: Mapping[str, str]) -> list[str]:
        found, own, theirs = [], _Versions(self._own), _Versions(info)
        if _differ(own.source, theirs.source):
            found.append(f"has another {info.get('module')} than this master had at its start: make sure that its "
                         "handler is the one for these jobs")
        if _differ(own.python, theirs.python):
            found.append(f"runs Python {theirs.python}, this master {own.python}: some pickled jobs may not load there")
        if _differ(own.product, theirs.product):
            found.append(f"runs Taskmaster {theirs.product}, this master {own.product}")
        return found


class _Versions:
    """Of one side; empty where it does not say."""

    def __init__(self, info: Mapping[str, str]) -> None:
        self.source = info.get("source", "")
        self.python = ".".join(info.get("python", "").split(".")[:2])  # 3.12 of 3.12.1
        self.product = info.get("version", "")


def _is_same(one: str, other: str) -> bool:
    """Whether both name one module, perhaps one by its file and the other by its dotted name."""
    if one.endswith(".py") == other.endswith(".py"):
        return one == other
    file, dotted = (one, other) if one.endswith(".py") else (other, one)
    return file.removesuffix(".py") == dotted.rpartition(".")[2]


def _differ(one: str, other: str) -> bool:
    return bool(one and other and one != other)

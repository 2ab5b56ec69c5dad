"""Run one function over a billion jobs, once: the public names, nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taskmaster.job import Job

if TYPE_CHECKING:
    from taskmaster.api.run import run

__all__ = ["Job", "run"]


def __getattr__(name: str) -> Any:
    # `run` brings the master with it: a slave whose user module says `from taskmaster import Job` need not load it
    if name == "run":
        from taskmaster.api.run import run

        return run
    raise AttributeError(f"module 'taskmaster' has no attribute {name!r}")

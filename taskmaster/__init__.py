"""Runs a Python function over millions of jobs, on one machine or many. These are the public names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taskmaster.handlers import CurrentJob, GiveUp, Retry, current_job, current_jobs, handler, lifespan
from taskmaster.job import Job

if TYPE_CHECKING:
    from taskmaster.api.run import run
    from taskmaster.sources.push import push

__all__ = ["CurrentJob", "GiveUp", "Job", "Retry", "current_job", "current_jobs", "handler", "lifespan", "push", "run"]


def __getattr__(name: str) -> Any:
    if name == "run":
        # Here: it loads the master, which a slave whose module imports only Job does not need.
        from taskmaster.api.run import run

        return run
    if name == "push":
        # Here: it loads all sources, which few programs need.
        from taskmaster.sources.push import push

        return push
    raise AttributeError(f"module 'taskmaster' has no attribute {name!r}")

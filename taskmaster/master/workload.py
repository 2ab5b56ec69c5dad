"""What a master runs, and how."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from taskmaster import defaults
from taskmaster.core.budget import FailureBudget
from taskmaster.core.selection import Selection
from taskmaster.targets.load import Target, state_name


@dataclass(frozen=True)
class Identity:
    """What a run's state belongs to: `get_jobs` as typed, its arguments as text, and the handler's name."""

    target: str
    arguments: Mapping[str, str]
    handler: str


@dataclass(frozen=True)
class Workload:
    """The user's iterator, its arguments, and the names under which the run's state is kept.

    `state` is the state folder; with None, nothing is kept on disk, and the run cannot be resumed.
    """

    get_jobs: Callable[..., Any]
    arguments: Mapping[str, Any]
    identity: Identity
    state: Path | None
    handle_result: Callable[[Any, Any], object] | None = None  # called for each result, unless they go to a file


@dataclass(frozen=True)
class Options:
    """How to run it. The defaults are those of the commands, except for the failure budget, which is unlimited here.

    `size` is the size of the window in jobs; `attempts` how often a job is tried,
    None for what the handler says or, if it says nothing, ATTEMPTS; `limit` the most jobs to pull in
    this run; `rate` the most jobs to hand out per second; `total` the number of jobs, for the ETA; `grace` the most
    seconds that running jobs get after an interrupt. Results go to `results`, in the order of their jobs if `in_order`;
    with `results_with_failures`, failed jobs have an entry that says why. With `retry`, the run tries these of the
    failed jobs again and pulls nothing from the source. With `backup_attempts`, slaves that are idle at the end are
    also given what others have been running for long.
    """

    size: int = defaults.WINDOW_JOBS
    attempts: int | None = None
    budget: FailureBudget = field(default_factory=FailureBudget)
    limit: int | None = None
    rate: float | None = None
    total: int | None = None
    codec: str = "pickle"
    reset: bool = False
    force_resume: bool = False
    grace: float | None = None
    results: Path | None = None
    in_order: bool = True
    results_with_failures: bool = False
    retry: Selection | None = None
    backup_attempts: bool = True


def workload_of(get_jobs: Callable[..., Any], source: Target, handler: Target, arguments: Mapping[str, Any],
                texts: Mapping[str, str], state: Path | None, apart: bool = False) -> Workload:
    """The workload of `get_jobs(**arguments)`, which is found at `source`, and of the handler at `handler`.

    `texts` are the arguments as text. Without a `state` folder, one in the working folder is used, whose name is made
    of `source` and `texts` and, if they stand `apart`, of `handler`: what one handler has done is not done for another.
    """
    name = state_name(source, texts, handler if apart else None)
    folder = Path(source.folder) / (state or Path(defaults.STATE_FOLDER) / name)
    return Workload(get_jobs, arguments, Identity(str(source), texts, str(handler)), folder)

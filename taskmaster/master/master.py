"""A master as a whole: from the state on disk to the summary of the run."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from taskmaster import defaults
from taskmaster.console.progress import NullProgress, Progress
from taskmaster.console.text import summary_json, summary_text
from taskmaster.core.budget import FailureBudget
from taskmaster.core.codec import HARMLESS_FORMS
from taskmaster.core.dispatch import Dispatcher
from taskmaster.core.stats import Stats
from taskmaster.core.window import Window
from taskmaster.errors import EXIT_DONE, EXIT_DONE_WITH_FAILURES, StateUnwritable, UsageError
from taskmaster.job import NO_CURSOR
from taskmaster.malloc import keep_freed_memory
from taskmaster.master.feeder import Feeder
from taskmaster.master.server import Crew, Ending, Server
from taskmaster.master.source import Source, Start
from taskmaster.master.state.checkpoint import Checkpoint
from taskmaster.master.state.run_state import Identity, RunState
from taskmaster.targets.signature import accepts_last, first_offset
from taskmaster.transport.addresses import is_local
from taskmaster.transport.keys import Keys
from taskmaster.transport.listener import Listener
from taskmaster.transport.waker import Waker

log = logging.getLogger(__name__)

_clock = time.monotonic
CLOSE_SECONDS = 10.0  # for the last checkpoint: a disk that does not take it by then is told of
ABORT_SECONDS = 0.5


@dataclass(frozen=True)
class Workload:
    """What to run: the user's iterator, its arguments, and the names that the state is kept under."""

    get_jobs: Callable[..., Any]
    arguments: Mapping[str, Any]
    identity: Identity
    state: Path


@dataclass(frozen=True)
class Options:
    """How to run it; the defaults are those of the commands, but for the budget: here it is no limit."""

    size: int = defaults.WINDOW_JOBS
    attempts: int = defaults.ATTEMPTS
    budget: FailureBudget = field(default_factory=FailureBudget)
    limit: int | None = None
    rate: float | None = None
    total: int | None = None
    codec: str = "pickle"
    reset: bool = False
    force_resume: bool = False


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    exit_code: int
    stats: Stats
    error: BaseException | None
    commonest_errors: tuple[str, ...]
    failures_file: Path | None

    def text(self, resume: str | None) -> str:
        """The summary for a person."""
        failures = str(self.failures_file) if self.failures_file else None
        lines = [summary_text(self.stats, failures_file=failures, resume=resume)]
        if self.commonest_errors:
            lines.append("  commonest " + "\n            ".join(self.commonest_errors))
        return "\n".join(lines)

    def json(self, resume: str | None) -> dict[str, Any]:
        """The summary for a program."""
        failures = str(self.failures_file) if self.failures_file else None
        found = summary_json(self.stats, exit_code=self.exit_code, failures_file=failures, resume=resume)
        return {**found, "commonest_errors": list(self.commonest_errors)}


class Master:
    """One run. `open` first: it raises all that can be known before any job is pulled; then `run`, then `close`."""

    def __init__(self, workload: Workload, options: Options, progress: Progress | None = None) -> None:
        self._workload = workload
        self._options = options
        self._progress = progress or NullProgress(sys.stderr)
        self._waker = Waker()
        self._keeper = RunState(workload.state, workload.identity, self._waker.wake)
        self._listener: Listener | None = None
        self._server: Server | None = None
        self._early_interrupts = 0
        self._first = first_offset(workload.get_jobs)
        self._found: Checkpoint | None = None

    @property
    def address(self) -> str:
        """Where slaves reach it, once it is open."""
        assert self._listener is not None
        return self._listener.address

    def open(self, address: str, keys: Keys | None = None) -> None:
        """Take the state, begin a new epoch, listen. Raises StateUnwritable, StateMismatch, UsageError.

        Without keys anybody who reaches the address is taken for a slave, so jobs may not go as pickles beyond
        this machine: there a slave could not tell them from a stranger's.
        """
        if keys is None and not is_local(address) and self._options.codec not in HARMLESS_FORMS:
            raise UsageError(f"Without a key no pickles are sent over a network, as to {address}. Leave out "
                             "--insecure, or send jobs as JSON by --codec json, or listen on this box alone, such as "
                             "at tcp://127.0.0.1:3050.")
        self._found = self._keeper.open(self._options.reset)
        self._keeper.begin(self._found, self._first)
        self._listener = Listener(address, keys)

    def run(self, crew: Crew | None = None) -> Outcome:
        """Serve until the end of the run; raises nothing that the run itself causes, that is in the outcome."""
        assert self._listener is not None
        keep_freed_memory()
        self._keeper.start()
        self._server = server = self._serve(self._listener, crew)
        for _ in range(self._early_interrupts):
            server.interrupt()
        ending = server.run()
        self._progress.close(server.stats())
        return self._conclude(server, ending)

    def interrupt(self) -> None:
        """Once: drain and stop. Twice: stop now. May be called from a signal handler."""
        if self._server is None:
            self._early_interrupts += 1  # while slaves start, say: `run` hears of it
        else:
            self._server.interrupt()

    def close(self) -> None:
        """Let go of the state and the address; harmless when they are not held."""
        self._progress.close()
        if self._listener is not None:
            self._listener.close()
        self._keeper.close(0.0)
        self._waker.close()

    def _serve(self, listener: Listener, crew: Crew | None) -> Server:
        options, start = self._options, self._where()
        window = Window(start.offset, options.size, defaults.WINDOW_BYTES, options.attempts)
        dispatcher = Dispatcher(window, self._keeper.run, self._keeper.epoch, options.rate)
        source = Source(self._workload.get_jobs, self._workload.arguments, start)
        feeder = Feeder(source, start.offset, options.limit, options.codec, _clock, self._waker.wake)
        feeder.start()
        return Server(listener, dispatcher, feeder, self._keeper, self._waker, self._progress, options.budget, _clock,
                      first_offset=self._first, total=options.total, crew=crew)

    def _where(self) -> Start:
        """Where the source goes on."""
        found = self._found
        if found is None or found.offset == self._first:
            return Start(self._first, digest=self._digest(found))
        log.info("Going on at offset %d, where an earlier run stopped", found.offset)
        if accepts_last(self._workload.get_jobs):
            return Start(found.offset, found.cursor, 0, self._digest(found))
        skip = found.offset - self._first
        log.warning("get_jobs takes no `last`: its first %d jobs are pulled and passed over, which takes time; "
                    "take `last` to start where the last run stopped", skip)
        return Start(found.offset, NO_CURSOR, skip, self._digest(found))

    def _digest(self, found: Checkpoint | None) -> str | None:
        return None if found is None or self._options.force_resume else found.digest

    def _conclude(self, server: Server, ending: Ending) -> Outcome:
        durable = self._keeper.close(ABORT_SECONDS if server.aborted else CLOSE_SECONDS)
        code, error, stats = ending.code, ending.error, server.stats()
        # Who aborts is in a hurry and knows that the run goes on; but exit code 0 would say that it need not.
        if not durable and (not server.aborted or code in (EXIT_DONE, EXIT_DONE_WITH_FAILURES)):
            error = StateUnwritable(f"The last checkpoint could not be written to {self._keeper.path}: "
                                    f"{self._keeper.trouble}. What was settled since the one before it will run again.")
            code = error.exit_code
        failures = self._keeper.failures_path if stats.failed or self._keeper.failed_before else None
        return Outcome(code, stats, error, tuple(server.commonest_errors), failures)


def write_summary(path: Path, outcome: Outcome, resume: str | None) -> None:
    """One JSON object. Raises StateUnwritable."""
    try:
        path.write_text(json.dumps(outcome.json(resume), indent=2) + "\n")
    except OSError as error:
        raise StateUnwritable(f"The summary could not be written to {path}: {error.strerror or error}.") from error

"""A master as a whole: from the state of an earlier run to the summary of this one."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from taskmaster import defaults
from taskmaster.console.progress import NullProgress, Progress
from taskmaster.console.text import count_text, plural
from taskmaster.core.codec import HARMLESS_FORMS
from taskmaster.core.dispatch import Dispatcher
from taskmaster.core.interrupts import Interrupts
from taskmaster.core.pending_results import PendingResults
from taskmaster.core.settled import SettledBefore
from taskmaster.core.window import Window
from taskmaster.errors import (EXIT_DONE, EXIT_DONE_WITH_FAILURES, EXIT_TOO_MANY_FAILURES, StateUnwritable,
                               UsageError)
from taskmaster.job import NO_CURSOR
from taskmaster.malloc import keep_freed_memory
from taskmaster.master.crew import Crew
from taskmaster.master.ending import Ending
from taskmaster.master.failed_jobs import failed_jobs
from taskmaster.master.feeder import Feeder
from taskmaster.master.observers import EventLog, Observer, Observers, ProgressLine
from taskmaster.master.outcome import Outcome
from taskmaster.master.server import Server
from taskmaster.master.source import NoSource, Source, Start
from taskmaster.master.state.base import StateStore
from taskmaster.master.state.checkpoint import Checkpoint
from taskmaster.master.state.memory import MemoryState
from taskmaster.master.state.results_log import ResultsLog
from taskmaster.master.state.run_state import RunState
from taskmaster.master.state.waiting_file import WaitingFile
from taskmaster.master.workload import Options, Workload
from taskmaster.sinks.callback import Callback
from taskmaster.sinks.choose import sink_for
from taskmaster.targets.signature import accepts_last, first_offset
from taskmaster.transport.addresses import is_local
from taskmaster.transport.keys import Keys
from taskmaster.transport.listener import Listener
from taskmaster.transport.waker import Waker

log = logging.getLogger(__name__)

_clock = time.monotonic
_SAVED = (EXIT_DONE, EXIT_DONE_WITH_FAILURES, EXIT_TOO_MANY_FAILURES)  # true only if the last checkpoint is durable


class Master:
    """One run. First `open`, which raises whatever can be known before a job is pulled; then `run`, then `close`.

    `progress` shows how the run is going, and `observers` are told as well. The first of the `interrupts` drains the
    run and stops it, the second stops it now; those that arrived before it began count. `code` is what slaves are
    compared with, as `targets.code.describe` gives it; by default they are not.
    """

    def __init__(self, workload: Workload, options: Options, progress: Progress | None = None,
                 observers: Iterable[Observer] = (), interrupts: Interrupts | None = None,
                 code: Mapping[str, str] | None = None) -> None:
        self._workload = workload
        self._options = options
        self._code = code
        self._waker = Waker()
        self._interrupts = interrupts or Interrupts()
        self._interrupts.pass_on_to(self._waker.wake)
        self._state = self._state_store()
        line, events = ProgressLine(progress or NullProgress(sys.stderr)), EventLog(self._state.failures_path)
        self._observers = Observers([line, events, *observers])
        self._listener: Listener | None = None
        self._server: Server | None = None
        self._first = first_offset(workload.get_jobs)
        self._found: Checkpoint | None = None

    @property
    def address(self) -> str:
        """Where slaves reach this master, once it is open."""
        assert self._listener is not None
        return self._listener.address

    def open(self, address: str, keys: Keys | None = None) -> None:
        """Take the state, begin a new epoch, listen. Raises StateUnwritable, StateMismatch, UsageError.

        Without keys, anyone who reaches the address is accepted as a slave, and a slave cannot tell the master from an
        impostor. So pickles must not leave this machine then: loading one from an impostor would run its code.
        """
        if keys is None and not is_local(address) and self._options.codec not in HARMLESS_FORMS:
            raise UsageError(f"Pickles cannot be sent over a network without a key, and {address} is not limited to "
                             "this machine. Leave out --insecure, or send jobs as JSON with --codec json, or listen on "
                             "this machine only, for example at tcp://127.0.0.1:3050.")
        self._take_state()
        self._first = self._state.first_offset
        self._listener = Listener(address, keys)

    def _take_state(self) -> None:
        self._found = self._state.open(self._options.reset)
        if self._options.retry is not None and self._found is None:
            raise UsageError("There is nothing to retry: no state of an earlier run was found. Without --retry-failed, "
                             "this command begins one.")
        self._state.begin(self._found, self._first, self._options.retry)

    def run(self, crew: Crew | None = None) -> Outcome:
        """Serve until the run ends. What ended it is in the outcome rather than raised."""
        assert self._listener is not None
        keep_freed_memory()
        self._state.start()
        self._server = server = self._serve(self._listener, crew)
        try:
            ending = server.run()
            self._observers.close(server.stats())
            return self._conclude(server, ending)
        finally:
            server.close_source()

    def close(self) -> None:
        """Release the state and the address. Does nothing if they are not held."""
        self._observers.close(None)
        if self._listener is not None:
            self._listener.close()
        self._state.close(0.0)
        self._waker.close()

    def _state_store(self) -> StateStore:
        folder = self._workload.state
        if folder is None:
            return MemoryState()
        return RunState(folder, self._workload.identity, self._waker.wake, self._results_log(folder))

    def _results_log(self, folder: Path) -> ResultsLog | None:
        place, call, waiting = self._options.results, self._workload.handle_result, WaitingFile(folder)
        if place is not None:
            return ResultsLog(sink_for(place, self._options.results_with_failures), str(place), waiting)
        return None if call is None else ResultsLog(Callback(call), defaults.HANDLE_RESULT, waiting)

    def _serve(self, listener: Listener, crew: Crew | None) -> Server:
        options, start = self._options, self._where()
        window = Window(start.offset, options.size, defaults.WINDOW_BYTES, options.attempts)
        wanted = options.results is not None or self._workload.handle_result is not None
        results = PendingResults(options.in_order, options.results_with_failures,
                                 self._state.results_before) if wanted else None
        dispatcher = Dispatcher(window, self._state.run, self._state.epoch, options.rate, self._code, results,
                                options.backup_attempts)
        again = failed_jobs(self._state.to_try_again(), options.codec)
        feeder = Feeder(self._source(start), start.offset, self._limit(), options.codec, _clock, self._waker.wake,
                        again)
        feeder.start()
        return Server(listener, dispatcher, feeder, self._state, self._waker, self._observers, options.budget, _clock,
                      self._interrupts, first_offset=self._first, total=options.total, crew=crew,
                      grace=options.grace)

    def _source(self, start: Start) -> Source:
        make = Source if self._options.retry is None else NoSource
        return make(self._workload.get_jobs, self._workload.arguments, start)

    def _limit(self) -> int | None:
        """How many jobs to pull. A run that was finished stays so when its failed jobs have been tried again."""
        if self._options.retry is None:
            return self._options.limit
        return None if self._found is not None and self._found.finished else 0

    def _where(self) -> Start:
        """Where the source resumes."""
        found, before = self._found, SettledBefore(self._state.settled_before)
        if self._options.retry is not None:
            assert found is not None
            log.info("Trying %s again that failed in earlier runs", plural(self._state.chances, "job"))
            return Start(found.offset, found.cursor, 0, found.digest, before)
        if self._state.chances:
            log.info("First trying the %s again that failed in earlier runs", plural(self._state.chances, "job"))
        if found is None or found.offset == self._first:
            return Start(self._first, digest=self._digest(found), before=before)
        log.info("Resuming at job %s", count_text(self._next_job(found.offset)))
        if len(before):
            log.info("Of the jobs from there on, %s are settled already and do not run again", count_text(len(before)))
        if accepts_last(self._workload.get_jobs):
            return Start(found.offset, found.cursor, 0, self._digest(found), before)
        skip = found.offset - self._first
        log.warning("get_jobs has no parameter `last`, so its first %s jobs are pulled and skipped, which takes time. "
                    "Add `last` to begin where the last run stopped", count_text(skip))
        return Start(found.offset, NO_CURSOR, skip, self._digest(found), before)

    def _next_job(self, offset: int) -> int:
        """The offset of the first job that is not settled, of those at or above `offset`."""
        runs = self._state.settled_before.runs
        return sum(runs[0]) if runs and runs[0][0] == offset else offset

    def _digest(self, found: Checkpoint | None) -> str | None:
        return None if found is None or self._options.force_resume else found.digest

    def _conclude(self, server: Server, ending: Ending) -> Outcome:
        durable = self._state.close(defaults.ABORT_SECONDS if server.aborted else defaults.CLOSE_SECONDS)
        code, error, stats = ending.code, ending.error, server.stats()
        # Someone who aborts is in a hurry and knows that the run can be resumed; but 0 would say that it need not be,
        # and 5 that the next run tries the failed jobs again.
        if not durable and self._state.lost is not None:
            code, error = self._state.lost.exit_code, self._state.lost
        elif not durable and (not server.aborted or code in _SAVED):
            why = self._state.trouble or "it took too long"
            error = StateUnwritable(f"The last checkpoint could not be written to {self._state.path}: {why}. Jobs "
                                    "settled since the previous checkpoint will run again.")
            code = error.exit_code
        failures = self._state.failures_path if stats.failed or self._state.failed_before else None
        return Outcome(code, stats, error, tuple(self._options.budget.commonest()), failures)

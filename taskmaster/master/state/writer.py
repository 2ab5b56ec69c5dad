"""The one thread that writes to the state folder during a run: failures first, then the newest checkpoint.

It does not decide when a checkpoint is due: the server offers one, and asks here how far the disk has got.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import reduce
from typing import Generic, Protocol, TypeVar

from taskmaster import defaults
from taskmaster.core.backoff import Backoff
from taskmaster.core.pending_results import ResultsToSave
from taskmaster.errors import TaskmasterError
from taskmaster.master.state.checkpoint import Checkpoint
from taskmaster.master.state.lock import LockLost
from taskmaster.master.state.results_log import ResultsLog
from taskmaster.native import Condition, Flag, Thread

log = logging.getLogger(__name__)

Failure = TypeVar("Failure")
_Failure = TypeVar("_Failure", contravariant=True)


class Folder(Protocol):
    """What the writer needs from a StateFolder."""

    def save(self, checkpoint: Checkpoint) -> None: ...

    def verify(self) -> None: ...


class Failures(Protocol[_Failure]):
    """What the writer needs from the failures file.

    Whatever `append` raises, it is called again with the same failures, followed by any that arrived meanwhile.
    """

    def append(self, failures: Sequence[_Failure], /) -> None: ...


class StateWriter(Generic[Failure]):
    """Takes what must outlive the master, without making the caller wait, and writes it in a thread of its own.

    Every failure recorded before a checkpoint was offered is durable before that checkpoint is, so that the watermark
    never passes an abandoned job whose record could still be lost. While the disk refuses, everything stays in memory,
    which is at most a window of failures if nothing new is handed out meanwhile.

    `wake` is called in that thread whenever something has become durable. `rest` waits between two attempts (seconds).
    """

    def __init__(
        self, folder: Folder, failures: Failures[Failure], wake: Callable[[], object], *,
        results: ResultsLog | None = None, clock: Callable[[], float] = time.monotonic,
        rest: Callable[[float], object] | None = None,
    ) -> None:
        self._folder = folder
        self._failures = failures
        self._results_log = results
        self._wake = wake
        self._clock = clock
        self._nudge = Flag()
        self._rest = rest or self._nudge.wait
        self._thread = Thread(target=self._work, name="state-writer")
        self._changed = Condition()
        # Guarded by _changed:
        self._unwritten: list[Failure] = []
        self._results: list[ResultsToSave] = []  # with each checkpoint that was offered and is not durable
        self._results_bytes = 0
        self._offered: Checkpoint | None = None
        self._digest: Callable[[], str | None] | None = None  # makes that of the offered checkpoint
        self._fresh_since: float | None = None  # the oldest thing that no write has tried yet
        self._tried_since: float | None = None  # the oldest thing that a write has tried
        self._closing = False
        self._abandoned = False
        self._saved: Checkpoint | None = None
        self._trouble: str | None = None
        self._lost: str | None = None
        self._fatal: TaskmasterError | None = None
        # The thread's own:
        self._backoff = Backoff(defaults.SAVE_RETRY_SECONDS, defaults.SAVE_RETRY_SECONDS_MOST)
        self._failed_writes = 0  # in a row
        self._warned_at: float | None = None

    @property
    def saved(self) -> Checkpoint | None:
        """The newest durable checkpoint of those offered here, without its digest."""
        with self._changed:
            return self._saved

    @property
    def trouble(self) -> str | None:
        """Why the last attempt to write failed; None when it succeeded."""
        with self._changed:
            return self._trouble

    @property
    def lost(self) -> str | None:
        """Why nothing is written any more: another master may be writing; None while this one is."""
        with self._changed:
            return self._lost

    @property
    def fatal(self) -> TaskmasterError | None:
        """What the sink of the results raised that trying again cannot help."""
        with self._changed:
            return self._fatal

    @property
    def results_bytes(self) -> int:
        """Bytes of results that are not durable yet."""
        with self._changed:
            return self._results_bytes

    def behind_since(self) -> float | None:
        """The time since which something taken here has not been durable; None if everything is."""
        with self._changed:
            return self._fresh_since if self._tried_since is None else self._tried_since

    def start(self) -> None:
        """Start writing. To be called once."""
        self._thread.start()

    def record(self, failures: Iterable[Failure]) -> None:
        """Take failures for the failures file; none is ever dropped. Raises RuntimeError after `close`."""
        taken = list(failures)
        if taken:
            with self._changed:
                self._take()
                self._unwritten += taken

    def offer(self, checkpoint: Checkpoint, digest: Callable[[], str | None] | None = None,
              results: ResultsToSave = ResultsToSave()) -> None:
        """Take a checkpoint, in place of one that is still waiting. Raises RuntimeError after `close`.

        `digest` is called in the writer's thread before the checkpoint is written, and its result becomes the
        checkpoint's digest. `results` are those that the checkpoint covers and earlier ones did not.
        """
        with self._changed:
            self._take()
            self._offered, self._digest = checkpoint, digest
            self._results.append(results)
            self._results_bytes += results.bytes

    def close(self, timeout: float) -> bool:
        """Write what is waiting, trying for up to `timeout` seconds, and end; True when everything is durable."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._nudge.set()  # cuts the rest between two attempts short: somebody is waiting now
        self._thread.join(timeout)
        with self._changed:
            self._abandoned = True
        self._nudge.set()
        return self.behind_since() is None

    def _take(self) -> None:
        if self._closing:
            raise RuntimeError("the state writer is closed")
        if self._fresh_since is None:
            self._fresh_since = self._clock()
        self._changed.notify()

    def _work(self) -> None:
        while self._await_something():
            try:
                self._write()
            except (LockLost, TaskmasterError) as error:
                self._end(error)
                return
            except Exception as error:  # of any kind: without its writer the run would stall silently
                self._stumble(error)
            else:
                self._recover()

    def _await_something(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._closing or self._has_something())
            return self._has_something() and not self._abandoned

    def _has_something(self) -> bool:
        return bool(self._unwritten) or self._offered is not None

    def _write(self) -> None:
        with self._changed:
            # All at one moment: a checkpoint offered later may depend on a failure recorded later.
            failures, checkpoint, digest = tuple(self._unwritten), self._offered, self._digest
            results = tuple(self._results)
            if self._tried_since is None:
                self._tried_since = self._fresh_since
            self._fresh_since = None
        if failures:
            self._failures.append(failures)
            with self._changed:
                del self._unwritten[:len(failures)]
        if checkpoint is not None:
            self._save(checkpoint if digest is None else replace(checkpoint, digest=digest()), results)
        self._settle(checkpoint)

    def _save(self, checkpoint: Checkpoint, results: Sequence[ResultsToSave]) -> None:
        log = self._results_log
        if log is not None:
            self._folder.verify()  # a file that has vanished with its folder is no error of its own
        said = log.write(reduce(ResultsToSave.then, results)) if log is not None else checkpoint.sink
        self._folder.save(replace(checkpoint, sink=said))
        if log is not None:
            log.saved(said)
        with self._changed:
            del self._results[:len(results)]
            self._results_bytes -= sum([one.bytes for one in results])

    def _settle(self, checkpoint: Checkpoint | None) -> None:
        with self._changed:
            if checkpoint is not None:
                self._saved = checkpoint
            if self._offered is checkpoint:
                self._offered = self._digest = None
            self._tried_since = None

    def _end(self, error: LockLost | TaskmasterError) -> None:
        with self._changed:
            if isinstance(error, LockLost):
                self._trouble = self._lost = error.strerror or str(error)
            else:
                self._trouble, self._fatal = str(error), error
        self._wake()

    def _stumble(self, error: Exception) -> None:
        reason = str(error) or type(error).__name__
        with self._changed:
            self._trouble = reason
        now = self._clock()
        if self._warned_at is None or now - self._warned_at >= defaults.SAVE_WARNING_SECONDS:
            self._warned_at = now
            self._warn(reason, None if isinstance(error, (OSError, ValueError)) else error)
        self._failed_writes += 1
        self._rest(self._backoff.delay(self._failed_writes))
        self._nudge.clear()

    def _warn(self, reason: str, bug: Exception | None) -> None:
        log.warning("The state cannot be written: %s. Retrying at least every %g s. Nothing is lost, but after %g s "
                    "without a checkpoint no new jobs are handed out.", reason, self._backoff.most,
                    defaults.UNSAVED_SECONDS, exc_info=bug)

    def _recover(self) -> None:
        with self._changed:
            had_trouble, self._trouble = self._trouble is not None, None
        if had_trouble:
            log.info("The state is being written again.")
        self._failed_writes = 0
        try:
            self._wake()
        except Exception as error:  # as above
            log.warning("The server could not be woken (%r); it will notice the checkpoint at its next turn.", error)

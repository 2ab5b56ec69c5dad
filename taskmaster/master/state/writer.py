"""The one thread that touches the state folder during a run: failures first, then the newest checkpoint.

Knows nothing of when a checkpoint is due; the server offers one, and reads here how far the disk has got.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from taskmaster.master.state.checkpoint import Checkpoint
from taskmaster.master.state.failures import FailureRecord

log = logging.getLogger(__name__)

RETRY_SECONDS = 0.1  # a failed fsync may be a passing one; doubled up to
RETRY_SECONDS_MOST = 5.0  # so that a run goes on within 5 s of somebody making room
WARN_SECONDS = 30.0  # between warnings of the same trouble


class Folder(Protocol):
    """What is needed of a StateFolder."""

    def save(self, checkpoint: Checkpoint) -> None: ...


class Records(Protocol):
    """What is needed of a FailuresFile."""

    def append(self, failures: Sequence[FailureRecord]) -> None: ...


class StateWriter:
    """Takes what must outlive the master, without making anyone wait, and writes it in a thread of its own.

    All failures buried before a checkpoint was offered are durable before that checkpoint is, so that a
    watermark never passes a job given up on whose record could still be lost. While the disk refuses,
    everything stays here: at most a window of failures, provided that nothing new is handed out then.

    `wake` is called, in that thread, each time something became durable. `rest` waits between two tries
    (seconds).
    """

    def __init__(
        self, folder: Folder, failures: Records, wake: Callable[[], object], *,
        clock: Callable[[], float] = time.monotonic, rest: Callable[[float], object] | None = None,
    ) -> None:
        self._folder = folder
        self._failures = failures
        self._wake = wake
        self._clock = clock
        self._nudge = threading.Event()
        self._rest = rest or self._nudge.wait
        self._thread = threading.Thread(target=self._work, name="state-writer", daemon=True)
        self._changed = threading.Condition()
        # Guarded by _changed:
        self._buried: list[FailureRecord] = []
        self._offered: Checkpoint | None = None
        self._fresh_since: float | None = None  # of the oldest thing that no write has tried yet
        self._tried_since: float | None = None  # of the oldest thing that a write has tried
        self._closing = False
        self._abandoned = False
        self._saved: Checkpoint | None = None
        self._trouble: str | None = None
        # The thread's own:
        self._delay = RETRY_SECONDS
        self._warned_at: float | None = None

    @property
    def saved(self) -> Checkpoint | None:
        """The newest checkpoint that is durable, of those offered here."""
        with self._changed:
            return self._saved

    @property
    def trouble(self) -> str | None:
        """Why the last try to write failed; None when it did not."""
        with self._changed:
            return self._trouble

    def behind_since(self) -> float | None:
        """The time, on the clock, since which something taken here is not durable yet; None when all is."""
        with self._changed:
            return self._fresh_since if self._tried_since is None else self._tried_since

    def start(self) -> None:
        """Begin to write. To be called once."""
        self._thread.start()

    def bury(self, failures: Iterable[FailureRecord]) -> None:
        """Take records for the failures file; none is ever dropped. Raises RuntimeError after `close`."""
        taken = list(failures)
        if taken:
            with self._changed:
                self._take()
                self._buried += taken

    def offer(self, checkpoint: Checkpoint) -> None:
        """Take a checkpoint, in place of one that still waits. Raises RuntimeError after `close`."""
        with self._changed:
            self._take()
            self._offered = checkpoint

    def close(self, timeout: float) -> bool:
        """Write what waits, trying for up to `timeout` seconds, and end; True when all is durable."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._nudge.set()  # a rest between two tries is cut short once: somebody waits now
        if self._thread.ident is not None:
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
            except Exception as error:  # whatever it is: a writer that ended would stall the run in silence
                self._stumble(error)
            else:
                self._recover()

    def _await_something(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._closing or self._has_something())
            return self._has_something() and not self._abandoned

    def _has_something(self) -> bool:
        return bool(self._buried) or self._offered is not None

    def _write(self) -> None:
        with self._changed:
            # Both at one moment: a checkpoint offered later may rest on a failure buried later.
            failures, checkpoint = tuple(self._buried), self._offered
            if self._tried_since is None:
                self._tried_since = self._fresh_since
            self._fresh_since = None
        if failures:
            self._failures.append(failures)
            with self._changed:
                del self._buried[:len(failures)]
        if checkpoint is not None:
            self._folder.save(checkpoint)
        self._settle(checkpoint)

    def _settle(self, checkpoint: Checkpoint | None) -> None:
        with self._changed:
            if checkpoint is not None:
                self._saved = checkpoint
            if self._offered is checkpoint:
                self._offered = None
            self._tried_since = None

    def _stumble(self, error: Exception) -> None:
        reason = str(error) or type(error).__name__
        with self._changed:
            self._trouble = reason
        now = self._clock()
        if self._warned_at is None or now - self._warned_at >= WARN_SECONDS:
            self._warned_at = now
            log.warning(
                "The state cannot be written: %s. Trying again at least every %g s; nothing is lost, but no "
                "new jobs are handed out once too many wait for it.", reason, RETRY_SECONDS_MOST,
                exc_info=None if isinstance(error, (OSError, ValueError)) else error,
            )
        self._rest(self._delay)
        self._nudge.clear()
        self._delay = min(2 * self._delay, RETRY_SECONDS_MOST)

    def _recover(self) -> None:
        with self._changed:
            had_trouble, self._trouble = self._trouble is not None, None
        if had_trouble:
            log.info("The state is written again.")
        self._delay = RETRY_SECONDS
        try:
            self._wake()
        except Exception as error:  # as above
            log.warning("The server could not be woken (%r); it sees what was saved when it next looks.",
                        error)

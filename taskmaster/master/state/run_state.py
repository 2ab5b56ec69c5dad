"""What of a run is on disk, from the server's side: resumes it, keeps it up to date, closes it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from taskmaster import defaults
from taskmaster.core.portable import digest, pack
from taskmaster.core.window import AbandonedJob, Window
from taskmaster.job import NO_CURSOR
from taskmaster.master.state.checkpoint import Checkpoint
from taskmaster.master.state.failures import FailureRecord, FailuresFile, show
from taskmaster.master.state.folder import StateFolder
from taskmaster.master.state.writer import StateWriter


@dataclass(frozen=True)
class Identity:
    """What a run's state belongs to: `get_jobs` as typed, its arguments as text, and the handler's name."""

    target: str
    arguments: Mapping[str, str]
    handler: str


class RunState:
    """The state folder of one run. `open` it, `begin` an epoch, then `start`; always `close`."""

    def __init__(self, path: Path, identity: Identity, wake: Callable[[], None]) -> None:
        self.path = path
        self.failed_before = 0
        self.handed_out_before = 0  # jobs below this offset may have run in an earlier run
        self._identity = identity
        self._folder = StateFolder(path)
        self._failures = FailuresFile(self._folder.failures_path)
        self._writer = StateWriter(self._folder, self._failures, wake)
        self._last: Checkpoint | None = None
        self._offered_at = 0.0
        self._started = False

    @property
    def failures_path(self) -> Path:
        return self._folder.failures_path

    @property
    def run(self) -> str:
        assert self._last is not None
        return self._last.run

    @property
    def epoch(self) -> int:
        assert self._last is not None
        return self._last.epoch

    @property
    def trouble(self) -> str | None:
        """Why the state cannot be written just now."""
        return self._writer.trouble

    def open(self, reset: bool) -> Checkpoint | None:
        """Take the folder and read what is there. Raises StateUnwritable, StateMismatch."""
        self._folder.open()
        if reset:
            self._folder.reset()
        found = self._folder.load()
        if found is not None:
            self._folder.check(found, self._identity.target, self._identity.arguments)
        return found

    def begin(self, found: Checkpoint | None, first_offset: int) -> None:
        """A new epoch, durable before any slave can hear of it. Raises StateUnwritable."""
        before = found or Checkpoint(secrets.token_hex(16), 0, first_offset, target=self._identity.target,
                                     arguments=self._identity.arguments)
        self._last = replace(before, epoch=before.epoch + 1, finished=False, written_at=time.time())
        try:
            self.failed_before = self._failures.prune(before.offset)
            self._folder.save(self._last)
        except OSError as error:
            raise self._folder.unwritable(error) from error
        self.handed_out_before = max(before.offset, self._folder.handed_out.read() or 0)

    def start(self) -> None:
        self._writer.start()
        self._started = True

    def handed_out(self, offset: int) -> None:
        """Every job below was handed out; noted before the jobs leave, so that a resume can count its replays."""
        self._folder.handed_out.note(offset - 1)

    def bury(self, jobs: Sequence[AbandonedJob]) -> None:
        """Write these failures, before any checkpoint that is offered later."""
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        self._writer.record([self._record(job, now) for job in jobs])

    def offer(self, window: Window, counters: Mapping[str, int], now: float, finished: bool = False) -> None:
        """Save how far the window got."""
        assert self._last is not None
        self._offered_at = now
        settled = window.cursor is not NO_CURSOR
        self._last = replace(
            self._last, offset=window.watermark, cursor=window.cursor if settled else self._last.cursor,
            has_cursor=settled or self._last.has_cursor, digest=_digest_of_next(window), counters=dict(counters),
            finished=finished, written_at=time.time())
        self._writer.offer(self._last)

    def due(self, window: Window, now: float) -> bool:
        """Whether a checkpoint would say something new, and the last was long enough ago."""
        assert self._last is not None
        return window.watermark > self._last.offset and now >= self._offered_at + defaults.CHECKPOINT_SECONDS

    def next_due(self, window: Window) -> float | None:
        assert self._last is not None
        return self._offered_at + defaults.CHECKPOINT_SECONDS if window.watermark > self._last.offset else None

    def behind(self, now: float) -> bool:
        """Whether what was settled has not become durable for too long to settle more."""
        since = self._writer.behind_since()
        return since is not None and now - since > defaults.UNSAVED_SECONDS

    def close(self, seconds: float) -> bool:
        """Write what is pending and let go of the folder; returns whether all became durable."""
        durable = self._writer.close(seconds) if self._started else True
        self._folder.close()
        return durable

    def _record(self, job: AbandonedJob, now: str) -> FailureRecord:
        payload, shown = _shown(job)
        return FailureRecord(job.offset, _packed(job.cursor), job.attempts, job.kind, job.error, job.message,
                             job.traceback, self._identity.handler, job.holder, now, payload, shown)


def _digest_of_next(window: Window) -> str | None:
    """Of the first unfinished job, where it is known: a resume compares it with what the source gives there.

    Only for plain jobs: a cursor of the user's own names the place by itself.
    """
    if not window.next_is_plain:
        return None
    read = window.first_unfinished()
    try:
        return None if read is None else digest(read())
    except BaseException:  # decoding runs the user's code, which may even exit; the slave that does it will tell of it
        return None


def _shown(job: AbandonedJob) -> tuple[dict[str, Any] | None, str]:
    """The payload so that it can be run again, and so that a person can read it."""
    if job.batch is None:
        return None, "<a job that could not be encoded>"
    try:
        payload = job.batch.payload(0)
    except BaseException as error:  # the user's own decoding: a SystemExit of it must not end the master
        return _packed(job.batch.encoded(0)), f"<{type(error).__name__} while decoding>"
    return _packed(payload), show(payload)


def _packed(value: Any) -> dict[str, Any] | None:
    try:
        return pack(value)
    except ValueError:
        return None

"""What happened: the last of it as lines to read, all of it as one number."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any
from zlib import crc32

from models.scheduler import Scheduler

from taskmaster.core.wire import Poll, Reply

KEPT = 40


class Trace:
    """One line for each message and event."""

    def __init__(self, scheduler: Scheduler, kept: int | None = KEPT) -> None:
        self.hash = 0
        self._scheduler = scheduler
        self._last: deque[tuple[float, str, Any]] = deque(maxlen=kept)

    def note(self, who: str, what: Any) -> None:
        """`what` is a text, or a message as `poll_note` and `reply_note` return it."""
        now = self._scheduler.now
        self.hash = crc32(f"{now!r} {who} {what!r}".encode(), self.hash)
        self._last.append((now, who, what))

    def lines(self) -> list[str]:
        return [f"{now:12.6f}  {who:<22} {_readable(what)}" for now, who, what in self._last]


def poll_note(poll: Poll) -> tuple[Any, ...]:
    failed = tuple((one.offset, one.attempt) for one in poll.failed)
    return ("poll", poll.seq, poll.epoch, poll.want, poll.wait_ms, poll.state, poll.held, poll.done, failed)


def reply_note(reply: Reply) -> tuple[Any, ...]:
    leases = tuple((one.first, one.count, one.attempt) for one in reply.leases)
    return ("reply", reply.seq, reply.epoch, reply.kind, leases, reply.drop)


def _readable(what: Any) -> str:
    if not isinstance(what, tuple):
        return str(what)
    if what[0] == "poll":
        _, n, epoch, want, wait, state, held, done, failed = what
        texts = ", ".join(f"{at} (attempt {of})" for at, of in failed)
        words = [f"poll {n} epoch {epoch} {state} want {want}", f"wait {wait}" if wait else "", _runs("held", held),
                 _runs("done", done), f"failed {texts}" if failed else ""]
    else:
        _, n, epoch, kind, leases, drop = what
        words = [f"reply {n} epoch {epoch} {kind}", *(f"{_run(first, count)} (attempt {attempt})"
                                                      for first, count, attempt in leases), _runs("drop", drop)]
    return " ".join(filter(None, words))


def _runs(name: str, runs: Iterable[tuple[int, int]]) -> str:
    texts = [_run(first, count) for first, count in runs]
    return f"{name} {','.join(texts)}" if texts else ""


def _run(first: int, count: int) -> str:
    return str(first) if count == 1 else f"{first}-{first + count - 1}"

"""Decides from outside of the product: what was lost, what ran more often than it should, and for which blow's sake.

It reads the handlers' notes, the checkpoint and the failures file as the README describes them, and imports nothing
of the product.
"""

from __future__ import annotations

import json
import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SAVED_SECONDS = 1.5  # a checkpoint is at most a second old, and half of one for it to reach the disk
BEFORE_SECONDS = 0.3
SLACK_SECONDS = 0.02  # between a death and when it was noted


@dataclass(frozen=True)
class Note:
    """A line that a handler, or a source, left."""

    what: str
    job: str
    pid: int
    thread: int
    at: float


@dataclass
class Attempt:
    """One run of a job: how it ended is "end" or "raise", or "" when it never did."""

    job: str
    pid: int
    start: float
    end: float | None = None
    how: str = ""


class Log:
    """The notes of one folder, read on as they grow."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0
        self.attempts: list[Attempt] = []
        self.sources: list[Note] = []
        self.other: list[Note] = []
        self.ends: list[float] = []
        self._open: dict[tuple[str, int, int], Attempt] = {}

    def read(self) -> Log:
        """Take in what was noted since the last time."""
        try:
            with open(self._path, "rb") as file:
                file.seek(self._at)
                data = file.read()
        except FileNotFoundError:
            return self
        data = data[:data.rfind(b"\n") + 1]
        self._at += len(data)
        for line in data.decode().splitlines():
            what, job, pid, thread, at = line.split()
            self._take(Note(what, job, int(pid), int(thread), float(at)))
        return self

    def _take(self, note: Note) -> None:
        key = (note.job, note.pid, note.thread)
        if note.what == "start":
            self._open[key] = Attempt(note.job, note.pid, note.at)
            self.attempts.append(self._open[key])
        elif note.what in ("end", "raise"):
            attempt = self._open.pop(key, None)
            if attempt is None:
                raise ValueError(f"a note without its start: {note}")
            attempt.end, attempt.how = note.at, note.what
            if note.what == "end":
                self.ends.append(note.at)
        elif note.what == "exhausted":
            self.sources.append(note)
        else:
            self.other.append(note)

    @property
    def exhausted(self) -> int | None:
        """How many jobs the source had in all, once it has said so."""
        return max((int(note.job) for note in self.sources), default=None)

    def done(self) -> set[str]:
        """The jobs that a handler brought to its end."""
        return {attempt.job for attempt in self.attempts if attempt.how == "end"}

    def times(self, job: object) -> int:
        """How often this job was started."""
        return sum(attempt.job == str(job) for attempt in self.attempts)

    def running(self, pid: int) -> set[str]:
        """The jobs that this process has begun and not ended."""
        return {one.job for one in self._open.values() if one.pid == pid}

    def overrun(self, seconds: float, spared: set[int]) -> float:
        """By how much a job of so many seconds took longest, but for those in `spared`: the machine's doing."""
        spans = [one.end - one.start - seconds for one in self.attempts if one.end and one.pid not in spared]
        return max(spans, default=0.0)

    def pids(self) -> set[int]:
        return {attempt.pid for attempt in self.attempts}


@dataclass(eq=False)
class Blow:
    """What was done to the product, and so which replays it accounts for.

    A job that ran more than once is this blow's doing if one of the runs before was under way, or not yet known to
    be done, between `at` and `until` (on the monotonic clock), in one of `pids` (None: any), and its number is not
    below `watermark`. `bound` is how many such replays are allowed. `again` are the jobs that it cut short.
    """

    kind: str
    at: float
    pids: frozenset[int] | None = None
    until: float = 0.0
    watermark: int = 0
    bound: int = 0
    again: frozenset[str] = frozenset()
    within: float = float("inf")  # seconds in which `again` must have begun anew
    replays: int = 0
    kills: int = 1

    def explains(self, earlier: Attempt, later: Attempt) -> bool:
        """Whether it is why `later` ran although `earlier` had; one that may cause no replay never is."""
        if self.bound == 0:
            return False
        touched = self.pids is None or earlier.pid in self.pids or later.pid in self.pids
        above = not earlier.job.isdigit() or int(earlier.job) >= self.watermark
        return touched and above and earlier.start <= self.until + SLACK_SECONDS and later.start >= self.at


@dataclass
class Verdict:
    """What came of one place."""

    jobs: int = 0
    lost: list[str] = field(default_factory=list)
    extra: int = 0
    unexplained: list[str] = field(default_factory=list)
    failed: int = 0
    next_completion: list[float] = field(default_factory=list)
    again: list[tuple[float, Blow]] = field(default_factory=list)
    kept: float | None = None


def judge(log: Log, expected: Iterable[object], blows: Sequence[Blow], failures: Sequence[dict[str, Any]],
          excused: Iterable[object] = ()) -> Verdict:
    """Reads the notes against what was done; each blow is told its replays. The `excused` repeat themselves."""
    log.read()
    wanted = {str(job) for job in expected}
    given_up = {job_of(line) for line in failures}
    for blow in blows:
        blow.replays = 0
    verdict = Verdict(len(wanted), sorted(wanted - log.done() - given_up), failed=len(given_up))
    spared = {str(job) for job in excused}
    for job, attempts in _by_job(log.attempts).items():
        if job in spared:
            continue
        for index, later in enumerate(attempts[1:], 1):
            earlier = attempts[:index]
            if earlier[-1].how == "raise":
                continue  # a retry
            verdict.extra += 1
            guilty = _blamed(blows, earlier, later)
            if guilty is None:
                verdict.unexplained.append(later.job)
            else:
                guilty.replays += 1
    verdict.next_completion = [_after(log.ends, blow.at) for blow in blows]
    verdict.again = [(_again(log.attempts, blow), blow) for blow in blows if blow.again]
    verdict.kept = _kept(log.ends, blows)
    return verdict


def _by_job(attempts: Sequence[Attempt]) -> dict[str, list[Attempt]]:
    found: dict[str, list[Attempt]] = defaultdict(list)
    for attempt in sorted(attempts, key=lambda one: one.start):
        found[attempt.job].append(attempt)
    return found


def _blamed(blows: Sequence[Blow], earlier: Sequence[Attempt], later: Attempt) -> Blow | None:
    """The first blow that undid the run just before, else one that undid any."""
    guilty = [blow for blow in blows if blow.explains(earlier[-1], later)]
    if guilty:
        return min(guilty, key=lambda blow: (blow.at < earlier[-1].start, blow.at))
    return next((blow for blow in blows if any(blow.explains(one, later) for one in earlier)), None)


def _after(ends: Sequence[float], then: float) -> float:
    """Seconds to the next job that came to its end; infinite where none did."""
    return min((end - then for end in ends if end > then), default=float("inf"))


def _again(attempts: Sequence[Attempt], blow: Blow) -> float:
    """Seconds until the last of the jobs that a blow cut short had begun anew."""
    begun = {job: float("inf") for job in blow.again}
    for one in attempts:
        elsewhere = blow.pids is None or one.pid not in blow.pids
        if one.job in begun and elsewhere and one.start > blow.at:
            begun[one.job] = min(begun[one.job], one.start - blow.at)
    return max(begun.values())


def _kept(ends: Sequence[float], blows: Sequence[Blow]) -> float | None:
    """The rate from the first blow on, as a part of that just before it, when all slaves were at work."""
    if not blows or not ends:
        return None
    last, blow = max(ends), min(blow.at for blow in blows)
    before = sum(blow - BEFORE_SECONDS < end <= blow for end in ends)
    if before < 20 or min(ends) > blow - BEFORE_SECONDS or last - blow < BEFORE_SECONDS:
        return None
    after = sum(end > blow for end in ends)
    return (after / (last - blow)) / (before / BEFORE_SECONDS)


def settled_within(log: Log, then: float, now: float) -> int:
    """How many jobs came to their end between the two."""
    return sum(then <= end <= now for end in log.read().ends)


# -- what the product leaves on disk

def job_of(failure: dict[str, Any]) -> str:
    """The job that a line of the failures file is about, as the notes show it."""
    payload = failure.get("payload")
    if isinstance(payload, dict) and "json" in payload:
        return str(payload["json"])
    return str(failure["offset"])


def failures(state: Path) -> list[dict[str, Any]]:
    """The lines of the failures file, those of a `--reset` not among them."""
    path = state / "failures.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def read_checkpoint(path: Path) -> dict[str, Any] | None:
    """A line of JSON and its CRC32 in hexadecimal; None where the file is not such."""
    try:
        line, _, rest = path.read_bytes().partition(b"\n")
    except OSError:
        return None
    if rest != b"%08x\n" % zlib.crc32(line):
        return None
    found: dict[str, Any] = json.loads(line)
    return found


def newest_checkpoint(state: Path) -> dict[str, Any] | None:
    """What a resume goes on from: the main file, or the one before it."""
    for name in ("checkpoint.json", "checkpoint.prev.json"):
        found = read_checkpoint(state / name)
        if found is not None:
            return found
    return None


def worst(values: Iterable[float], share: float = 0.95) -> float | None:
    """The 95th percentile, which of a few values is the largest."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None

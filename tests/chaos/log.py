"""The handlers' notes: which job was started and ended where and when. The product is judged by them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Note:
    """A line that a handler or a source left; `at` is on the monotonic clock."""

    what: str
    job: str
    pid: int
    thread: int
    at: float


@dataclass
class Attempt:
    """One run of a job; `how` it ended is "end" or "raise", or "" if it never did."""

    job: str
    pid: int
    start: float
    end: float | None = None
    how: str = ""


class Log:
    """The notes of one folder, read further as they grow."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0
        self.attempts: list[Attempt] = []
        self.sources: list[Note] = []
        self.other: list[Note] = []
        self.ends: list[float] = []
        self._open: dict[tuple[str, int, int], Attempt] = {}

    def read(self) -> Log:
        """Take in what was noted since the last call."""
        for line in self._fresh().decode().splitlines():
            what, job, pid, thread, at = line.split()
            self._take(Note(what, job, int(pid), int(thread), float(at)))
        return self

    def _fresh(self) -> bytes:
        try:
            with open(self._path, "rb") as file:
                file.seek(self._at)
                data = file.read()
        except FileNotFoundError:
            return b""
        data = data[:data.rfind(b"\n") + 1]
        self._at += len(data)
        return data

    def _take(self, note: Note) -> None:
        if note.what == "start":
            attempt = Attempt(note.job, note.pid, note.at)
            self._open[note.job, note.pid, note.thread] = attempt
            self.attempts.append(attempt)
        elif note.what in ("end", "raise"):
            self._end(note)
        elif note.what == "exhausted":
            self.sources.append(note)
        else:
            self.other.append(note)

    def _end(self, note: Note) -> None:
        attempt = self._open.pop((note.job, note.pid, note.thread), None)
        if attempt is None:
            raise ValueError(f"a note without its start: {note}")
        attempt.end, attempt.how = note.at, note.what
        if note.what == "end":
            self.ends.append(note.at)

    @property
    def exhausted(self) -> int | None:
        """How many jobs the source had in all, once it has said so."""
        return max((int(note.job) for note in self.sources), default=None)

    def done(self) -> set[str]:
        """The jobs that a handler finished."""
        return {attempt.job for attempt in self.attempts if attempt.how == "end"}

    def unfinished(self) -> set[str]:
        """The jobs that a handler began and did not finish."""
        return {attempt.job for attempt in self.attempts if not attempt.how}

    def of(self, job: object) -> list[Attempt]:
        """The attempts at this job."""
        return [attempt for attempt in self.attempts if attempt.job == str(job)]

    def times(self, job: object) -> int:
        """How often this job was started."""
        return len(self.of(job))

    def running(self, pid: int) -> set[str]:
        """The jobs that this process has begun and not ended."""
        return {one.job for one in self._open.values() if one.pid == pid}

    def settled_between(self, then: float, now: float) -> int:
        """How many jobs were finished between the two."""
        return sum(then <= end <= now for end in self.read().ends)

    def overrun(self, seconds: float, spared: set[int]) -> float:
        """By how much a job of so many seconds was late at worst, in processes other than `spared`."""
        spans = [one.end - one.start - seconds for one in self.attempts if one.end and one.pid not in spared]
        return max(spans, default=0.0)

    def pids(self) -> set[int]:
        return {attempt.pid for attempt in self.attempts}

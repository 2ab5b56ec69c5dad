"""Second leases: jobs that another slave has been given as well, because the first one takes so long.

This file knows who has them; what becomes of the job is up to the window.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from taskmaster.core.runs import Run, Runs


@dataclass(frozen=True)
class Backup:
    """A second lease of one job: to whom, in answer to which of its requests, since when."""

    holder: str
    granted_by_seq: int
    since: float


class Backups:
    """At most one for each job."""

    def __init__(self) -> None:
        self.made = 0
        self.won = 0  # where the second slave was done first
        self.leases: dict[int, Backup] = {}  # by offset
        self._offsets: dict[str, set[int]] = {}  # by holder

    def add(self, offset: int, backup: Backup) -> None:
        self.made += 1
        self.leases[offset] = backup
        self._offsets.setdefault(backup.holder, set()).add(offset)

    def pop(self, offset: int) -> Backup | None:
        """Remove the second lease of this job and return it; None if it has none."""
        backup = self.leases.pop(offset, None)
        if backup is not None:
            offsets = self._offsets[backup.holder]
            offsets.discard(offset)
            if not offsets:
                del self._offsets[backup.holder]
        return backup

    def count_of(self, holder: str) -> int:
        """How many jobs this slave has on a second lease."""
        return len(self._offsets.get(holder, ()))

    def settle(self, reporter: str, runs: Iterable[Run]) -> list[tuple[str, Run]]:
        """The reporter has done these jobs: end their second leases. Returns the slaves that had them, each with a job,
        except for the reporter."""
        drops = []
        for first, count in runs:
            for offset in self._inside(first, count):
                backup = self.pop(offset)
                assert backup is not None
                if backup.holder == reporter:
                    self.won += 1
                else:
                    drops.append((backup.holder, (offset, 1)))
        return drops

    def _inside(self, first: int, count: int) -> list[int]:
        if count <= len(self.leases):
            return [at for at in range(first, first + count) if at in self.leases]
        return [at for at in self.leases if first <= at < first + count]

    def renew(self, holder: str, request: int, held: Runs) -> None:
        """End those that the slave does not list. One that answers this request or a later one stays, as the slave
        cannot know of it yet."""
        for offset in list(self._offsets.get(holder, ())):
            if offset not in held and self.leases[offset].granted_by_seq < request:
                self.pop(offset)

    def leave(self, holder: str) -> list[int]:
        """The slave is gone: end its second leases, and return their jobs."""
        offsets = sorted(self._offsets.get(holder, ()))
        for offset in offsets:
            self.pop(offset)
        return offsets

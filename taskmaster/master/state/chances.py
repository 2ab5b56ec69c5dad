"""Which records of the failures file are of jobs that run again, and which have become obsolete.

After a run that --max-failures stopped, each recorded job has another chance, and with --retry-failed those that were
chosen have. A record stays in the file until a checkpoint says that its job is settled once more: then it was handled,
or the file has a newer record of it.

    stopped -> all records have a chance -> settled, one by one -> their records are obsolete -> dropped from the file
"""

from __future__ import annotations

from collections.abc import Iterable

from taskmaster.core.failure import FailureRecord
from taskmaster.core.runs import Run, Runs
from taskmaster.core.selection import Selection
from taskmaster.master.state.checkpoint import Checkpoint


class Chances:
    """The offsets of the jobs that are still to be tried again, the epoch that began to do so, and the offsets of those
    that have been `tried`, whose first records may still be in the file."""

    def __init__(self, offsets: Iterable[Run] = (), epoch: int = 0, tried: Iterable[Run] = ()) -> None:
        self.epoch = epoch
        self._offsets = Runs(offsets)
        self._tried = Runs(tried)

    @staticmethod
    def of(found: Checkpoint) -> Chances:
        return Chances(found.chances, found.chances_epoch, found.tried)

    def pruned(self) -> Chances:
        """The same once no obsolete record is in the file."""
        return Chances(self.runs, self.epoch)

    def __len__(self) -> int:
        return len(self._offsets)

    @property
    def runs(self) -> tuple[Run, ...]:
        return tuple(self._offsets)

    @property
    def tried(self) -> tuple[Run, ...]:
        return tuple(self._tried)

    def settle(self, runs: Iterable[Run]) -> None:
        """These jobs were handled, or have failed again and been recorded anew."""
        for first, count in runs:
            self._offsets.remove(first, count)
            self._tried.add(first, count)

    def wants(self, record: FailureRecord) -> bool:
        """Whether its job is to be tried again."""
        return record.offset in self._offsets and not self.is_obsolete(record)

    def is_obsolete(self, record: FailureRecord) -> bool:
        """Whether something else says more about its job than this record does.

        A record that this epoch or a later one made, of a job that still has its chance, is from a master that was
        killed before its next checkpoint: the job is tried again, and its first record stays until then.
        """
        known = self._offsets if record.epoch >= self.epoch else self._tried
        return record.payload is not None and record.offset in known


def new_chances(found: Checkpoint, records: Iterable[FailureRecord]) -> tuple[Chances, list[int]]:
    """For the master after `found`: the chances of the recorded jobs below its offset, and the offsets of those above.

    The latter are pulled again and run if they no longer count as settled.
    """
    chances, stopped = Chances.of(found), found.stopped
    below: list[int] = []
    above: list[int] = []
    for record in records:
        if record.offset >= found.offset:
            above += [record.offset] if stopped else []
        elif chances.wants(record) or (stopped and record.payload is not None):
            below.append(record.offset)
    epoch = found.epoch + 1 if stopped else found.chances_epoch
    return Chances([(offset, 1) for offset in sorted(set(below))], epoch), above


def with_selected(chances: Chances, found: Checkpoint, records: Iterable[FailureRecord],
                  selection: Selection) -> Chances:
    """These chances, and one for each selected job below the offset of `found` whose payload was recorded.

    The jobs above it are still to be pulled once more, since the source cannot be resumed between them.
    """
    more = [(record.offset, 1) for record in records
            if record.payload is not None and record.offset < found.offset and selection.has(record)]
    return Chances([*chances.runs, *more], found.epoch + 1)

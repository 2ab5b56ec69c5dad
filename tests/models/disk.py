"""The state folder on a simulated disk: slow, full, or cut off in the middle of a write.

It takes the place of `StateFolder` and `FailuresFile` and follows the steps of `durable.py`: what is not fsynced yet
survives kill -9, but perhaps not a power cut; a rename happens completely or not at all.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Container, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

from models.process import Process
from models.scheduler import Scheduler

from taskmaster.core.failure import FailureRecord
from taskmaster.errors import StateUnwritable
from taskmaster.master.state.checkpoint import Checkpoint, encode, parse


class DiskFile:
    """A file that is appended to and cut back."""

    def __init__(self) -> None:
        self.content = b""
        self.synced = 0  # bytes that survive a power cut
        self.named = False  # whether its name does

    def cut(self, size: int) -> None:
        self.content = self.content[:size]
        self.synced = min(self.synced, size)

    def confirm(self) -> None:
        """An fsync has returned."""
        self.synced = len(self.content)

    def cut_power(self, chance: Random) -> None:
        """Of the rest, anything may be there, and zeros in place of it."""
        rest = self.content[self.synced:]
        kept = chance.randint(0, len(rest))
        self.content = self.content[:self.synced] + chance.choice([rest[:kept], b"", bytes(len(rest)), rest])


class Disk:
    """It outlives masters. An fsync takes about `seconds`."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.seconds = 0.0007
        self.full = False
        self.fails = 0  # this many fsyncs from now on fail
        self.main: bytes | None = None
        self.failures: list[FailureRecord] = []
        self.handed_out: int | None = None
        self.files: dict[str, DiskFile] = {}  # that grow, by name
        self.saved: Callable[[Checkpoint], object] = lambda checkpoint: None
        self.written: Callable[[Checkpoint], object] = lambda checkpoint: None
        self.was_reset: Callable[[], object] = lambda: None
        self.dropped: Callable[[Sequence[FailureRecord]], object] = lambda records: None  # from the failures
        self._before: bytes | None = None  # what a power cut may bring back, while `_renamed`
        self._renamed = False
        self._removed: dict[str, DiskFile] = {}  # that a power cut may bring back
        self._unsynced = 0  # lines of failures at the end that a power cut may take

    def healthy(self) -> bool:
        return not self.full and not self.fails and self.seconds < 0.1

    def heal(self) -> None:
        self.full, self.fails, self.seconds = False, 0, 0.0007

    def cut_power(self) -> None:
        """Whatever no fsync has confirmed may be gone."""
        if self._renamed and self.scheduler.chance.random() < 0.5:
            self.main = self._before
        if self._unsynced:
            del self.failures[len(self.failures) - self.scheduler.chance.randint(0, self._unsynced):]
        self._cut_files(self.scheduler.chance)

    def _cut_files(self, chance: Random) -> None:
        for name, file in [*self._removed.items(), *self.files.items()]:
            if file.named and name not in self.files and chance.random() < 0.5:
                self.files[name] = file
            elif not file.named and name in self.files and chance.random() < 0.5:
                del self.files[name]
        for file in self.files.values():
            file.cut_power(chance)

    def remove(self, name: str) -> None:
        """Delete a file; until the folder is fsynced, a power cut may bring it back."""
        if name in self.files:
            self._removed[name] = self.files.pop(name)

    def settle_down(self) -> None:
        """The machine stayed up: whatever was written reaches the disk."""
        self._renamed, self._unsynced = False, 0
        self._removed.clear()
        for file in self.files.values():
            file.synced, file.named = len(file.content), True

    # -- the steps of a write

    def fsync(self, process: Process) -> None:
        process.step()
        self.scheduler.sleep(self.seconds * (0.5 + self.scheduler.chance.random()))
        process.step()
        if self.fails:
            self.fails -= 1
            raise OSError(errno.EIO, "fsync failed")

    def need_room(self) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "the disk is full")

    def rename(self, data: bytes) -> None:
        self._before, self._renamed, self.main = self.main, True, data

    def sync_folder(self, process: Process) -> None:
        self.fsync(process)
        self._renamed = False
        self._removed.clear()

    def write_lines(self, lines: Sequence[FailureRecord]) -> None:
        self.failures += lines
        self._unsynced += len(lines)

    def lines_synced(self) -> None:
        self._unsynced = 0


class HandedOut:
    """In place of `HandedOut`; never fsynced."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def read(self) -> int | None:
        return self._disk.handed_out

    def note(self, offset: int) -> None:
        self._disk.handed_out = max(self._disk.handed_out or 0, offset + 1)

    def close(self) -> None:
        """There is nothing to release."""


class Folder:
    """In place of `StateFolder`."""

    def __init__(self, disk: Disk, process: Process) -> None:
        self.failures_path = Path("failures.jsonl")
        self.handed_out = HandedOut(disk)
        self._disk = disk
        self._process = process

    def open(self) -> None:
        try:
            self._disk.need_room()
        except OSError as error:
            raise self.unwritable(error) from error

    def close(self) -> None:
        """There is nothing to release."""

    def unwritable(self, error: OSError) -> StateUnwritable:
        return StateUnwritable(str(error))

    def load(self) -> Checkpoint | None:
        return parse(self._disk.main) if self._disk.main is not None else None

    def check(self, checkpoint: Checkpoint, target: str, arguments: Any) -> None:
        """The workload is always the same."""

    def reset(self) -> None:
        self._disk.main, self._disk.handed_out = None, None
        self._disk.failures.clear()
        self._disk.files.clear()  # by the user, who begins anew
        self._disk.settle_down()
        self._disk.was_reset()

    def verify(self) -> None:
        """It is always where it was."""

    def save(self, checkpoint: Checkpoint) -> None:
        data = encode(checkpoint)
        self._disk.need_room()
        self._disk.fsync(self._process)  # the fresh file
        self._process.step()  # the link to the previous one
        self._disk.written(checkpoint)
        self._disk.rename(data)
        self._disk.sync_folder(self._process)
        self._disk.saved(checkpoint)


class FailuresFile:
    """In place of `FailuresFile`."""

    def __init__(self, disk: Disk, process: Process) -> None:
        self._disk = disk
        self._process = process

    def append(self, failures: Sequence[FailureRecord]) -> None:
        disk = self._disk
        disk.need_room()
        self._process.step()
        end = len(disk.failures)
        disk.write_lines(failures)
        try:
            disk.fsync(self._process)
        except OSError:
            del disk.failures[end:]  # cut back
            disk.lines_synced()
            raise
        disk.lines_synced()

    def read(self) -> Iterator[FailureRecord]:
        return iter(list(self._disk.failures))

    def drop(self, obsolete: Callable[[FailureRecord], bool]) -> None:
        self._process.step()
        self._rewrite([one for one in self._disk.failures if not obsolete(one)])

    def _rewrite(self, kept: list[FailureRecord]) -> None:
        if len(kept) < len(self._disk.failures):
            self._disk.need_room()
        dropped = [one for one in self._disk.failures if one not in kept]
        self._disk.failures = kept
        self._disk.lines_synced()  # those kept were durable before the checkpoint that passed them was
        self._disk.dropped(dropped)

    def prune(self, watermark: int, above: Container[int] = (),
              obsolete: Callable[[FailureRecord], bool] = lambda record: False) -> int:
        kept = [one for one in self._disk.failures
                if (one.offset < watermark or one.offset in above) and not obsolete(one)]
        self._rewrite(kept)
        return len(kept)

"""Holds what is in the results file against the promises, I25 and I26 of the oracle."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Container
from io import BytesIO
from zlib import crc32

from models.broken import must
from models.disk import Disk, DiskFile
from models.master import RESULTS
from models.oracle import Oracle
from models.scenario import Scenario
from models.source import offset_of

from taskmaster.core.waiting_results import records_in
from taskmaster.master.state.checkpoint import Checkpoint, parse


class ResultsWatch:
    """It reads the file: each result is the payload of its job."""

    def __init__(self, disk: Disk, oracle: Oracle, scenario: Scenario) -> None:
        self.source_changed = False
        self._again: set[int] = set()  # jobs that a later run tried again: their results come when they come
        self._marks: dict[int, int] = {}  # what checkpoints said, and the checksums of what they covered
        self._disk = disk
        self._oracle = oracle
        self._scenario = scenario

    @property
    def _file(self) -> DiskFile:
        return self._disk.files[RESULTS.name]

    def reset(self) -> None:
        """The user starts all over."""
        self.source_changed = False
        self._again.clear()

    def resumed(self, again: frozenset[int]) -> None:
        """A master begins to serve, and to try these failed jobs again: its epoch is durable."""
        self._again |= again
        if not self._scenario.results:
            return
        assert self._disk.main is not None
        size = parse(self._disk.main).sink["mark"]["size"]
        must(len(self._file.content) == size, "I26: not cut to the mark", len(self._file.content), size)
        must(self._marks[size] == self._checksum(size), "I26: not what it was when the mark was made", size)

    def written(self, checkpoint: Checkpoint) -> None:
        """A checkpoint is on the disk, durable or not."""
        if checkpoint.sink is not None:
            size = checkpoint.sink["mark"]["size"]
            must(size <= self._file.synced, "I26: the mark covers what is not durable", size, self._file.synced)
            self._marks[size] = self._checksum(size)
            file, size = self._waiting(checkpoint)
            must(size <= file.synced, "I26: results that wait are not durable", size, file.synced)
        if checkpoint.stopped:
            self._again.update(one.offset for one in self._disk.failures)
        for first, count in checkpoint.chances:
            self._again.update(range(first, first + count))

    def _checksum(self, size: int) -> int:
        return crc32(self._file.content[:size])

    def saved(self, checkpoint: Checkpoint, on_disk: Container[int]) -> None:
        """A checkpoint is durable; `on_disk` are the offsets that the failures file holds."""
        if checkpoint.sink is None:
            return
        oracle, found = self._oracle, self._durable(checkpoint)
        settled = {at: oracle.source.payload(at) for at in range(checkpoint.offset)}
        lost = [at for at, payload in {**oracle.above, **settled}.items()
                if at not in on_disk and payload not in found and payload in oracle.executed]
        if self.source_changed:  # then a job above may have been settled anew, as what it is now
            here = set(map(offset_of, found))
            lost = [at for at in lost if at in settled or at not in here]
        must(not lost, "I25: the checkpoint passed jobs whose results are not durable", lost)

    def _durable(self, checkpoint: Checkpoint) -> set[int]:
        """All results that the next master finds."""
        file, size = self._waiting(checkpoint)
        waiting = records_in(BytesIO(file.content), size)
        lines = [line for one in waiting if not one.failed for line in one.lines.splitlines()]
        return {*self._results(checkpoint.sink["mark"]["size"]), *map(int, lines)}

    def _waiting(self, checkpoint: Checkpoint) -> tuple[DiskFile, int]:
        """The file of the results that wait, and how much of it counts."""
        said = checkpoint.sink["waiting"]
        if said is None or not said["size"]:
            return DiskFile(), 0
        return self._disk.files[f"waiting-results-{said['file']}"], said["size"]

    def check_end(self, failed: set[int]) -> None:
        """The master says that all is done; these jobs have failed."""
        if not self._scenario.results:
            return
        oracle, rows = self._oracle, self._rows(len(self._file.content))
        found = Counter(self._results(len(self._file.content)))
        twice = [payload for payload, times in found.items() if times > 1]
        must(not twice, "I25: a result is there twice", twice)
        right = {oracle.source.payload(at) for at in range(oracle.source.length) if at not in failed}
        must(right <= found.keys(), "I25: results are missing", right - found.keys())
        if not self.source_changed:
            must(len(self._disk.files) == 1, "I26: files are left behind", list(self._disk.files))
            must(right == found.keys(), "I25: results of failed jobs", found.keys() - right)
            self._check_failed(rows, failed)
            self._check_order([at for at, _ in rows])

    def _check_failed(self, rows: list[tuple[int, int | None]], failed: set[int]) -> None:
        told = {at for at, result in rows if result is None}
        wanted = failed if self._scenario.with_failures else set()
        must(wanted <= told, "I25: failed jobs are missing", wanted - told)
        must(told <= wanted | self._again, "I25: failed jobs that have not failed", told - wanted)

    def _check_order(self, offsets: list[int]) -> None:
        own = [at for at in offsets if at not in self._again]
        must(len(own) == len(set(own)), "I25: a job is there twice", own)
        if self._scenario.in_order:
            must(own == sorted(own), "I25: not in the order of the jobs", own)

    def _results(self, size: int) -> list[int]:
        return [result for _, result in self._rows(size) if result is not None]

    def _rows(self, size: int) -> list[tuple[int, int | None]]:
        """Offset and result of each line, None for a job that has failed."""
        rows = map(json.loads, self._file.content[:size].splitlines())
        return [(row["offset"], row.get("result")) for row in rows]

"""Results between the slaves and the disk.

In order, those behind a slow job wait in memory until the watermark has passed their jobs. While it stands, checkpoints
say that those jobs are settled, so their results are also put into a file, for the next run to read them back:

    returned -> waits for the jobs before it -> its sink
                  '-> also in a file, while a checkpoint counts on it -> read back, once its job is passed over
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from taskmaster.core.by_offset import ByOffset
from taskmaster.core.results import Results


@dataclass(frozen=True)
class ResultsToSave:
    """What has to be durable before a checkpoint is: `written` goes to the sink, `waiting` to the file of the others.

    From offset `since` on, results are in that file, if the checkpoint counts on it at all (`counts`); below, they are
    in the sink. The file begins `anew` with these, or they are appended.
    """

    written: tuple[Results, ...] = ()
    waiting: tuple[Results, ...] = ()
    since: int = 0
    counts: bool = False
    anew: bool = False

    @property
    def bytes(self) -> int:
        """Of what is only kept for the sink now."""
        return _bytes_of(self.written)

    def then(self, later: ResultsToSave) -> ResultsToSave:
        """Both together, where the earlier one could not be saved before the later one came."""
        written = self.written + later.written
        if later.anew or not later.counts:
            return replace(later, written=written)
        return replace(later, written=written, waiting=self.waiting + later.waiting, anew=self.anew)


class PendingResults:
    """Those that are not with the state writer yet, `in_order` or as they come.

    `before` are those that waited when an earlier run ended, ascending.
    """

    # The file of those that wait begins anew once it has so many bytes more than twice what still waits: so it stays
    # small, and on average no result is written there more than twice.
    slack_bytes = 1 << 20

    def __init__(self, in_order: bool = True, with_failures: bool = False, before: Sequence[Results] = ()) -> None:
        self.in_order = in_order
        self.with_failures = with_failures
        self._bytes = 0
        self._pieces: ByOffset[Results] = ByOffset()
        self._before = ResultsBefore(before)
        self._fresh: list[Results] = []  # came since the last checkpoint was offered
        self._file_bytes: int | None = None  # None: nothing that was offered counts on a file of this run

    @property
    def bytes(self) -> int:
        """Of all that are in memory."""
        return self._bytes + self._before.bytes

    def add(self, results: Iterable[Results]) -> None:
        """These jobs are settled, for good."""
        for one in results:
            self._insert(one)
            self._fresh.append(one)

    def pass_over(self, first: int, count: int, cursors: Sequence[Any] | None) -> None:
        """An earlier run has settled these jobs of the source, which have these cursors."""
        for one in self._before.take(first, count):
            at = one.first - first
            own = None if cursors is None else cursors[at:at + one.count]
            self._insert(replace(one, cursors=own))

    def _insert(self, one: Results) -> None:
        self._pieces.add(one)
        self._bytes += len(one.lines)

    def take(self, watermark: int) -> list[Results]:
        """Remove and return what is to be written now, in order. A piece never reaches beyond the watermark unless all
        of it does, for the watermark passes settled runs whole."""
        taken = []
        while (one := self._pieces.lowest()) is not None and (not self.in_order or one.first < watermark):
            taken.append(self._pieces.pop_lowest())
            self._bytes -= len(one.lines)
        return taken

    def to_save(self, watermark: int, head: int, whole: bool) -> ResultsToSave:
        """For a checkpoint that says what is settled below the watermark, and, if it is the `whole`, above."""
        written = tuple(self.take(watermark))
        since = watermark if self.in_order else head
        self._before.forget(head)
        fresh, self._fresh = self._fresh, []
        if not whole or not (self._pieces or self._before):
            self._file_bytes = None
            return ResultsToSave(written, since=since)
        added = [one for one in fresh if one.first >= watermark] if self._pieces else []
        anew = self._file_bytes is None or self._is_mostly_obsolete(self._file_bytes + _bytes_of(added))
        if anew:
            self._file_bytes, added = 0, [*self._before, *self._pieces.ascending()]
        assert self._file_bytes is not None
        self._file_bytes += _bytes_of(added)
        return ResultsToSave(written, tuple(added), since, counts=True, anew=anew)

    def _is_mostly_obsolete(self, size: int) -> bool:
        return size > 2 * self.bytes + self.slack_bytes


class ResultsBefore:
    """Results that an earlier run kept in a file, ascending, until the source has given their jobs again."""

    def __init__(self, results: Iterable[Results]) -> None:
        self._left = deque(results)
        self.bytes = _bytes_of(self._left)

    def __len__(self) -> int:
        return len(self._left)

    def __iter__(self) -> Any:
        return iter(self._left)

    def forget(self, head: int) -> None:
        """The source has given all jobs below this offset. Those that were not passed over have run again."""
        while self._left and self._left[0].first < head:
            one = self._left.popleft()
            self.bytes -= len(one.lines)
            if one.first + one.count > head:
                self._put_back(one.part(head, one.first + one.count - head, None))

    def take(self, first: int, count: int) -> list[Results]:
        """Remove and return those of these jobs."""
        self.forget(first)
        found, end = [], first + count
        while self._left and self._left[0].first < end:
            one = self._left.popleft()
            self.bytes -= len(one.lines)
            inside = min(end, one.first + one.count) - one.first
            found.append(one.part(one.first, inside, None))
            if inside < one.count:
                self._put_back(one.part(end, one.count - inside, None))
        return found

    def _put_back(self, rest: Results) -> None:
        self._left.appendleft(rest)
        self.bytes += len(rest.lines)


def _bytes_of(results: Iterable[Results]) -> int:
    return sum([len(one.lines) for one in results])

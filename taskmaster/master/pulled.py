"""What the source yielded, encoded, without what earlier runs have settled of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from taskmaster import defaults
from taskmaster.core.codec import BadJob, GoodJobs, encode, encode_plain
from taskmaster.core.portable import Packed, freeze
from taskmaster.core.settled import Entry, SettledBefore
from taskmaster.errors import SourceError
from taskmaster.job import NO_CURSOR, unwrap_all


@dataclass(frozen=True)
class PassedOver:
    """Neighbouring jobs of a slice that an earlier run has settled: the index of the first, and which they are."""

    index: int
    entry: Entry


Piece = GoodJobs | BadJob | PassedOver


@dataclass(frozen=True)
class Pulled:
    """Neighbouring jobs of the source, encoded. `cursors` has one for each, frozen; None when no job has its own."""

    pieces: Sequence[Piece]
    count: int
    cursors: list[Any] | None
    size: int  # of the pieces, in bytes
    cursor_bytes: int = 0  # that each job's cursor takes, on average

    @property
    def kept_bytes(self) -> int:
        return self.size + self.count * self.cursor_bytes


def encoded(jobs: list[Any], codec: str) -> Pulled:
    """What the source yielded, encoded. Raises SourceError for a cursor that cannot be kept."""
    batch = encode_plain(jobs, codec, defaults.JOB_BYTES)
    if batch is not None:  # then none of them is a Job, for that is no plain value
        return Pulled([GoodJobs(0, batch)], len(jobs), None, batch.size)
    payloads, cursors = unwrap_all(jobs)
    frozen = None if cursors is None else [_frozen(cursor) for cursor in cursors]
    pieces = encode(payloads, codec, defaults.JOB_BYTES)
    size = sum(piece.batch.size for piece in pieces if isinstance(piece, GoodJobs))
    cursor_bytes = 0 if frozen is None else sum(map(_bytes_of, frozen)) // len(jobs) + 1
    return Pulled(pieces, len(jobs), frozen, size, cursor_bytes)


def sifted(pulled: Pulled, first: int, before: SettledBefore) -> Iterator[Piece]:
    """The pieces, without the jobs that an earlier run has settled; `first` is the offset of the first job."""
    for piece in pulled.pieces:
        if isinstance(piece, GoodJobs):
            yield from _sifted_good(piece, pulled.cursors, first, before)
        elif isinstance(piece, BadJob):
            own = NO_CURSOR if pulled.cursors is None else pulled.cursors[piece.index]
            entry = before.matches_bad(first + piece.index, piece, own)
            yield piece if entry is None else PassedOver(piece.index, entry)


def _sifted_good(piece: GoodJobs, cursors: list[Any] | None, first: int, before: SettledBefore) -> Iterator[Piece]:
    own = None if cursors is None else cursors[piece.index:piece.index + piece.batch.count]
    start, at = first + piece.index, 0
    for entry in before.matches(start, piece.batch, own):
        if entry.first > start + at:
            yield GoodJobs(piece.index + at, piece.batch.slice(at, entry.first - start - at))
        yield PassedOver(entry.first - first, entry)
        at = entry.first + entry.count - start
    if at < piece.batch.count:
        yield GoodJobs(piece.index + at, piece.batch.slice(at, piece.batch.count - at))


def _bytes_of(cursor: Any) -> int:
    """What a frozen cursor takes in memory, about."""
    return 100 + len(cursor.text) if type(cursor) is Packed else 50 + len(cursor) if type(cursor) is str else 32


def _frozen(cursor: Any) -> Any:
    if type(cursor) in (int, str) or cursor is NO_CURSOR or cursor is None:
        return cursor
    try:
        return freeze(cursor)
    except ValueError as error:
        raise SourceError(f"The cursor {cursor!r:.80} cannot be stored in a checkpoint: {error} "
                          "Use one that JSON or pickle can carry.") from error

"""Which of the recorded failures to try again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from taskmaster.core.failure import FailureRecord
from taskmaster.core.runs import Runs
from taskmaster.errors import UsageError

FIELDS: Final = ("error", "kind")
_OFFSETS: Final = re.compile(r"(\d+)(?:-(\d+))?", re.ASCII)


@dataclass(frozen=True)
class Selection:
    """All failures, unless `where` names fields and the values that each may have, or `offsets` some jobs.

    An exception's type is known by its last name as well: KeyError, or orders.Unpaid and Unpaid.
    """

    where: tuple[tuple[str, frozenset[str]], ...] = ()
    offsets: Runs | None = None

    def has(self, record: FailureRecord) -> bool:
        """Whether it is to be tried again."""
        if self.offsets is not None and record.offset not in self.offsets:
            return False
        return all(not values.isdisjoint(_names(getattr(record, field))) for field, values in self.where)


def _names(text: str) -> tuple[str, str]:
    return text, text.rpartition(".")[2]


def parse_selection(where: Sequence[str] = (), offsets: str | None = None) -> Selection:
    """From texts such as `error=KeyError`, of which those of one field are alternatives, and `12,40-90`.

    Raises UsageError.
    """
    values: dict[str, set[str]] = {}
    for text in where:
        field, equals, value = text.partition("=")
        if field not in FIELDS or not equals or not value:
            raise UsageError(f"--where {text} is not FIELD=VALUE with one of the fields {' and '.join(FIELDS)}, such "
                             "as --where error=KeyError or --where kind=timeout.")
        values.setdefault(field, set()).add(value)
    chosen = None if offsets is None else Runs([_run(part) for part in offsets.split(",")])
    return Selection(tuple((field, frozenset(some)) for field, some in values.items()), chosen)


def _run(text: str) -> tuple[int, int]:
    match = _OFFSETS.fullmatch(text.strip())
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
    if last < first:
        raise UsageError(f"--offsets: {text.strip()!r} is neither an offset nor a range of offsets. Write them as in "
                         "--offsets 12,40-90.")
    return first, last - first + 1

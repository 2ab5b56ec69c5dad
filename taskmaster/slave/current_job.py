"""What `taskmaster.current_job()` returns, made only when a handler asks for it."""

from __future__ import annotations

from functools import partial
from hashlib import blake2b
from typing import Any

from taskmaster.core import identity
from taskmaster.handlers import CurrentJob
from taskmaster.slave.leased_cursors import LeasedCursors

_TOKEN_BYTES = 16  # as in a UUID: no two of any number of jobs share one

_handler = [""]


def name_handler(name: str) -> None:
    """From now on, tokens are those of jobs of this handler."""
    _handler[0] = name


def describe(offset: int, attempt: int, payload: Any, sealed: bool, cursors: LeasedCursors | None) -> CurrentJob:
    """A job that a handler is called for; `payload` as its slice has it."""
    return CurrentJob(offset, attempt, partial(_token, offset, payload, sealed), partial(_cursor, offset, cursors))


def _cursor(offset: int, cursors: LeasedCursors | None) -> Any:
    return offset + 1 if cursors is None else cursors.of(offset)


def _token(offset: int, payload: Any, sealed: bool) -> str:
    """From what is the same in each attempt and each run: were it the run's id, --reset would change it."""
    place = f"{_handler[0]}\0{offset}\0".encode("utf-8", "surrogatepass")
    return blake2b(place + identity.of_payload(payload, sealed), digest_size=_TOKEN_BYTES).hexdigest()

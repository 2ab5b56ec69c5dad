"""Sources that are typed in place of a TARGET, such as lines:urls.txt, with options as KEY=VALUE."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from taskmaster.errors import TargetError, UsageError
from taskmaster.targets.load import Target, parse_target

#: What follows the colon, for each kind.
KINDS: Final = {"lines": "FILE", "jsonl": "FILE", "csv": "FILE", "files": "PATTERN", "failures": "FILE",
                "spool": "FOLDER", "every": "SECONDS", "sql": "URL?table=TABLE&key=COLUMN"}


@dataclass(frozen=True)
class Shorthand(Target):
    """A source by its kind and, as the function, what it reads. That is without a password, which may change."""

    what: str = field(default="", compare=False, repr=False)  # with the password


def parse_source(text: str, default_name: str) -> Target:
    """A shorthand, else what `parse_target` gives. Raises TargetError.

    A module that has the name of a shorthand is taken for one; its file can still be named.
    """
    kind, colon, what = text.partition(":")
    if not colon or kind not in KINDS:
        return parse_target(text, default_name)
    if not what:
        raise TargetError(f"{text!r} does not say what to read. Write {kind}:{KINDS[kind]}.")
    # Here: it takes 20 ms to import, and few runs need it.
    from taskmaster.sources.rows import without_password

    return Shorthand(kind, without_password(what), is_file=False, what=what)


def load_source(target: Shorthand) -> Callable[..., Any]:
    """Its `get_jobs`, which takes the source's options. Nothing is opened yet. Raises TargetError."""
    # Here: it takes 20 ms to import, and few runs need it.
    from taskmaster import sources

    if target.source == "sql":
        return _rows(target)
    if target.source == "every":
        return _every(target)
    return partial(getattr(sources, target.source), target.what)


def _every(target: Shorthand) -> Callable[..., Any]:
    # Here: it takes 20 ms to import, and few runs need it.
    from taskmaster import sources

    try:
        seconds = float(target.what)
        sources.every(seconds)
    except (ValueError, OverflowError, UsageError):
        raise TargetError(f"{str(target)!r} does not name a number of seconds. Write every:60.") from None
    return partial(sources.every, seconds)


def _rows(target: Shorthand) -> Callable[..., Any]:
    # Here: it takes 20 ms to import, and few runs need it.
    from taskmaster import sources

    url, _, query = target.what.partition("?")
    given = dict(parse_qsl(query, keep_blank_values=True))
    table, key = given.pop("table", ""), given.pop("key", "")
    if not table:
        raise TargetError(f"{str(target)!r} does not name a table. Write sql:{KINDS['sql']}, in quotes: the shell "
                          "would take the & for the end of the command.")
    with contextlib.suppress(ImportError):  # before a module of the user's can stand in for one that it needs
        importlib.import_module("sqlalchemy")
    rest = f"?{urlencode(given)}" if given else ""  # what the driver wants
    return partial(sources.rows, url + rest, table, key=key.split(",") if key else None)

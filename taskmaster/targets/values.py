"""What the VALUE of a KEY=VALUE may become: the types that an annotation or a default can ask for."""

from __future__ import annotations

import collections.abc
import enum
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

BOOLS = {
    "true": True, "yes": True, "1": True, "on": True,
    "false": False, "no": False, "0": False, "off": False,
}


@dataclass(frozen=True)
class Kind:
    """A type that a text can be converted to. `convert` raises ValueError, or anything else, for one that does not
    fit."""

    name: str
    convert: Callable[[str], Any]


# In the order in which they are tried: bool is a subclass of int, datetime one of date, and str takes any text.
PLAIN: dict[type, Kind] = {
    bool: Kind("bool", lambda text: BOOLS[text.lower()]),
    int: Kind("int", int),
    float: Kind("float", float),
    Decimal: Kind("Decimal", Decimal),
    datetime: Kind("datetime such as 2024-12-31T23:59", datetime.fromisoformat),
    date: Kind("date such as 2024-12-31", date.fromisoformat),
    time: Kind("time such as 23:59", time.fromisoformat),
    UUID: Kind("UUID", UUID),
    Path: Kind("Path", lambda text: Path(text).expanduser()),  # not every shell expands the ~ in ROOT=~/data
    str: Kind("str", str),
}
_SERIES: dict[Any, Callable[[Any], Any]] = {
    list: list, tuple: tuple, set: set, frozenset: frozenset,
    collections.abc.Sequence: list, collections.abc.Iterable: list, collections.abc.Collection: list,
}


def kinds_of_default(default: Any) -> list[Kind]:
    """For a parameter without an annotation: the type of its default, else text."""
    if isinstance(default, enum.Enum):
        return [_enumeration(type(default))]
    return [kind for plain, kind in PLAIN.items() if isinstance(default, plain)][:1] or [PLAIN[str]]


def kinds_of_annotation(annotation: Any) -> list[Kind]:
    """In the order in which to try them; none if no text can become what it asks for."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        members = typing.get_args(annotation)
        plain = [kind for one, kind in PLAIN.items() if one in members]
        others = [kind for one in members if one not in PLAIN for kind in kinds_of_annotation(one)]
        return [*others, *plain]  # text, which is the last of the plain ones, fits everything
    kind = _kind(annotation)
    return [] if kind is None else [kind]


def _kind(annotation: Any) -> Kind | None:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation in PLAIN:
        return PLAIN[annotation]
    if origin is typing.Literal:
        return Kind(f"one of {', '.join(map(str, arguments))}", partial(_choose, {str(one): one for one in arguments}))
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return _enumeration(annotation)
    if (origin or annotation) in _SERIES:
        return _series(_SERIES[origin or annotation], [one for one in arguments if one is not Ellipsis])
    return None


def _enumeration(annotation: type[enum.Enum]) -> Kind:
    return Kind(f"one of {', '.join(annotation.__members__)}", partial(_choose, dict(annotation.__members__)))


def _choose(choices: dict[str, Any], text: str) -> Any:
    return choices[text]


def _series(make: Callable[[Any], Any], items: Sequence[Any]) -> Kind | None:
    """Values separated by commas, all of one type."""
    kinds = kinds_of_annotation(items[0]) if items else [PLAIN[str]]
    if not kinds or len(items) > 1:
        return None
    name = f"{make.__name__} of {' or '.join(kind.name for kind in kinds)}, separated by commas"
    return Kind(name, lambda text: make([convert(kinds, part) for part in text.split(",")] if text else []))


def convert(kinds: Sequence[Kind], text: str) -> Any:
    """What the first of these kinds that fits makes of the text. Raises ValueError if none does."""
    for kind in kinds:
        try:
            return kind.convert(text)
        except (ValueError, KeyError, RuntimeError, ArithmeticError):
            continue
    raise ValueError(text)

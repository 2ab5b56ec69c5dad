"""The record of an abandoned job, and its line of JSON in the failures file."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import Any

from taskmaster.defaults import MESSAGE_CHARACTERS, NAME_CHARACTERS, SHOWN_CHARACTERS, TRACEBACK_CHARACTERS

_CUT = "..."


@dataclass(frozen=True)
class FailureRecord:
    """One abandoned job. Its texts are trimmed and made printable on entry, wherever they come from.

    `kind` is "raised", "timeout", "killed", "undecodable", "unpicklable" or "too large"; the last two were never sent,
    and had 0 `attempts`. `cursor` and `payload` are in the form of `portable.pack`, None where they have none.
    `error` is the exception's type, `slave` the last one to hold the job, `time` ISO 8601 in UTC, `shown` the payload
    in readable form, `epoch` the number of the master that recorded it, among those of the run, `rounds` how many runs
    have tried the job and failed.
    """

    offset: int
    cursor: dict[str, Any] | None
    attempts: int
    kind: str
    error: str
    message: str
    traceback: str
    handler: str
    slave: str
    time: str
    payload: dict[str, Any] | None
    shown: str
    epoch: int = 0  # as in records of earlier releases,
    rounds: int = 1  # and so is this

    def __post_init__(self) -> None:
        names = ("kind", "error", "handler", "slave", "time")
        trimmed = {name: _head(getattr(self, name), NAME_CHARACTERS) for name in names}
        trimmed["message"] = _head(self.message, MESSAGE_CHARACTERS)
        trimmed["traceback"] = _tail(self.traceback, TRACEBACK_CHARACTERS)
        trimmed["shown"] = _head(self.shown, SHOWN_CHARACTERS)
        for name, text in trimmed.items():
            object.__setattr__(self, name, text)


def show(value: Any) -> str:
    """`repr(value)` in at most SHOWN_CHARACTERS, even for a value whose `repr` raises."""
    try:
        text = repr(value)
    except Exception as error:  # the user's own __repr__
        text = f"<{type(value).__name__}, whose repr raised {type(error).__name__}>"
    return _head(text, SHOWN_CHARACTERS)


def _printable(text: str) -> str:
    # A lone surrogate is not valid Unicode: jq, databases and terminals refuse the whole line because of it.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _head(text: str, most: int) -> str:
    text = _printable(text[:most + 1])
    return text if len(text) <= most else text[:most - len(_CUT)] + _CUT


def _tail(text: str, most: int) -> str:
    text = _printable(text[-most - 1:])
    return text if len(text) <= most else _CUT + text[len(_CUT) - most:]


def to_line(failure: FailureRecord) -> bytes:
    """One line of ASCII JSON with its line end."""
    return json.dumps(vars(failure)).encode("ascii") + b"\n"


_TYPES: dict[str, tuple[type, ...]] = {
    **{one.name: (str,) for one in fields(FailureRecord)},
    "offset": (int,),
    "attempts": (int,),
    "epoch": (int,),
    "rounds": (int,),
    "cursor": (dict, type(None)),
    "payload": (dict, type(None)),
}


def from_line(line: bytes) -> FailureRecord:
    """Read what `to_line` wrote, ignoring unknown fields. Raises ValueError for anything else."""
    try:
        found = json.loads(line.decode("ascii"))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(found, dict):
        raise ValueError("it is not a JSON object")
    found = {"epoch": 0, "rounds": 1, **found}
    wrong = [name for name, types in _TYPES.items() if type(found.get(name, ...)) not in types]
    if wrong:
        raise ValueError(f"it has no usable {', '.join(wrong)}")
    return FailureRecord(**{name: found[name] for name in _TYPES})

"""What handlers return, as one line of JSON, made in the slave and decoded by whoever reads the results.

Beyond what JSON has by itself:

- datetime, date and time become their ISO 8601 text, a timedelta its seconds;
- UUID, Path and Decimal become text (a number would lose digits of a Decimal), bytes become Base64;
- NumPy scalars become numbers, booleans or text, and its arrays lists;
- a dataclass becomes a dict of its fields, a named tuple a list, a set a sorted list, an Enum its value;
- NaN and the infinities become null, as in JavaScript, since JSON has no form for them;
- keys that are numbers, None or any of the above that become text or numbers, become text.

These types are known by name, so nothing is imported for them. Whether orjson is there changes no byte, only the speed.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from collections.abc import Callable, Iterable
from math import isfinite
from typing import Any

from taskmaster import defaults
from taskmaster.core.exceptions import type_name

try:
    import orjson
except ImportError:
    orjson = None  # type: ignore[assignment]


def encode_result(value: Any) -> bytes:
    """The value as one line of JSON in UTF-8 that ends with a line feed and holds no other.

    Raises TypeError for a type that JSON cannot hold, ValueError for a line longer than defaults.RESULT_BYTES.
    """
    if value is None:
        return b"null\n"
    kind = type(value)
    if kind is int and -_PLAIN_INT < value < _PLAIN_INT:
        return b"%d\n" % value
    line = _encode_text(value) if kind is str else _encode(value)
    if len(line) > defaults.RESULT_BYTES:
        raise ValueError(f"The result takes {len(line):,} bytes, and at most {defaults.RESULT_BYTES:,} are allowed. "
                         "Write it to a file and return the name of that file.")
    return line


_PLAIN_INT = 1 << 62  # larger ones may have more digits than Python converts


def _encode_text(value: str) -> bytes:
    # Lone surrogates, as in names of files that are not UTF-8, become \udcXX: an escape of JSON as well.
    return (quoted(value) + "\n").encode("utf-8", "backslashreplace")


def _encode_with_json(value: Any) -> bytes:
    try:
        try:
            text = "".join(_chunks(value, 0))
        except (TypeError, ValueError):  # for a NaN, a key that needs a form, or a type without one
            text = "".join(_chunks(_plain(value), 0))
    except RecursionError:
        raise TypeError(f"A result of type {type_name(value)} is nested too deeply, or contains itself. "
                        "Return what is inside it that matters.") from None
    return (text + "\n").encode("utf-8", "backslashreplace")


# Numbers that orjson and Python write differently, such as 1e16 and 1e+16, 0.00001 and 1e-05; seldom a text like them.
_written_differently = re.compile(rb"[:,[]-?(?:\d(?:\.\d+)?[eE]|0\.0000)").search
_exponent = re.compile(rb"e[-\d]").search  # that alone took as long as all the rest: this is four times as fast


def _encode_with_orjson(value: Any) -> bytes:
    try:
        line = orjson.dumps(value, None, _ORJSON_OPTIONS)
    except Exception:  # JSONEncodeError, for all that it leaves to us, and whatever an Enum of the user raises
        return _encode_with_json(value)
    suspect = _exponent(line) or b"0.0000" in line
    return _encode_with_json(value) if suspect and _written_differently(line) else line


def _plain(value: Any) -> Any:
    """The same of types that JSON has, all the way down."""
    if isinstance(value, float):
        return value if isfinite(value) else None
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, dict):
        return {_plain_key(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return _plain(_form(value))


def _plain_key(key: Any) -> Any:
    plain = key if isinstance(key, float) else _plain(key)
    if isinstance(plain, float) and not isfinite(plain):
        return str(plain)
    if isinstance(plain, (list, dict)):
        raise TypeError(f"A key of a dict in a result is of type {type_name(key)}, which JSON cannot hold as a key. "
                        "Return str() of it.")
    return plain


# -- the forms of what JSON does not have


def _form(value: Any) -> Any:
    """What stands for it, one step closer to JSON. Raises TypeError."""
    kind = type(value)
    form = _forms.get(kind)
    if form is None:
        form = _forms[kind] = _form_of(kind)
    return form(value)


_forms: dict[type, Callable[[Any], Any]] = {}  # of the types seen so far


def _form_of(kind: type) -> Callable[[Any], Any]:
    for base in kind.__mro__:
        form = _BY_NAME.get(f"{base.__module__}.{base.__qualname__}")
        if form is not None:
            return form
    if dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind)]
        return lambda value: {name: getattr(value, name) for name in names}
    if hasattr(kind, "__fspath__"):
        return lambda value: value.__fspath__()
    return _refuse


def _refuse(value: Any) -> Any:
    raise TypeError(f"A result cannot hold a value of type {type_name(value)}, because JSON has no form for it. Return "
                    "None, numbers, strings, dates, dataclasses, or lists and dicts of these.")


def _isoformat(value: Any) -> Any:
    return value.isoformat()


def _base64(value: Any) -> str:
    return base64.b64encode(value).decode("ascii")


def _sorted(values: Iterable[Any]) -> list[Any]:
    """The order of a set of strings differs between processes; the line must not."""
    kinds = set(map(type, values))
    return sorted(values) if kinds <= {int, float, bool} or kinds == {str} else sorted(values, key=_encode_with_json)


_BY_NAME: dict[str, Callable[[Any], Any]] = {
    "datetime.datetime": _isoformat,
    "datetime.date": _isoformat,
    "datetime.time": _isoformat,
    "datetime.timedelta": lambda value: value.total_seconds(),
    "uuid.UUID": str,
    "decimal.Decimal": str,
    "enum.Enum": lambda value: value.value,
    "builtins.bytes": _base64,
    "builtins.bytearray": _base64,
    "builtins.memoryview": _base64,
    "builtins.set": _sorted,
    "builtins.frozenset": _sorted,
    "numpy.bool": bool,
    "numpy.bool_": bool,
    "numpy.integer": int,
    "numpy.floating": float,
    "numpy.datetime64": str,
    "numpy.ndarray": lambda value: value.tolist(),
}


# -- encoders

quoted: Callable[[str], str] = json.encoder.encode_basestring  # type: ignore[attr-defined]
"""A string as JSON, in a tenth of the time of json.dumps; a lone surrogate stays as it is."""


def _chunk_maker() -> Callable[[Any, int], Iterable[str]]:
    """The encoder in C, made once: json.dumps makes one for each call, which takes as long as a small dict."""
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is not None:
        try:
            # No markers, default, quoting, no indent, separators, keys unsorted and never skipped, no NaN.
            found: Callable[[Any, int], Iterable[str]] = make(None, _form, quoted, None, ":", ",", False, False, False)
            return found
        except TypeError:  # it is no public interface
            pass
    encoder = json.JSONEncoder(ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":"),
                               default=_form)
    return lambda value, level: encoder.iterencode(value)


_chunks = _chunk_maker()
_encode = _encode_with_json
if orjson is not None:
    _ORJSON_OPTIONS = (orjson.OPT_APPEND_NEWLINE | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
                       | orjson.OPT_PASSTHROUGH_SUBCLASS)
    # Should another version of it write numbers in yet another way, it is not used.
    if all(_encode_with_orjson([one]) == _encode_with_json([one]) for one in (
            0.1, -0.0, 1e-4, 9.9e-5, 1e-5, 1e-6, 5e-324, 1e15, 123456789012345.6, 1e16, 1.5e16, 1e17, 1e22, 1.7e308)):
        _encode = _encode_with_orjson

"""Describes exceptions of any class, even if `__str__` exits the process or the metaclass raises."""

from __future__ import annotations

from typing import Final

_NAME: Final = type.__dict__["__name__"]


def type_name(value: object) -> str:
    """The name of its class, read past any metaclass: no user code runs."""
    return str(_NAME.__get__(type(value)))


def message_of(error: BaseException) -> str:
    """`str(error)` as a plain string. Never raises."""
    try:
        return "".join((str(error),))  # a subclass of str would bring methods of its own
    except BaseException as broken:  # SystemExit too: describing an exception must not end a thread
        return f"<no message: its __str__ raised {type_name(broken)}>"

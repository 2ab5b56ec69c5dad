"""Raised when an invariant does not hold."""

from __future__ import annotations

from typing import Any


class Broken(AssertionError):
    """An invariant does not hold."""


def must(fact: object, invariant: str, *details: Any) -> None:
    if not fact:
        raise Broken(" ".join([invariant, *map(str, details)]))

"""Notices a source that yields one object again and again, changed in between, as a buffer is.

Jobs are encoded a slice at a time. An object that is twice in a slice may have been changed before its first content
was encoded, and nobody can tell: that slice is refused. One that comes again in a later slice has been encoded before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

_IMMUTABLE = (int, float, complex, str, bytes, tuple, frozenset, type(None))


def is_immutable(payload: Any) -> bool:
    """Whether it cannot be changed; not of every such type."""
    return isinstance(payload, _IMMUTABLE)


class Reuse:
    """The mutable payloads of the present slice, and the last few before it. `found` once one has come again."""

    KEPT = 64

    def __init__(self) -> None:
        self.found = False
        self._slice: dict[int, Any] = {}  # by identity; they are kept alive, so that no other object gets the same one
        self._before: deque[Any] = deque(maxlen=self.KEPT)
        self._known: set[int] = set()  # the identities of those before

    def begin_slice(self) -> None:
        """Another pull of the source begins."""
        if self._slice:
            self._before.extend(list(self._slice.values())[-self.KEPT:])
            self._known = set(map(id, self._before))
            self._slice = {}

    def twice(self, payloads: Iterable[Any]) -> Any:
        """Note these payloads of the slice; returns the first that was in it before, None when none was."""
        for payload in payloads:
            if not is_immutable(payload):
                if id(payload) in self._slice:
                    return payload
                self.found = self.found or id(payload) in self._known
                self._slice[id(payload)] = payload
        return None

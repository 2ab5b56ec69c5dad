"""Which paths a pattern such as "photos/**/*.jpg" matches, one name after another on the way down."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable
from fnmatch import translate

DEEP = "**"


class Pattern:
    """The names of a path within some folder. A state is how many parts of the pattern a path has matched so far.

    With `all_hidden`, wildcards match names that begin with a dot, too.
    """

    def __init__(self, parts: list[str], all_hidden: bool = False) -> None:
        self._deep = [part == DEEP for part in parts]
        self._match = [re.compile(translate(part)).match for part in parts]
        self._hidden = [all_hidden or part.startswith(".") for part in parts]
        self.start = self._closed([0])

    def enter(self, states: frozenset[int], name: str) -> frozenset[int]:
        """The states within this folder; none if nothing in it can match."""
        found = []
        for state in states:
            if self._fits(state, name):
                found += [state] if self._deep[state] else [state + 1]
        return self._closed(found)

    def takes(self, states: frozenset[int], name: str) -> bool:
        """Whether a file of this name matches."""
        return any(state == len(self._deep) - 1 and self._fits(state, name) for state in states)

    def _fits(self, state: int, name: str) -> bool:
        if name.startswith(".") and not self._hidden[state]:
            return False
        return self._deep[state] or self._match[state](name) is not None

    def _closed(self, states: Iterable[int]) -> frozenset[int]:
        """Those that are within the pattern, and those behind a `**`, which may match no folder at all."""
        found: set[int] = set()
        for state in states:
            while state < len(self._deep):
                found.add(state)
                if not self._deep[state]:
                    break
                state += 1
        return frozenset(found)


def split(text: str, here: str) -> tuple[str, Pattern]:
    """The folder where to look for a pattern, relative to the folder `here`, and the pattern within it.

    A folder stands for all that is in it.
    """
    path = os.path.join(here, text)
    if os.path.isdir(path):
        return text, Pattern([DEEP], all_hidden=True)
    if os.path.exists(path):  # also a name with brackets in it
        return os.path.dirname(text), Pattern([glob.escape(os.path.basename(text))])
    if not glob.has_magic(text):
        return text, Pattern([DEEP])  # which is not there
    parts = text.split("/")
    first = next(at for at, part in enumerate(parts) if glob.has_magic(part))
    root = "/".join(parts[:first]) or ("/" if first else "")
    return root, Pattern([part for part in parts[first:] if part])

"""A job for each file below a folder, or that matches a pattern, in a sorted order."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from functools import partial
from typing import Any

from taskmaster.defaults import LISTED_NAMES
from taskmaster.errors import SourceError
from taskmaster.job import Job
from taskmaster.sources.base import Source, located, refuse_cursor
from taskmaster.sources.pattern import Pattern, split

log = logging.getLogger(__name__)


def files(pattern: str | os.PathLike[str], last: Any = None, *, skip_unreadable: bool = False) -> Source:
    """The paths of all files below a folder, or of those that match a pattern such as `photos/**/*.jpg`.

    In a pattern, `*`, `?` and `[...]` match within a name, `**` any number of folders, and none of them a name that
    begins with a dot. Links to files count as files; links to folders are not entered. The order is that of the names,
    folder by folder, so files may come and go between two runs. A name that is not UTF-8 has lone surrogates, as
    everywhere in Python; `os.fsencode` gives its bytes. The cursor is the path within the folder.

    A folder that cannot be listed ends the source or, with `skip_unreadable`, is passed over with a warning.
    """
    text = os.fspath(pattern)
    name = f"files({text!r})"
    return Source(name, partial(_files, name, located(""), text, skip_unreadable), last)


def _files(name: str, here: str, text: str, skip_unreadable: bool, last: Any) -> Iterator[Job]:
    if last is not None and (not isinstance(last, str) or not last.startswith("./")):
        refuse_cursor(name, last)
    root, pattern = split(text, here)
    place = os.path.join(here, root)
    try:
        os.scandir(place or ".").close()
    except (OSError, ValueError) as error:
        raise SourceError(f"{name}: the folder {root or '.'!r} cannot be listed: "
                          f"{getattr(error, 'strerror', None) or error}.") from None
    tree = _Tree(name, place, pattern, skip_unreadable)
    for path in tree.walk("", pattern.start, last.split("/")[1:] if last else []):
        yield Job(os.path.join(root, path), f"./{path}")


class _Tree:
    """The files below `root` that match, by their paths within it."""

    def __init__(self, name: str, root: str, pattern: Pattern, skip_unreadable: bool) -> None:
        self._name = name
        self._root = root
        self._pattern = pattern
        self._skip = skip_unreadable

    def walk(self, folder: str, states: frozenset[int], after: list[str]) -> Iterator[str]:
        """Those in `folder`, a path that is empty or ends with a slash, which come after the path `after` in it.

        The order is that of the names along each path: `a/b` comes before `a.b`, because `a` comes before `a.b`. So
        one comparison with `after[0]` decides for a whole folder.
        """
        if after:  # the last file was in a folder here, whose rest comes first
            inner = self._pattern.enter(states, after[0])
            if inner and not os.path.islink(os.path.join(self._root, folder, after[0])):
                yield from self.walk(f"{folder}{after[0]}/", inner, after[1:])
        for name, is_folder in self._listed(folder, states, after[0] if after else ""):
            if is_folder:
                yield from self.walk(f"{folder}{name}/", self._pattern.enter(states, name), [])
            else:
                yield folder + name

    def _listed(self, folder: str, states: frozenset[int], after: str) -> Iterator[tuple[str, bool]]:
        """What matches there, as names after `after`, sorted, and whether each is a folder."""
        while True:
            part = self._smallest(folder, states, after)
            yield from part
            if len(part) < LISTED_NAMES:
                return
            after = part[-1][0]

    def _smallest(self, folder: str, states: frozenset[int], after: str) -> list[tuple[str, bool]]:
        """The first of them, up to LISTED_NAMES. A folder with more is listed again for the next ones."""
        found: list[tuple[str, bool]] = []
        for entry in self._entries(folder):
            if entry.name > after:
                kind = self._kind(entry, states)
                if kind is not None:
                    found.append((entry.name, kind))
            if len(found) >= 2 * LISTED_NAMES:
                found = sorted(found)[:LISTED_NAMES]
        return sorted(found)[:LISTED_NAMES]

    def _kind(self, entry: os.DirEntry[str], states: frozenset[int]) -> bool | None:
        """Whether it is a folder to walk through; None for what does not match."""
        try:
            if entry.is_dir(follow_symlinks=False):
                return True if self._pattern.enter(states, entry.name) else None
            return False if self._pattern.takes(states, entry.name) and entry.is_file() else None
        except OSError:  # a link that leads to itself, or nowhere one may look
            return None

    def _entries(self, folder: str) -> Iterator[os.DirEntry[str]]:
        path = os.path.join(self._root, folder)
        try:
            with os.scandir(path or ".") as entries:
                yield from entries
        except (FileNotFoundError, NotADirectoryError):
            return  # removed since its own folder was listed
        except OSError as error:
            if not self._skip:
                raise SourceError(f"{self._name}: the folder {path!r} cannot be listed: {error.strerror}. To pass over "
                                  "such folders, use skip_unreadable=True.") from None
            log.warning("Passing over the folder %r, which cannot be listed: %s", path, error.strerror)

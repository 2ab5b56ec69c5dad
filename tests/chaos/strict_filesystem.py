"""A model of a file system that keeps through a power loss only what it promised to; it touches no disk.

What POSIX promises is what was fsynced: the data of a file, and the names in a folder. Of the names changed since the
folder's last fsync, any combination may survive; of the data written since the file's last fsync, nothing, half, all,
or only its length. Real file systems keep more, so what recovers from each of these trees recovers on them as well.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Optional

# A path relative to the model's root, and its data, or None for a folder.
Tree = Mapping[str, Optional[bytes]]

# So many of the newest changes survive in every combination, and the older ones all or none: at most 128 combinations.
# A program that fsyncs its folder for each file that it replaces has about five changes pending.
COMBINED_STEPS = 6


@dataclass(eq=False)
class Node:
    """A file or a folder, whatever its names."""

    is_folder: bool = False
    data: bytes = b""
    synced: bytes = b""
    ever_synced: bool = False

    def write(self, at: int, data: bytes) -> None:
        self.data = self.data[:at].ljust(at, b"\0") + data + self.data[at + len(data):]

    def truncate(self, size: int) -> None:
        self.data = self.data[:size].ljust(size, b"\0")

    def sync(self, data: bytes) -> None:
        """Make `data`, which the file held when the fsync began, durable."""
        self.synced, self.ever_synced = data, True

    def survivors(self) -> Sequence[bytes | None]:
        """What may be left of it: nothing that was written since the last fsync, all, half, or the length alone."""
        if self.is_folder:
            return [None] * 4
        grown = len(self.data) - len(self.synced)
        half = len(self.synced) + grown // 2 if self.data.startswith(self.synced) else len(self.data) // 2
        return [self.synced, self.data, self.data[:half] + self.synced[half:], self.synced.ljust(len(self.data), b"\0")]


@dataclass
class _Step:
    """A change of names. It is durable once each of `unsynced`, the folders whose names it changes, was fsynced."""

    removed: str | None
    added: str | None
    node: Node
    unsynced: set[str] = field(init=False)

    def __post_init__(self) -> None:
        self.unsynced = {folder_of(path) for path in (self.removed, self.added) if path is not None}

    def apply(self, names: dict[str, Node]) -> None:
        if self.removed is not None:
            names.pop(self.removed, None)
        if self.added is not None:
            names[self.added] = self.node


def folder_of(path: str) -> str:
    """The folder in which `path` is a name; "" is the root."""
    return path.rpartition("/")[0]


class StrictFilesystem:
    """What the running processes see, and what a power loss may leave. Paths look like "state/lock"."""

    def __init__(self) -> None:
        self._names: dict[str, Node] = {"": Node(is_folder=True)}
        self._durable = dict(self._names)
        self._pending: list[_Step] = []

    @property
    def names(self) -> Mapping[str, Node]:
        """What the running processes see."""
        return self._names

    def find(self, path: str) -> Node | None:
        return self._names.get(path)

    def create(self, path: str, *, is_folder: bool = False) -> Node:
        node = Node(is_folder)
        self._change(_Step(None, path, node))
        return node

    def link(self, path: str, to: str) -> None:
        self._change(_Step(None, to, self._names[path]))

    def rename(self, path: str, to: str) -> None:
        """One step, which survives whole or not at all. Nothing when both are one file, as the kernel has it."""
        if self._names[path] is not self._names.get(to):
            self._change(_Step(path, to, self._names[path]))

    def unlink(self, path: str) -> None:
        self._change(_Step(path, None, self._names[path]))

    def sync_folder(self, path: str) -> None:
        """Make the names in this folder durable."""
        for step in self._pending:
            step.unsynced.discard(path)
            if not step.unsynced:
                step.apply(self._durable)
        self._pending = [step for step in self._pending if step.unsynced]

    def after_power_loss(self) -> Iterator[Tree]:
        """Each tree that a power loss now may leave; some of them several times."""
        for names in self._surviving_names():
            survivors = {path: node.survivors() for path, node in names.items() if path}
            for one in range(4):
                yield {path: data[one] for path, data in survivors.items()}

    def _change(self, step: _Step) -> None:
        step.apply(self._names)
        self._pending.append(step)

    def _surviving_names(self) -> Iterator[Mapping[str, Node]]:
        older, newer = self._pending[:-COMBINED_STEPS], self._pending[-COMBINED_STEPS:]
        for all_older in (False, True) if older else (False,):
            for kept in itertools.product((False, True), repeat=len(newer)):
                names = dict(self._durable)
                for step in [*(older if all_older else ()), *itertools.compress(newer, kept)]:
                    step.apply(names)
                yield {path: node for path, node in names.items() if _reachable(path, names)}


def _reachable(path: str, names: Mapping[str, Node]) -> bool:
    """A file is lost with the folder that it is in."""
    while path:
        path = folder_of(path)
        if path not in names:
            return False
    return True

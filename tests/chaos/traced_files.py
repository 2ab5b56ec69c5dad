"""The open files of one traced process: they turn its system calls into changes of a strict file system."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from chaos.strace import CHANGES, Call
from chaos.strict_filesystem import Node, StrictFilesystem

_NO_DESCRIPTOR = 1 << 31  # the result of an open that never returned


@dataclass
class _Open:
    path: str
    node: Node
    appends: bool
    offset: int = 0
    syncing: bytes | None = None  # the data when an fsync under way was entered


class TracedFiles:
    """Follows what happens at and below `root`/`top`; all else is passed over.

    All threads share the files; a process that the traced one starts must not have files of its own there.
    """

    def __init__(self, root: Path, top: str, filesystem: StrictFilesystem, cut_off: Iterable[Call] = ()) -> None:
        """`cut_off` are the calls of the process before that never returned, for it was killed: see `_learn`."""
        self._cut_off = [call for call in cut_off if call.name in _FOLLOW]
        self._root = root
        self._top = top
        self._filesystem = filesystem
        self._open: dict[int, _Open] = {}

    def paths(self, call: Call) -> list[str]:
        """The paths that a call names, by themselves or by an open file."""
        file = self._file(call)
        if file is not None:
            return [file.path]
        return [] if call.number(0) is not None else [path for path in self._names(call) if path is not None]

    def take(self, call: Call) -> bool:
        """Follow this call, in the log's order; returns whether a power loss may leave something else after it.

        Raises ValueError for one that changes something in a way that is not modelled.
        """
        if call.result is None:
            self._enter(call)
            return False
        if call.name in ("unlink", "unlinkat"):
            self._learn(call)
        if call.result < 0:
            return False
        if call.name in CHANGES and call.name not in _FOLLOW and self.paths(call):
            raise ValueError(f"{call.name} of {self.paths(call)} is not followed")
        return call.name in _FOLLOW and _FOLLOW[call.name](self, call)

    def _learn(self, call: Call) -> None:
        """A call that a SIGKILL cut off may have been done: whether the name to unlink is there tells."""
        assert call.result is not None
        [path] = self._names(call)
        for cut in self._cut_off:
            if path in self.paths(cut) and (self._filesystem.find(path) is not None) != (call.result == 0):
                _FOLLOW[cut.name](self, dataclasses.replace(cut, result=_NO_DESCRIPTOR))

    def _enter(self, call: Call) -> None:
        """Another thread may be given the number of a file as soon as it is being closed."""
        if call.name == "close":
            self._open.pop(call.number(0) or 0, None)
        file = self._file(call)
        if file is not None and call.name in ("fsync", "fdatasync"):
            file.syncing = file.node.data

    def _names(self, call: Call) -> list[str | None]:
        """The paths among its arguments, None for one elsewhere."""
        if call.number(0) is not None:
            raise ValueError(f"{call.name} below an open folder is not followed")
        return [self._inside(os.path.normpath(self._root / os.fsdecode(text))) for text in call.texts()]

    def _inside(self, path: str) -> str | None:
        inside = os.path.relpath(path, self._root)
        if inside == ".":
            return ""
        return inside if inside == self._top or inside.startswith(self._top + "/") else None

    def _file(self, call: Call) -> _Open | None:
        number = call.number(0)
        return None if number is None else self._open.get(number)

    # -- calls on names

    def _opened(self, call: Call) -> bool:
        [path], flags = self._names(call), " ".join(call.arguments)
        assert call.result is not None
        if path is None:
            self._open.pop(call.result, None)
            return False
        node, made = self._filesystem.find(path), False
        if node is None:
            node, made = self._filesystem.create(path), True
        elif "O_TRUNC" in flags:
            node.truncate(0)
        self._open[call.result] = _Open(path, node, "O_APPEND" in flags)
        return made or "O_TRUNC" in flags

    def _closed(self, call: Call) -> bool:
        if not call.resumed:
            self._open.pop(call.number(0) or 0, None)
        return False

    def _renamed(self, call: Call) -> bool:
        return self._moved(call, self._filesystem.rename)

    def _linked(self, call: Call) -> bool:
        return self._moved(call, self._filesystem.link)

    def _moved(self, call: Call, change: Callable[[str, str], None]) -> bool:
        path, to = self._names(call)
        if path is not None and to is not None:
            change(path, to)
        elif path is not None or to is not None:
            raise ValueError(f"{call.name} across the border of what is followed: {path} and {to}")
        return path is not None

    def _unlinked(self, call: Call) -> bool:
        [path] = self._names(call)
        if path is not None:
            self._filesystem.unlink(path)
        return path is not None

    def _made(self, call: Call) -> bool:
        [path] = self._names(call)
        if path is not None:
            self._filesystem.create(path, is_folder=True)
        return path is not None

    # -- calls on open files

    def _written(self, call: Call) -> bool:
        file, data = self._file(call), b"".join(call.texts())
        if file is None:
            return False
        at = len(file.node.data) if file.appends else file.offset
        file.node.write(at, data[:call.result])
        file.offset = at + (call.result or 0)
        return True

    def _written_at(self, call: Call) -> bool:
        file, at = self._file(call), call.number(-1)
        if file is None or at is None:
            return False
        file.node.write(at, call.texts()[0][:call.result])
        return True

    def _moved_on(self, call: Call) -> bool:
        file = self._file(call)
        if file is not None and call.result is not None:
            file.offset = call.result + (file.offset if call.name == "read" else 0)
        return False

    def _truncated(self, call: Call) -> bool:
        file, size = self._file(call), call.number(1)
        if file is None or size is None:
            return False
        file.node.truncate(size)
        return True

    def _synced(self, call: Call) -> bool:
        file = self._file(call)
        if file is None:
            return False
        if file.node.is_folder:
            self._filesystem.sync_folder(file.path)
        else:
            file.node.sync(file.node.data if file.syncing is None else file.syncing)
        file.syncing = None
        return True


_FOLLOW: Mapping[str, Callable[[TracedFiles, Call], bool]] = {
    "openat": TracedFiles._opened, "open": TracedFiles._opened, "creat": TracedFiles._opened,
    "close": TracedFiles._closed, "read": TracedFiles._moved_on, "lseek": TracedFiles._moved_on,
    "write": TracedFiles._written, "pwrite64": TracedFiles._written_at, "ftruncate": TracedFiles._truncated,
    "fsync": TracedFiles._synced, "fdatasync": TracedFiles._synced,
    "rename": TracedFiles._renamed, "renameat": TracedFiles._renamed, "renameat2": TracedFiles._renamed,
    "link": TracedFiles._linked, "linkat": TracedFiles._linked,
    "unlink": TracedFiles._unlinked, "unlinkat": TracedFiles._unlinked, "rmdir": TracedFiles._unlinked,
    "mkdir": TracedFiles._made, "mkdirat": TracedFiles._made,
}

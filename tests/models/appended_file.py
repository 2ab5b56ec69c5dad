"""A file that grows, on the simulated disk: what is not fsynced survives kill -9, but perhaps not a power cut."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from models.broken import must
from models.disk import Disk, DiskFile
from models.process import Process

from taskmaster.sinks.place import occupied


class AppendedFile:
    """In place of `sinks.appended_file.AppendedFile`, with the same steps."""

    def __init__(self, disk: Disk, process: Process, path: Path) -> None:
        self.path = path
        self._disk = disk
        self._process = process
        self._waiting: list[bytes] = []
        self._file: DiskFile | None = None

    @property
    def size(self) -> int:
        """What it has on the disk, durable or not."""
        found = self._disk.files.get(self.path.name)
        return 0 if found is None else len(found.content)

    def open(self, size: int | None) -> None:
        self.close()
        self._process.step()
        if not size and self.path.name not in self._disk.files:
            self._disk.need_room()
            self._disk.files[self.path.name] = file = DiskFile()
            self._disk.fsync(self._process)  # the folder
            file.named = True
        if size is None and self.size:
            raise occupied(self.path)
        must(self.size >= (size or 0), "I26: results are lost", self.path, self.size, size)
        self._process.step()
        self._file = self._disk.files[self.path.name]
        self._file.cut(size or 0)

    def reader(self) -> BinaryIO:
        must(self.size, "I26: results that waited are lost", self.path)
        return BytesIO(self._disk.files[self.path.name].content)

    def append(self, data: bytes) -> None:
        self._waiting.append(data)

    def flush(self) -> int:
        file = self.write()
        self._disk.fsync(self._process)
        file.confirm()
        return len(file.content)

    def write(self) -> DiskFile:
        """Give it to the system."""
        assert self._file is not None
        data, self._waiting = b"".join(self._waiting), []
        if data:
            self._disk.need_room()
            half = len(data) // 2
            for part in (data[:half], data[half:]):
                self._process.step()
                self._file.content += part
        return self._file

    def remove(self) -> None:
        self.close()
        self._process.step()
        self._disk.remove(self.path.name)

    def close(self) -> None:
        self._waiting, self._file = [], None

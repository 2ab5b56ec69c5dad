"""Opens a file for a source: plain, gzip or zstd, as its first bytes say. What cannot be read is explained."""

from __future__ import annotations

import gzip
import importlib
import io
import os
import stat
import sys
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, cast

from taskmaster.errors import SourceError

GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
SKIP_BYTES = 1 << 20  # read at once on the way to a position in a compressed file
BUFFER_BYTES = 1 << 16  # of a decompressor: a line of it costs a tenth of one that is read from it directly


class Opened:
    """A file that is open at its beginning. Raises SourceError, from each method, for what cannot be read."""

    def __init__(self, path: str | os.PathLike[str], name: str) -> None:
        self.name = name
        self.path = Path(path)
        self.plain: BinaryIO = _open(self.path, name)
        try:
            self.kind = self._kind()
            self._file = self._decompressed()
        except BaseException:
            self.plain.close()
            raise

    @property
    def compressed(self) -> bool:
        return self.kind != ""

    def read(self, size: int) -> bytes:
        """Up to so many bytes; fewer only at the end."""
        try:
            return self._file.read(size)
        except Exception as error:
            self._refuse(error)

    def readline(self) -> bytes:
        """Up to and with the next byte 0x0A; without it only at the end."""
        try:
            return self._file.readline()
        except Exception as error:
            self._refuse(error)

    def seek(self, position: int) -> None:
        """Go to this byte of what is read, which must be further on."""
        if not self.compressed:
            self.plain.seek(position)
            return
        rest = position - self._file.tell()
        while rest > 0 and (data := self.read(min(rest, SKIP_BYTES))):
            rest -= len(data)

    def reread(self, position: int) -> None:
        """Go back to this byte of a plain file, and forget what was read behind it: it may be cut and written anew."""
        self.plain.seek(position)
        self.plain = self._file = io.BufferedReader(cast(Any, self.plain).detach(), BUFFER_BYTES)

    def rewind(self) -> None:
        """Go to the beginning."""
        self.plain.seek(0)
        self._file = self._decompressed()

    def close(self) -> None:
        self.plain.close()

    def _kind(self) -> str:
        magic = self._read_magic()
        return "gzip" if magic.startswith(GZIP) else "zstd" if magic == ZSTD else ""

    def _read_magic(self) -> bytes:
        try:
            magic = self.plain.read(len(ZSTD))
            self.plain.seek(0)
        except OSError as error:
            self._refuse(error)
        return magic

    def _decompressed(self) -> BinaryIO:
        if self.kind == "gzip":
            return io.BufferedReader(gzip.GzipFile(fileobj=self.plain), BUFFER_BYTES)  # type: ignore[arg-type]
        return _zstd(self.plain, self.name) if self.kind else self.plain

    def _refuse(self, error: Exception) -> NoReturn:
        why = getattr(error, "strerror", None) or str(error).rstrip(".")
        if self.compressed and getattr(error, "errno", None) is None:
            raise SourceError(f"{self.name}: the file is damaged or cut short: {self.kind} says: {why}. What came "
                              f"before is saved. Replace it by a whole copy, and run the same command again to "
                              "resume.") from error
        raise SourceError(f"{self.name}: the file cannot be read: {why}.") from error


def _open(path: Path, name: str) -> BinaryIO:
    try:
        mode = os.stat(path).st_mode  # before it is opened: that would wait for the writer of a pipe
        if stat.S_ISDIR(mode):
            raise SourceError(f"{name}: this is a folder. For the files in it, use sources.files({str(path)!r}).")
        if not stat.S_ISREG(mode):
            raise SourceError(f"{name}: this is not a regular file, so a run could not be resumed within it. Write "
                              "what it yields to a file first.")
        return open(path, "rb", BUFFER_BYTES)
    except FileNotFoundError:
        raise SourceError(f"{name}: there is no such file (looked for {_absolute(path)}).") from None
    except (OSError, ValueError) as error:  # ValueError: a name with a null byte
        raise SourceError(f"{name}: the file cannot be read: {getattr(error, 'strerror', None) or error}.") from error


def _absolute(path: Path) -> str:
    try:
        return os.path.abspath(path)
    except OSError:  # the working folder was removed
        return str(path)


def _zstd(file: BinaryIO, name: str) -> BinaryIO:
    try:
        module = importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
    except ImportError:
        raise SourceError(f"{name}: the file is compressed with zstd. To read it, install the extra: "
                          "pip install 'taskmaster[zstd]'") from None
    return io.BufferedReader(module.ZstdFile(file), BUFFER_BYTES)

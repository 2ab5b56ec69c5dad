"""How the bytes of a text file become text: its byte order mark, its encoding, its line ends."""

from __future__ import annotations

import codecs
from dataclasses import dataclass

from taskmaster.errors import SourceError

BOM_BYTES = 4
# The longest first: that of UTF-16 is the beginning of that of UTF-32.
_MARKS = ((codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"), (codecs.BOM_UTF8, "utf-8"),
          (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


@dataclass(frozen=True)
class Text:
    """The encoding of a file, whose first `mark` bytes are a byte order mark. A line ends with `newline`."""

    encoding: str
    errors: str
    mark: int
    newline: bytes

    def decode(self, data: bytes, name: str, position: int) -> str:
        """Raises SourceError for bytes that are not of the encoding; they are at `position` in the file."""
        try:
            return data.decode(self.encoding, self.errors)
        except UnicodeDecodeError as error:
            shown = data[error.start:error.start + 1].hex()
            raise SourceError(f"{name}: byte {position + error.start:,} (0x{shown}) is not {self.encoding}. Say what "
                              "the file's encoding is, for example encoding=\'latin-1\', or read what can be read with "
                              "errors=\'replace\'.") from error


def text_of(head: bytes, encoding: str, errors: str, name: str) -> Text:
    """How to read a file that begins with these bytes. Raises SourceError if that encoding cannot be read by lines."""
    wanted = _known(encoding, name)
    mark, marked = next(((mark, its) for mark, its in _MARKS if head.startswith(mark)), (b"", ""))
    if marked and not _agrees(wanted, marked):
        if wanted != "utf-8":
            mark, marked = b"", ""  # in latin-1, such bytes are letters like others
        else:
            raise SourceError(f"{name}: the file begins with the byte order mark of {marked[:6]}, but is read as "
                              f"{encoding}. Read it with encoding={marked[:6]!r}.")
    if not marked and wanted in ("utf-16", "utf-32") and head:
        raise SourceError(f"{name}: the file does not begin with a byte order mark, so it could be either {wanted}-le "
                          f"or {wanted}-be. Read it with encoding='{wanted}-le' or encoding='{wanted}-be'.")
    actual = marked or wanted.removesuffix("-sig")
    return Text(actual, errors, len(mark), _newline(actual, name))


def _known(encoding: str, name: str) -> str:
    try:
        found = codecs.lookup(encoding)
    except (LookupError, ValueError):
        raise SourceError(f"{name}: there is no encoding {encoding!r}.") from None
    if not getattr(found, "_is_text_encoding", True):
        raise SourceError(f"{name}: {encoding!r} is not an encoding of text.")
    return found.name


def _agrees(wanted: str, marked: str) -> bool:
    return marked.startswith(wanted.removesuffix("-sig"))


def _newline(encoding: str, name: str) -> bytes:
    newline = "\n".encode(encoding)
    if newline == b"\n" or encoding.startswith(("utf-16-", "utf-32-")):
        return newline
    if encoding in ("utf-16", "utf-32"):
        return b"\n"  # of an empty file
    raise SourceError(f"{name}: a file cannot be cut into lines in {encoding}. Convert it first:\n    iconv -f "
                      f"{encoding} -t utf-8 FILE > FILE.utf8")

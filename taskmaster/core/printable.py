"""Makes texts of users and of peers safe for a terminal and a log.

The text of an exception often comes from strangers: a URL, a file name. An escape sequence in it could clear the
screen or retitle the window, and a line feed could forge a line of the log.
"""

from __future__ import annotations

INDENT = "    "  # before each further line of a log entry, so that no such line can start with a level


def one_line(text: str) -> str:
    """The text with each character that is not printable escaped, line feeds too."""
    return text if text.isprintable() else "".join(map(_shown, text))


def lines_of(text: str) -> str:
    """The same, except that tabs stay and line feeds end lines."""
    return "\n".join("\t".join(map(one_line, line.split("\t"))) for line in text.split("\n"))


def entry_of(text: str) -> str:
    """The same, with the further lines indented."""
    return lines_of(text).replace("\n", "\n" + INDENT)


def _shown(character: str) -> str:
    # The representation of a str escapes exactly what is not printable; that of a surrogate, too.
    return character if character.isprintable() else repr(character)[1:-1]

"""The commands and their options as reStructuredText, read from the click commands. Knows nothing of Sphinx.

Headings, defaults and descriptions are those of ``--help``, so that the page cannot differ from it.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

COMMANDS = ("run", "master", "spawn", "slave")
COLUMNS = 1000  # wide enough that --help wraps no line

_HEADING = re.compile(r"(\S[^:]*):")
_OPTION = re.compile(r"  (?:-\w, )?(--[\w-]+)")
_DEFAULT = re.compile(r"\s*\[default: ([^\]]+)\]")


@dataclass(frozen=True)
class Row:
    """One option as one or more commands have it; `environment` is empty if there is no variable."""

    heading: str
    spelling: str
    meaning: str
    default: str
    environment: str
    commands: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return next(word for word in self.spelling.replace(",", " ").split() if word.startswith("--"))


def command_of(name: str) -> click.Command:
    found: click.Command = importlib.import_module(f"taskmaster.cli.{name}").command
    return found


def context_of(name: str) -> click.Context:
    command = command_of(name)
    return click.Context(command, info_name=f"tm-{name}", **{**command.context_settings, "max_content_width": COLUMNS},
                         terminal_width=COLUMNS)


def rows() -> list[Row]:
    """Every option of every command, once where the commands agree; in the order of --help."""
    found: dict[Row, list[str]] = {}
    for name in COMMANDS:
        for row in _rows_of(name):
            found.setdefault(row, []).append(f"tm-{name}")
    return [Row(**{**vars(row), "commands": tuple(users)}) for row, users in found.items()]


def _rows_of(name: str) -> Iterator[Row]:
    context = context_of(name)
    headings = headings_of(context.get_help())
    for option in context.command.get_params(context):
        if isinstance(option, click.Option) and not option.hidden:
            yield _row(option, context, headings[max(option.opts, key=len)])


def headings_of(text: str) -> dict[str, str]:
    """The heading under which each option appears in --help."""
    found, heading = {}, ""
    for line in text.splitlines():
        if match := _HEADING.fullmatch(line):
            heading = match[1]
        elif match := _OPTION.match(line):
            found[match[1]] = heading
    return found


def _row(option: click.Option, context: click.Context, heading: str) -> Row:
    meaning = option.help or ""
    described = _DEFAULT.search(meaning)
    default = _first_as_code(described[1]) if described else f"``{default_of(option, context)}``"
    spelling = ", ".join([*option.opts, *option.secondary_opts])
    if not option.is_flag:
        spelling += f" {option.make_metavar(context)}"
    variable = "" if not option.allow_from_autoenv else f"{context.auto_envvar_prefix}_{(option.name or '').upper()}"
    return Row(heading, spelling, _DEFAULT.sub("", meaning).strip(), default, variable)


def default_of(option: click.Option, context: click.Context) -> str:
    """What the command uses if the option is not given."""
    default = option.get_default(context)
    if option.is_flag:
        return "on" if default else "off"
    return str(default) if isinstance(default, (str, int, float, Path)) else "none"  # click marks "not set" its own way


def _first_as_code(text: str) -> str:
    first, space, rest = text.partition(" ")
    return f"``{first}``{space}{rest}"


# -- as text


def options_text() -> str:
    """A section for each heading of --help, and in it an entry for each option."""
    lines: list[str] = []
    everything = rows()
    for heading in dict.fromkeys(row.heading for row in everything):
        lines += [heading, "-" * len(heading), ""]
        for row in everything:
            if row.heading == heading:
                lines += _entry(row)
    return "\n".join(lines)


def _entry(row: Row) -> Sequence[str]:
    users = ", ".join(f"``{name}``" for name in row.commands)
    variable = f" Environment: ``{row.environment}``." if row.environment else ""
    meaning = _marked(row.meaning)
    return [f".. option:: {row.spelling}", "", f"   {meaning}{'' if meaning.endswith('.') else '.'}", "",
            f"   Default: {row.default}.{variable} Commands: {users}.", ""]


def commands_text() -> str:
    """Name, usage and description of each command."""
    lines: list[str] = []
    for name in COMMANDS:
        context = context_of(name)
        usage = " ".join(context.command.collect_usage_pieces(context))
        paragraphs = (context.command.help or "").split("\n\n")
        described = "\n\n".join(f"   {_marked(' '.join(text.split()))}" for text in paragraphs)
        lines += [f"``tm-{name} {usage}``", described, ""]
    return "\n".join(lines)


# What a shell or Python would read, in a help text: options, addresses, paths, files, functions and their arguments.
_CODE = re.compile(r"`([^`]+)`|(?<![\w/])((?:--[\w-]+|(?:tcp|ipc)://[\w./:-]*\w|~/[\w./-]*\w|file\.py(?::function)?"
                   r"|module:function|(?:get_jobs|handle_job)(?:\([^)]*\))?))(?![\w(])")


def _marked(text: str) -> str:
    """A help text with code marked as such, and nothing else special."""
    pieces, at = [], 0
    for match in _CODE.finditer(text):
        pieces += [_escaped(text[at:match.start()]), f"``{match[1] or match[2]}``"]
        at = match.end()
    return "".join([*pieces, _escaped(text[at:])])


def _escaped(text: str) -> str:
    return re.sub(r"([*|\\`_])", r"\\\1", text)

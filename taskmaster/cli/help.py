"""The page that `--help` shows: the options in groups, then an example.

Every option of every command has an attribute `group`, one of `GROUPS`. The documentation is generated from it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import click

WHAT: Final = "What to run"
HOW_MUCH: Final = "How much at once"
FAILURES: Final = "Failures"
STATE: Final = "State"
NETWORK: Final = "Network"
OUTPUT: Final = "Output"
#: In the order in which they are shown.
GROUPS: Final = (WHAT, HOW_MUCH, FAILURES, STATE, NETWORK, OUTPUT)

_TERM_COLUMNS: Final = 30  # as in click: the help of a longer option begins on the next line


class Option(click.Option):
    """An option in a group of the page."""

    def __init__(self, *arguments: Any, group: str, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.group = group


class Command(click.Command):
    """A command whose page has its options in groups and ends with `example`, a command line."""

    def __init__(self, *arguments: Any, example: str, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.example = example

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """The --help that click adds, in a group. TASKMASTER_HELP must not set it: no command would run then."""
        found = super().get_help_option(ctx)
        if found is not None:
            found.group = OUTPUT  # type: ignore[attr-defined]
            found.allow_from_autoenv = False
        return found

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """A section for each group; the help texts of all sections are aligned."""
        groups = {group: _rows(self.get_params(ctx), group, ctx) for group in GROUPS}
        column = max(len(term) for rows in groups.values() for term, _ in rows if len(term) <= _TERM_COLUMNS)
        for group, rows in groups.items():
            if rows:
                with formatter.section(group):
                    formatter.write_dl([(term.ljust(column), text) for term, text in rows], _TERM_COLUMNS)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The example, on a line of its own."""
        with formatter.section("Example"):
            formatter.write(f"{'':{formatter.current_indent}}{self.example}\n")


def _rows(params: Iterable[click.Parameter], group: str, ctx: click.Context) -> list[tuple[str, str]]:
    """The options of one group with their help."""
    records = [param.get_help_record(ctx) for param in params if getattr(param, "group", None) == group]
    return [record for record in records if record is not None]

"""What `--help` and `--version` show, and the attribute from which the documentation is generated."""

from __future__ import annotations

import importlib
import re
from importlib.metadata import version

import click
import pytest
from click.testing import CliRunner

from taskmaster.cli.help import GROUPS

COMMANDS = ("run", "master", "slave", "spawn")


def command_of(name: str) -> click.Command:
    found: click.Command = importlib.import_module(f"taskmaster.cli.{name}").command
    return found


def page_of(name: str) -> str:
    shown = CliRunner().invoke(command_of(name), ["--help"], prog_name=f"tm-{name}", terminal_width=100)
    assert shown.exit_code == 0
    return shown.output


@pytest.mark.parametrize("name", COMMANDS)
def test_options_stand_under_headings_in_order_and_an_example_ends_the_page(name: str) -> None:
    page = page_of(name)
    headings = re.findall(r"^(\S[^:\n]*):$", page, re.MULTILINE)
    assert headings == [group for group in GROUPS if group in headings] + ["Example"]
    assert re.search(rf"^Example:\n  tm-{name} \S.*\n\Z", page, re.MULTILINE)


def test_a_run_has_options_under_every_heading() -> None:
    assert [group for group in GROUPS if f"\n{group}:\n" not in page_of("run")] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_group_and_is_shown_once(name: str) -> None:
    command, page = command_of(name), page_of(name)
    context = click.Context(command, info_name=name, **command.context_settings)
    options = [param for param in command.get_params(context) if isinstance(param, click.Option)]
    assert {param.group for param in options} <= set(GROUPS)  # type: ignore[attr-defined]
    shown = re.findall(r"^  (?:-\w, )?(--[a-z-]+)", page, re.MULTILINE)
    assert sorted(shown) == sorted(max(param.opts, key=len) for param in options)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_texts_of_all_groups_begin_in_one_column(name: str) -> None:
    texts = [match.start(1) for match in re.finditer(r"^  -.*?\S  +(\S)", page_of(name), re.MULTILINE)]
    lines = [page_of(name).rfind("\n", 0, start) for start in texts]
    assert len(texts) > 5 and len({start - line for start, line in zip(texts, lines)}) == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_the_version_is_that_of_the_installed_package(name: str) -> None:
    shown = CliRunner().invoke(command_of(name), ["--version"], prog_name=f"tm-{name}")
    assert (shown.exit_code, shown.output) == (0, f"tm-{name}, taskmaster {version('taskmaster')}\n")


@pytest.mark.parametrize("variable", ["TASKMASTER_VERSION", "TASKMASTER_HELP"])
def test_the_environment_asks_for_neither_the_version_nor_the_help(variable: str) -> None:
    """A container that sets TASKMASTER_VERSION would have made every command show the version and end."""
    ended = CliRunner().invoke(command_of("slave"), [], env={variable: "1"})
    assert ended.exit_code == 2 and "Missing argument" in ended.output

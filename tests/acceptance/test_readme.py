"""Keeps README.rst true: its commands are run, its tables compared with the code.

How it is read: a `console` block is run in one folder, block after block. `$ ` starts a command, which has to exit
with 0 unless the next command is `echo $?`; a word before the `$` names a shell, and the commands of such a block run
side by side. Other lines are what must have been said: seconds, rates, times and addresses may differ, and `...`
stands for any text. A `python` block that begins with `# name.py` is put into that file first.
"""

from __future__ import annotations

import ast
import importlib
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, field

import click
import pytest
from helpers import ROOT, Place, Running, free_port

from taskmaster import defaults, errors

README = (ROOT / "README.rst").read_text("utf-8")
COMMANDS = ("master", "slave", "spawn", "run")
EXCUSED = ("scripts/run", "scripts/test")  # they make a .venv, and run these very tests


@dataclass
class Command:
    """A command line of the README and the output shown below it; `shell` is empty for the reader's only one."""

    shell: str
    line: str
    output: list[str] = field(default_factory=list)


def blocks(kind: str) -> list[str]:
    """The code blocks of one kind, without their indentation."""
    found = re.findall(rf"^\.\. code-block:: {kind}\n\n((?:   .*\n|\n)+)", README, re.MULTILINE)
    return ["\n".join(line[3:] for line in block.rstrip().split("\n")) for block in found]


def commands(block: str) -> list[Command]:
    """What a console block tells to type, with what it says will be seen."""
    found: list[Command] = []
    for line in block.split("\n"):
        typed = re.fullmatch(r"(\w*)\$ (.+)", line)
        if typed:
            found.append(Command(typed[1], typed[2]))
        else:
            found[-1].output.append(line)
    return found


def table(header: str) -> list[list[str]]:
    """The cells, without backquotes, of the list-table whose first column has this header."""
    for text in re.findall(r"^\.\. list-table::\n(?:   :.*\n)+\n((?:   .*\n)+)", README, re.MULTILINE):
        rows = [re.split(r"\n     - ", row.rstrip()) for row in text.split("   * - ")[1:]]
        if rows[0][0] == header:
            return [[" ".join(cell.split()).replace("``", "") for cell in row] for row in rows[1:]]
    raise AssertionError(f"README.rst has no table that begins with {header}")


def command_of(name: str) -> click.Command:
    found: click.Command = importlib.import_module(f"taskmaster.cli.{name}").command
    return found


def context_of(name: str) -> click.Context:
    return click.Context(command_of(name), info_name=f"tm-{name}", **command_of(name).context_settings)


def options_of(name: str) -> dict[str, click.Option]:
    found = [param for param in command_of(name).get_params(context_of(name)) if isinstance(param, click.Option)]
    return {max(option.opts, key=len): option for option in found}


# -- the option table


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_has_the_options_that_help_shows_and_no_other(name: str, place: Place) -> None:
    told = place.run(name, "--help")
    shown = re.findall(r"^  (?:-\w, )?(--[a-z-]+)", told.out, re.MULTILINE)

    assert sorted(shown) == sorted(row[0] for row in table("Option") if name in row[2].split())


@pytest.mark.parametrize("row", table("Option"), ids=lambda row: row[0])
def test_a_row_of_the_table_tells_the_default_and_the_environment_variable(
    row: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    option, variable, users, default, _ = row
    assert users.split(), "an option belongs to some command"
    for name in users.split():
        real = options_of(name)[option]
        monkeypatch.delenv(variable, raising=False)
        assert default == default_of(real, name)
        if option != "--help":
            monkeypatch.setenv(variable, "as set")
            assert real.resolve_envvar_value(context_of(name)) == "as set"


def default_of(option: click.Option, name: str) -> str:
    if option.is_flag:
        return "off"
    written = re.search(r"\[default: (\S+)", option.help or "")
    if written:
        return written[1]
    command = command_of(name)
    needed = [param for param in command.params if isinstance(param, click.Argument) and param.required]
    default = command.make_context(f"tm-{name}", ["1"] * len(needed)).params[option.name or ""]
    return "none" if default is None else str(default)


def test_the_table_is_in_order_and_names_each_option_once() -> None:
    names = [row[0] for row in table("Option")]

    assert names == sorted(set(names))


# -- other tables and numbers


def test_the_exit_codes_are_those_of_the_code() -> None:
    real = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}

    assert [int(row[0]) for row in table("Code")] == sorted(real)


@pytest.mark.parametrize("said", [
    f"A job is at most {defaults.JOB_BYTES >> 20} MiB",
    f"at most {defaults.WINDOW_JOBS:,} jobs (``--size``) and {defaults.WINDOW_BYTES >> 20} MiB of payloads",
    f"a header of at most {defaults.HEADER_BYTES >> 10} KiB and a blob of at most {defaults.REPORT_BYTES >> 20} MiB to",
    f"the master and {defaults.BLOB_BYTES >> 20} MiB to a slave",
    f"cut off within {defaults.HANDSHAKE_SECONDS:.0f} seconds",
    f"A master lets itself open {defaults.CONNECTIONS:,} files",
    f"fewer than {defaults.CONNECTIONS_FEW}; when",
    f"It knows at most {defaults.SLAVES:,} slaves",
    f"no more than {defaults.STALLED_SPAN_JOBS:,} jobs once the",
    f"silent for {defaults.LEASE_LIFE_SECONDS:.0f} seconds",
    f"up to {defaults.RETRY_SECONDS_MOST:.0f} seconds",
    f"``--max-failures`` ({defaults.MAX_FAILURES[:-1]} % of at least {defaults.MAX_FAILURES_SAMPLE} finished jobs)",
])
def test_the_numbers_are_those_of_the_code(said: str) -> None:
    assert said in " ".join(README.split())


# -- the text


def test_every_link_leads_to_a_place_on_the_page() -> None:
    prose = re.sub(r"``[^`]+``", "", README)
    names = {name.lower() for name in re.findall(r"`([^`<>]+)`_", prose)}
    titles = {title.lower() for title in re.findall(r"^(\S.*)\n[=-]{3,}$", README, re.MULTILINE)}

    assert names <= titles


def test_titles_are_underlined_as_long_as_they_are() -> None:
    titles = re.findall(r"^(\S.*)\n(={3,})$", README, re.MULTILINE)

    assert len(titles) > 10
    assert [title for title, line in titles if len(title) != len(line)] == []


def test_literal_text_is_closed_in_every_paragraph() -> None:
    paragraphs = README.split("\n\n")

    assert [text for text in paragraphs if text.count("``") % 2] == []


@pytest.mark.parametrize("script", EXCUSED)
def test_the_two_commands_are_there_and_can_be_run(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)
    assert script in [one.line for block in blocks("console") for one in commands(block)]


def test_every_python_block_compiles() -> None:
    assert len(blocks("python")) >= 5
    for block in blocks("python"):
        compile(block, "README.rst", "exec")


def functions(source: str) -> dict[str, str]:
    """Name and body of each function, the notes on types for the result left out."""
    found = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    return {node.name: ast.dump(node.args) + "".join(map(ast.dump, node.body)) for node in found}


def test_the_quickstart_is_the_example_of_that_name() -> None:
    example = functions((ROOT / "examples/quickstart.py").read_text("utf-8").replace("number: int", "number"))

    assert functions(blocks("python")[0]) == example


# -- the commands


VARIES = {
    r"\.\.\.": r".*",
    r"\d{4}-\d\d-\d\dT[\d:.+]+": r"\d{4}-\d\d-\d\dT[\d:.+]+",
    r"tcp://[\w.:-]+": r"tcp://[\w.:-]+",
    r"[\d.]+(?: [kM])?/s": r"[\d.]+(?: [kM])?/s",
    r"[\d.]+ s(?=,)": r"[\d.]+ s",
    r" +": r" +",
}


def pattern(line: str) -> re.Pattern[str]:
    """What a line of output must look like."""
    pieces = re.split(f"({'|'.join(VARIES)})", line.strip())
    return re.compile("".join(_pattern_of(piece) for piece in pieces))


def _pattern_of(piece: str) -> str:
    return next((told for shown, told in VARIES.items() if re.fullmatch(shown.replace("(?=,)", ""), piece)),
                re.escape(piece))


class Reader:
    """Types what the README says, in a folder with the examples and the README's own files."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.folder = place.folder
        self.last_code = 0
        (self.folder / "examples").symlink_to(ROOT / "examples")
        self.programs = self.folder / "programs"
        self.programs.mkdir()
        for name in COMMANDS:
            start = f"import sys; sys.argv[0] = 'tm-{name}'; from taskmaster.cli.{name} import main; main()"
            self._program(f"tm-{name}", "-c", start)
        self._program("python")
        for block in blocks("python"):
            named = re.match(r"# (\w+\.py)\n", block)
            if named:
                (self.folder / named[1]).write_text(block + "\n")
        self.environment = {
            **place.environment, "PATH": f"{self.programs}:{os.environ['PATH']}",
            "TASKMASTER_ADDRESS": f"tcp://0.0.0.0:{free_port()}",
        }

    def _program(self, name: str, *arguments: str) -> None:
        path = self.programs / name
        path.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, *arguments])} "$@"\n')
        path.chmod(0o700)

    def start(self, command: Command) -> Running:
        line = re.sub(r"tcp://\S+:3050", self.environment["TASKMASTER_ADDRESS"], command.line)
        process = subprocess.Popen(
            ["bash", "-c", f"(exit {self.last_code}); {line}"], cwd=self.folder, env=self.environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        self.place.running.append(Running(process, self.folder))
        return self.place.running[-1]

    def type(self, block: str) -> None:
        """Type the commands of a block, and compare what they say with what it shows."""
        typed = [one for one in commands(block) if one.line not in EXCUSED]
        side_by_side = any(one.shell for one in typed)
        started = [(one, self.start(one)) for one in typed] if side_by_side else []
        for index, command in enumerate(typed):
            ended = (started[index][1] if side_by_side else self.start(command)).end()
            self.last_code = ended.code
            missing = [line for line in command.output if not self.shown(line, ended.out)]
            assert not missing, f"$ {command.line}\n{ended.out}"
            if [one.line for one in typed[index + 1:index + 2]] != ["echo $?"]:
                assert ended.code == 0, f"$ {command.line}\n{ended.out}"

    @staticmethod
    def shown(line: str, out: str) -> bool:
        wanted = pattern(line)
        return any(wanted.fullmatch(re.sub("^INFO: ", "", one.strip())) or wanted.fullmatch(one.strip())
                   for one in out.splitlines())


def test_every_command_does_what_the_page_shows(place: Place) -> None:
    reader = Reader(place)
    for block in blocks("console"):
        reader.type(block)

    assert len(sorted(place.folder.glob(".taskmaster/*"))) >= 4, "each workload has a state of its own"


def test_each_command_of_the_page_is_in_a_block_that_is_run() -> None:
    """Lines that look like commands stand in console blocks only, so that none escapes."""
    run = {one.line for block in blocks("console") for one in commands(block)}
    looks = set(re.findall(r"^ +\w*\$ (.+)$", README, re.MULTILINE))

    assert looks == run


@pytest.mark.parametrize("line, out, matches", [
    ("Done: 7 jobs handled in 1.4 s, 71.0 k/s.", "Done: 7 jobs handled in 12 s, 812/s.", True),
    ("Done: 7 jobs handled in 1.4 s, 812/s.", "Done: 7 jobs handled in 12 s, 1.2 M/s.", True),
    ("Done: 7 jobs handled in 1.4 s, 812/s.", "Done: 8 jobs handled in 1.4 s, 812/s.", False),
    ("Done: 7 jobs handled in 1.4 s, 812/s.", "Stopped: 7 jobs handled in 1.4 s, 812/s.", False),
    ("  failed   1, kept in .../failures.jsonl", "  failed  1, kept in .taskmaster/a-1f/failures.jsonl", True),
    ("  failed   1, kept in .../failures.jsonl", "  failed  2, kept in .taskmaster/a-1f/failures.jsonl", False),
    ("Listening at tcp://127.0.0.1:3050; go", "Listening at tcp://127.0.0.1:41234; go", True),
    ('"time": "2026-11-21T02:48:29.940+00:00",', '"time": "2027-01-02T12:00:00.000+00:00",', True),
    ("3", "0", False),
])
def test_output_is_compared_but_for_what_varies(line: str, out: str, matches: bool) -> None:
    assert Reader.shown(line, out) is matches

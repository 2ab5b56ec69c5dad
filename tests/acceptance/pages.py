"""README.rst and the pages in docs/, as the tests read them: blocks, tables, commands and what these print.

A `console` block is run in one folder, block after block. `$ ` starts a command, which has to exit with 0 unless the
next command is `echo $?`. A word before the `$` names a shell; the commands of such a block run side by side. The
other lines are what must be printed: seconds, rates, times and addresses may differ, and `...` stands for any text. A
`python` block that begins with `# name.py` is written to that file first.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from helpers import ROOT, Place, Running, free_port

COMMANDS = ("master", "slave", "spawn", "run")
SCRIPT = re.compile(r"scripts/\w+")  # it makes a .venv; `scripts/test` runs these very tests

_BLOCK = re.compile(r"^\.\. code-block:: (\w+)\n\n((?:   .*\n|\n)+)", re.MULTILINE)
_FILE = re.compile(r"# (\w+\.py)\n")
_TABLE = re.compile(r"^\.\. list-table::\n(?:   :.*\n)+\n((?:   .*\n)+)", re.MULTILINE)


@dataclass
class Command:
    """A command line of a page and the output shown below it; `shell` is empty for the reader's only one."""

    shell: str
    line: str
    output: list[str] = field(default_factory=list)

    @property
    def excused(self) -> bool:
        return SCRIPT.match(self.line) is not None


@dataclass(frozen=True)
class Page:
    path: Path

    def __str__(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @cached_property
    def text(self) -> str:
        return self.path.read_text("utf-8")

    @cached_property
    def words(self) -> str:
        """The text with each run of spaces and line ends as one space."""
        return " ".join(self.text.split())

    def blocks(self, kind: str) -> list[str]:
        """The code blocks of one kind, without their indentation."""
        found = [body for language, body in _BLOCK.findall(self.text) if language == kind]
        return ["\n".join(line[3:] for line in body.rstrip().split("\n")) + "\n" for body in found]

    def commands(self) -> list[list[Command]]:
        """The commands of each console block."""
        return [_commands(block) for block in self.blocks("console")]

    def files(self) -> dict[str, str]:
        """The programs that the page has the reader write to a file."""
        named = ((_FILE.match(block), block) for block in self.blocks("python"))
        return {match[1]: block for match, block in named if match is not None}

    def snippets(self) -> list[str]:
        """The other programs."""
        return [block for block in self.blocks("python") if not _FILE.match(block)]

    def literals(self) -> list[str]:
        return re.findall(r"``([^`]+)``", self.text)

    def table(self, header: str) -> list[list[str]]:
        """The cells, without backquotes, of the list-table whose first column has this header."""
        for text in _TABLE.findall(self.text):
            rows = [re.split(r"\n     - ", row.rstrip()) for row in text.split("   * - ")[1:]]
            if rows[0][0] == header:
                return [[" ".join(cell.split()).replace("``", "") for cell in row] for row in rows[1:]]
        raise AssertionError(f"{self} has no table that begins with {header}")


def _commands(block: str) -> list[Command]:
    found: list[Command] = []
    for line in block.rstrip().split("\n"):
        typed = re.fullmatch(r"(\w*)\$ (.+)", line)
        if typed:
            found.append(Command(typed[1], typed[2]))
        else:
            found[-1].output.append(line)
    return found


def pages() -> list[Page]:
    found = (path for path in (ROOT / "docs").rglob("*.rst") if "_build" not in path.parts)
    return [Page(ROOT / "README.rst"), *(Page(path) for path in sorted(found))]


def page(name: str) -> Page:
    return Page(ROOT / name)


# -- output


VARIES = {
    r"\.\.\.": r".*",
    r"\d{4}-\d\d-\d\dT[\d:.+]+": r"\d{4}-\d\d-\d\dT[\d:.+]+",
    r"tcp://[\w.:-]+": r"tcp://[\w.:-]+",
    r"[\d.]+(?: [kM])?/s": r"[\d.]+(?: [kM])?/s",
    r"[\d.]+ s(?=,)": r"[\d.]+ s",
    r" +": r" +",
}


def is_shown(line: str, out: str) -> bool:
    """Whether a line of a page is among the lines that were printed."""
    wanted = _pattern(line)
    plain = (re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} ", "", one.strip()) for one in out.splitlines())
    return any(wanted.fullmatch(re.sub("^INFO: ", "", one)) or wanted.fullmatch(one) for one in plain)


def _pattern(line: str) -> re.Pattern[str]:
    pieces = re.split(f"({'|'.join(VARIES)})", line.strip())
    return re.compile("".join(_pattern_of(piece) for piece in pieces))


def _pattern_of(piece: str) -> str:
    return next((told for shown, told in VARIES.items() if re.fullmatch(shown.replace("(?=,)", ""), piece)),
                re.escape(piece))


# -- commands


class Reader:
    """Types what a page says, in a folder with the examples and the page's own files."""

    def __init__(self, place: Place, page: Page) -> None:
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
        for name, text in page.files().items():
            (self.folder / name).write_text(text)
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

    def type(self, commands: list[Command]) -> None:
        """Type the commands of a block, and compare what they print with what it shows."""
        typed = [one for one in commands if not one.excused]
        side_by_side = any(one.shell for one in typed)
        started = [(one, self.start(one)) for one in typed] if side_by_side else []
        for index, command in enumerate(typed):
            ended = (started[index][1] if side_by_side else self.start(command)).end()
            self.last_code = ended.code
            missing = [line for line in command.output if not is_shown(line, ended.out)]
            assert not missing, f"$ {command.line}\n{ended.out}\nwithout: {missing}"
            if [one.line for one in typed[index + 1:index + 2]] != ["echo $?"]:
                assert ended.code == 0, f"$ {command.line}\n{ended.out}"

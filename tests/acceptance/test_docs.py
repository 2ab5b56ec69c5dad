"""Keeps README.rst and docs/ true: commands and programs are run, tables and numbers compared with the code."""

from __future__ import annotations

import ast
import importlib.util
import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import click
import pytest
from helpers import ROOT, Place
from pages import COMMANDS, SCRIPT, Page, Reader, is_shown, page, pages

from taskmaster import defaults, errors
from taskmaster.console.text import status_line
from taskmaster.core.stats import Stats

PAGES = pages()
KINDS = {"console", "python", "json", "text"}


def module_at(path: str) -> ModuleType:
    """A module of this repository that stands in no package."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # a dataclass looks for its own
    spec.loader.exec_module(module)
    return module


option_tables = module_at("docs/_ext/option_tables.py")


# -- commands and programs


@pytest.mark.parametrize("page", [one for one in PAGES if one.blocks("console")], ids=str)
def test_every_command_does_what_the_page_shows(page: Page, place: Place) -> None:
    reader = Reader(place, page)
    for commands in page.commands():
        reader.type(commands)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_each_command_of_a_page_is_in_a_block_that_is_run(page: Page) -> None:
    """Lines that look like commands stand in console blocks only, so that none escapes."""
    run = {one.line for commands in page.commands() for one in commands}
    looks = set(re.findall(r"^ +\w*\$ (.+)$", page.text, re.MULTILINE))

    assert looks == run


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_each_block_is_of_a_kind_that_is_tested_and_stands_where_it_is_found(page: Page) -> None:
    directives = re.findall(r"\.\. (?:code-block|code|sourcecode|highlight)::.*", page.text)

    assert len(directives) == sum(len(page.blocks(kind)) for kind in KINDS)


RUN_ELSEWHERE = {"docs/protocol.rst"}
"""Pages whose program has a test of its own: tests/integration runs the slave of the protocol page."""


@pytest.mark.parametrize("page", [one for one in PAGES if one.blocks("python") and str(one) not in RUN_ELSEWHERE],
                         ids=str)
def test_every_program_is_run(page: Page) -> None:
    """One with a name by a command or another program of its page, any other here."""
    typed = " ".join(one.line for commands in page.commands() for one in commands)
    for name, text in page.files().items():
        compile(text, name, "exec")
        others = [other for other in page.files().values() if other != text]
        imported = any(re.search(rf"\bimport {name[:-3]}\b|\bfrom {name[:-3]} import", other) for other in others)
        assert name in typed or imported or name in SOURCES, f"{name} is run by nothing"
    for text in page.snippets():
        exec(compile(text, str(page), "exec"), {"__name__": "snippet"})


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_blocks_are_no_wider_than_the_built_page(page: Page) -> None:
    wide = [line for kind in KINDS for block in page.blocks(kind) for line in block.splitlines() if len(line) > 92]

    assert wide == []


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_json_is_json(page: Page) -> None:
    for block in page.blocks("json"):
        json.loads(block)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_what_a_page_names_is_there(page: Page) -> None:
    """Scripts, examples, tests and pages, wherever they are named."""
    named = re.findall(r"(?<![\w./-])(?:scripts|examples|tests|docs|taskmaster)/[\w./-]*\w", page.text)

    assert [path for path in named if not (ROOT / path).exists() and not path.startswith("docs/_build")] == []


def test_the_scripts_can_be_run() -> None:
    scripts = {one.line for page in PAGES for commands in page.commands() for one in commands if one.excused}
    named = {SCRIPT.match(line)[0] for line in scripts}  # type: ignore[index]

    assert {"scripts/run", "scripts/test", "scripts/docs"} <= named
    assert [script for script in named if not os.access(ROOT / script, os.X_OK)] == []


def test_scripts_readme_has_each_script() -> None:
    listed = re.findall(r"^(\w+) +\S", (ROOT / "scripts/README").read_text(), re.MULTILINE)
    scripts = {path.name for path in (ROOT / "scripts").iterdir() if path.is_file()} - {"README"}

    assert scripts <= set(listed)


def functions(source: str) -> dict[str, str]:
    """Name and body of each function, without the annotation of its result."""
    found = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    return {node.name: ast.dump(node.args) + "".join(map(ast.dump, node.body)) for node in found}


@pytest.mark.parametrize("page", [one for one in PAGES if "squares.py" in one.files()], ids=str)
def test_squares_is_the_example_called_quickstart(page: Page) -> None:
    example = functions((ROOT / "examples/quickstart.py").read_text("utf-8").replace("number: int", "number"))

    assert functions(page.files()["squares.py"]) == example


# -- the page about sources


SOURCES = {name for name in page("docs/sources.rst").files() if name.startswith(("by_", "bad_"))}


def what_a_resume_breaks(name: str, place: Place) -> list[str]:
    of_page = page("docs/sources.rst")
    [set_up] = [commands for commands in of_page.commands() if commands[0].line == "python make_orders.py"]
    Reader(place, of_page).type(set_up)
    check = [sys.executable, str(Path(__file__).with_name("resume_check.py")), name[:-3]]
    told = subprocess.run(check, cwd=place.folder, env=place.environment, capture_output=True, text=True, timeout=40)
    assert told.returncode == 0, told.stderr
    return told.stdout.splitlines()


@pytest.mark.parametrize("name", sorted(name for name in SOURCES if name.startswith("by_")))
def test_a_good_source_yields_the_rest_wherever_it_is_resumed(name: str, place: Place) -> None:
    assert what_a_resume_breaks(name, place) == []


@pytest.mark.parametrize("name", sorted(name for name in SOURCES if name.startswith("bad_")))
def test_a_bad_source_misses_or_repeats_jobs(name: str, place: Place) -> None:
    assert what_a_resume_breaks(name, place) != []


# -- options


def context_of(name: str) -> click.Context:
    command = option_tables.command_of(name)
    return click.Context(command, info_name=f"tm-{name}", **command.context_settings)


def options_of(name: str) -> dict[str, click.Option]:
    context = context_of(name)
    found = [param for param in context.command.get_params(context) if isinstance(param, click.Option)]
    return {max(option.opts, key=len): option for option in found}


ROWS = option_tables.rows()


@pytest.mark.parametrize("name", COMMANDS)
def test_the_page_has_the_options_that_help_shows_under_the_same_headings(name: str, place: Place) -> None:
    told = place.run(name, "--help")
    shown = option_tables.headings_of(told.out)
    listed = {row.name: row.heading for row in ROWS if f"tm-{name}" in row.commands}

    assert len(shown) > 8
    assert listed == shown


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_an_option_has_the_default_and_the_environment_variable_that_the_page_tells(
    row: option_tables.Row, monkeypatch: pytest.MonkeyPatch  # type: ignore[name-defined]
) -> None:
    assert row.commands and row.meaning
    for command in row.commands:
        name = command.removeprefix("tm-")
        real = options_of(name)[row.name]
        if row.environment:
            monkeypatch.delenv(row.environment, raising=False)
        if "[default:" not in (real.help or ""):
            assert row.default == f"``{default_in_use(real, name)}``"
        if row.environment:
            monkeypatch.setenv(row.environment, "as set")
            assert real.resolve_envvar_value(context_of(name)) == "as set"


def default_in_use(option: click.Option, name: str) -> str:
    """What the command is called with where the option is not given."""
    if option.is_flag:
        return "off"
    command = option_tables.command_of(name)
    needed = [param for param in command.params if isinstance(param, click.Argument) and param.required]
    default = command.make_context(f"tm-{name}", ["1"] * len(needed)).params[option.name or ""]
    return "none" if default in (None, ()) else str(default)


def test_the_generated_text_has_every_option() -> None:
    entries = re.findall(r"^\.\. option:: .*?(--[\w-]+)", option_tables.options_text(), re.MULTILINE)

    assert sorted(entries) == sorted(row.name for row in ROWS)


OTHERS = {"--exhaustive", "--joblog", "--resume", "--stop-timeout", "--seed", "--seeds", "--rounds", "--plot"}
"""Options of other tools and of the scripts."""


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_each_option_that_is_mentioned_exists(page: Page) -> None:
    known = {name for row in ROWS for name in re.findall(r"--[\w-]+", row.spelling)}
    mentioned = {name for literal in page.literals() for name in re.findall(r"(?<![\w-])--[a-z][\w-]*", literal)}

    assert mentioned - known - OTHERS == set()


# -- numbers and words


def test_the_exit_codes_are_those_of_the_code() -> None:
    real = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}

    assert [int(row[0]) for row in page("docs/exit-codes.rst").table("Code")] == sorted(real)


@pytest.mark.parametrize("name, said", [
    ("operating", f"A job is at most {defaults.JOB_BYTES >> 20} MiB when encoded"),
    ("results", f"One result may take {defaults.RESULT_BYTES >> 20} MiB"),
    ("sources", f"An encoded job is at most {defaults.JOB_BYTES >> 20} MiB"),
    ("operating", f"at most {defaults.WINDOW_JOBS:,} jobs (``--size``) and {defaults.WINDOW_BYTES >> 20} MiB of"),
    ("operating", f"At most {defaults.SHARED_CURSOR_JOBS:,} jobs in a row may have the same cursor"),
    ("operating", f"silent for {defaults.LEASE_LIFE_SECONDS:.0f} seconds"),
    ("operating", f"at most {defaults.SLAVES:,} slaves"),
    ("many-machines", f"is noticed after {defaults.LEASE_LIFE_SECONDS:.0f} seconds"),
    ("security", f"a header of at most {defaults.HEADER_BYTES >> 10} KiB, and a blob of at most "
                 f"{defaults.REPORT_BYTES >> 20} MiB to the master and {defaults.BLOB_BYTES >> 20} MiB to a slave"),
    ("security", f"cut off within {defaults.HANDSHAKE_SECONDS:.0f} seconds"),
    ("security", f"A handshake may take {defaults.HANDSHAKE_SECONDS:.0f} seconds"),
    ("security", f"A master allows itself {defaults.CONNECTIONS:,} open files"),
    ("security", f"fewer than {defaults.CONNECTIONS_FEW}. When"),
    ("security", f"at most {defaults.SLAVES:,} slaves"),
    ("handlers", f"up to {defaults.RETRY_SECONDS_MOST:.0f} seconds, ``--attempts`` times"),
    ("handlers", f"by default {defaults.MAX_FAILURES[:-1]} % of the jobs finished in this run, as soon as "
                 f"{defaults.MAX_FAILURES_SAMPLE} are"),
])
def test_the_numbers_are_those_of_the_code(name: str, said: str) -> None:
    assert said in page(f"docs/{name}.rst").words


def test_the_floors_are_those_that_the_imports_keep() -> None:
    floors = module_at("tests/unit/test_layers.py").FLOORS
    drawn = re.findall(r"^   (\d)  (.+)$", page("docs/architecture.rst").text, re.MULTILINE)
    rooms = {room for floor in floors for room in floor}

    assert [int(number) for number, _ in drawn] == list(range(len(floors)))[::-1]
    for number, line in drawn:
        words = itertools.takewhile(lambda word: word in rooms, line.split())
        assert tuple(words) == floors[int(number)]


def shape(line: str) -> str:
    """A status line with N for each number."""
    return re.sub(r"\d[\d.,]*(?: [kM](?=/s))?", "N", line.strip(" \u2827"))


@pytest.mark.parametrize("name", ["README.rst", "docs/operating.rst"])
def test_the_status_line_is_one_that_is_drawn(name: str) -> None:
    [shown] = re.findall(r"^   (\u2827 .*)$", page(name).text, re.MULTILINE)

    assert shape(shown) == shape(status_line(Stats(slaves=2, elapsed=1.0)))


QUAINT = r"box(?:es)?|mend(?:s|ed|ing)?|go(?:es)? on|going on|given up|gives? up|told of|straggler"


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_one_word_is_used_for_each_idea(page: Page) -> None:
    """Machine, fix, resume, failed: not the words that were used for them before."""
    prose = re.sub(r"``[^`]*``", "", page.text)

    assert re.findall(rf"\b(?:{QUAINT})\b", prose, re.IGNORECASE) == []


# -- the text


def test_every_local_link_of_the_readme_leads_to_a_file() -> None:
    links = re.findall(r"<([^<>:]+)>`__?", page("README.rst").text)

    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_readme_is_short() -> None:
    assert len(page("README.rst").text.splitlines()) <= 200


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_titles_are_underlined_as_long_as_they_are(page: Page) -> None:
    titles = re.findall(r"^(\S.*)\n(={3,}|-{3,})$", page.text, re.MULTILINE)

    assert titles
    assert [title for title, line in titles if len(title) != len(line)] == []


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_literal_text_is_closed_in_every_paragraph(page: Page) -> None:
    paragraphs = page.text.split("\n\n")

    assert [text for text in paragraphs if text.count("``") % 2] == []


# -- how pages are read


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
    assert is_shown(line, out) is matches


def test_a_command_that_prints_something_else_is_noticed(place: Place, tmp_path: Path) -> None:
    path = ROOT / "README.rst"
    one = Page(path)
    block = [command for commands in one.commands() for command in commands if command.line.startswith("sort")][0]
    block.line, block.output = "echo 41", ["42"]

    with pytest.raises(AssertionError, match="without"):
        Reader(place, one).type([block])

"""Keeps the house in order: who imports whom, what the core touches, who sets up logging, how long a file is.

The rules are read off the source, so an import inside a function or for the type checker counts too. One inside a
function has its reason in a comment beside it or above it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MOST_LINES = 300

# A floor may import what is on the floors below it, and nobody beside itself but those named here.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "defaults", "job", "malloc", "handlers", "forks", "native", "outlet", "durable", "limits",
     "waiting"),
    ("core", "targets"),
    ("transport", "fleet", "console", "sources", "sinks"),
    ("master", "slave", "control"),
    ("api", "web"),
    ("cli",),
)
BESIDE: Mapping[str, set[str]] = {"job": {"errors", "defaults"}, "forks": {"native"},
                                  "outlet": {"defaults", "errors", "native"}, "native": {"errors"},
                                  "limits": {"errors", "native"}, "waiting": {"native"},
                                  "__init__": {"job", "api", "handlers", "errors", "sources"}}
#: Floors that are further down than their number says: these may import nothing else of the house.
ALONE: Mapping[str, set[str]] = {
    "malloc": set(),
    "targets": {"errors", "defaults", "job", "handlers"},
    "sources": {"errors", "defaults", "job", "native", "durable", "waiting", "core"},
}


def _rooms() -> dict[str, set[str]]:
    """Each room, a module or a folder of taskmaster/, and the rooms it may import besides itself."""
    rooms: dict[str, set[str]] = {}
    below: set[str] = set()
    for floor in FLOORS:
        for room in floor:
            rooms[room] = ALONE.get(room, below | BESIDE.get(room, set()))
        below |= set(floor)
    return {**rooms, "__init__": BESIDE["__init__"]}


ROOMS = _rooms()

# No socket, file, thread, clock, chance or log: with these alone a whole cluster is simulated from one seed.
PURE = {
    "__future__", "base64", "bisect", "collections", "collections.abc", "copyreg", "dataclasses", "enum",
    "functools", "hashlib", "heapq", "io", "itertools", "json", "math", "operator", "orjson", "pickle", "re", "struct",
    "types", "typing", "zlib",
}
IMPURE_NAMES = {"open", "print", "input", "__import__", "exec", "eval"}
LOGGING_SETUP = {"basicConfig", "dictConfig", "fileConfig"}


def violations(sources: Mapping[str, str]) -> list[str]:
    """What is against the rules in `sources`, a text for each path such as `taskmaster/core/wire.py`."""
    texts = sorted(sources.items())
    found = (f"{path}: {what}" for path, text in texts for what in _violations(path, text, sources))
    return list(dict.fromkeys(found))  # once for all the names of one import


def _violations(path: str, text: str, sources: Mapping[str, str]) -> Iterator[str]:
    tree, room = ast.parse(text), _room(path)
    if room not in ROOMS:
        yield f"the room {room!r} is unknown"
    for module in _imports(tree, path, sources):
        other = module.removeprefix("taskmaster.").split(".")[0] if module.startswith("taskmaster.") else None
        if other is not None and other != room and other not in ROOMS.get(room, set()):
            yield f"imports {module}"
        if other is None and room == "core" and module not in PURE:
            yield f"the core imports {module}"
    if room == "core":
        yield from (f"the core uses {name}" for name in _names(tree) if name in IMPURE_NAMES)
    if room != "cli":
        yield from (f"configures logging by {name}" for name in _names(tree) if name in LOGGING_SETUP)
    yield from (f"line {line} imports inside a function without a comment" for line in _unexplained(tree, text))
    if len(text.splitlines()) > MOST_LINES:
        yield f"has {len(text.splitlines())} lines"


def _room(path: str) -> str:
    return path.split("/")[1].removesuffix(".py")


def _imports(tree: ast.AST, path: str, sources: Mapping[str, str]) -> Iterator[str]:
    """The full name of every module imported; the public face of the package is `taskmaster.__init__`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (_face(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, path)
            rooms = {_room(other) for other in sources} | set(ROOMS)
            for alias in node.names:
                yield f"{base}.{alias.name}" if base == "taskmaster" and alias.name in rooms else _face(base)


def _unexplained(tree: ast.AST, text: str) -> Iterator[int]:
    """The lines of imports inside functions that have no comment, and neither has the line above them.

    One comment serves for imports that follow each other.
    """
    functions = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    inside = {node.lineno: node.end_lineno or node.lineno for function in functions for node in ast.walk(function)
              if isinstance(node, (ast.Import, ast.ImportFrom))}
    lines, explained = text.splitlines(), set[int]()
    for first, last in sorted(inside.items()):
        above = lines[first - 2].strip().startswith("#") or first - 1 in explained
        if above or any("#" in line for line in lines[first - 1:last]):
            explained.add(last)
        else:
            yield first


def _face(module: str) -> str:
    return "taskmaster.__init__" if module == "taskmaster" else module


def _absolute(node: ast.ImportFrom, path: str) -> str:
    folders = path.split("/")[:-1]
    kept = folders[:len(folders) - node.level + 1] if node.level else []
    return ".".join([*kept, *([node.module] if node.module else [])])


def _names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.alias):
            yield node.name.split(".")[-1]


def test_the_package_keeps_its_layers():
    files = (ROOT / "taskmaster").rglob("*.py")
    sources = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in files}

    assert len(sources) > 10
    found = violations(sources)
    assert not found, "\n" + "\n".join(found)


def test_every_folder_is_a_package_since_a_wheel_holds_no_other():
    folders = {path.parent for path in (ROOT / "taskmaster").rglob("*.py")}

    assert [folder.name for folder in folders if not (folder / "__init__.py").exists()] == []


@pytest.mark.parametrize("path, text", [
    ("taskmaster/core/a.py", "from __future__ import annotations\nfrom collections.abc import Mapping"),
    ("taskmaster/core/a.py", "from taskmaster import defaults, job\nfrom taskmaster.core import wire"),
    ("taskmaster/core/a.py", "from . import wire\nfrom .wire import encode\nfrom ..errors import UsageError"),
    ("taskmaster/master/a.py", "import socket, zmq, taskmaster.transport.waker\nfrom taskmaster.core import window"),
    ("taskmaster/cli/a.py", "import logging\nlogging.basicConfig()"),
    ("taskmaster/cli/a.py", "from taskmaster import fleet, slave"),
    ("taskmaster/cli/a.py", "def f():\n  import os  # why"),
    ("taskmaster/cli/a.py", "def f():\n  # why\n  from os import (\n    path)\n  import sys"),
    ("taskmaster/cli/a.py", "if True:\n  import os"),
    ("taskmaster/sources/a.py", "import os\nfrom taskmaster.job import Job"),
    ("taskmaster/__init__.py", "from taskmaster.job import Job\nfrom .api.run import run"),
    ("taskmaster/malloc.py", "# as long as allowed\n" * MOST_LINES),
])
def test_what_keeps_the_rules_passes(path, text):
    assert violations({path: text}) == []


@pytest.mark.parametrize("path, text, found", [
    ("taskmaster/master/a.py", "from taskmaster.slave.pool import Pool", "imports taskmaster.slave.pool"),
    ("taskmaster/slave/a.py", "import taskmaster.master", "imports taskmaster.master"),
    ("taskmaster/slave/a.py", "from taskmaster import master", "imports taskmaster.master"),
    ("taskmaster/slave/a.py", "from .. import master", "imports taskmaster.master"),
    ("taskmaster/slave/a.py", "from ..master.server import Server", "imports taskmaster.master.server"),
    ("taskmaster/slave/a.py", "def f():\n  from taskmaster.master import a  # why", "imports taskmaster.master"),
    ("taskmaster/fleet/a.py", "if TYPE_CHECKING:\n  from taskmaster.cli import run", "imports taskmaster.cli"),
    ("taskmaster/fleet/a.py", "from taskmaster.transport.waker import Waker", "imports taskmaster.transport.waker"),
    ("taskmaster/targets/a.py", "import taskmaster.core.wire", "imports taskmaster.core.wire"),
    ("taskmaster/sources/a.py", "from taskmaster import targets", "imports taskmaster.targets"),
    ("taskmaster/errors.py", "from . import defaults", "imports taskmaster.defaults"),
    ("taskmaster/core/a.py", "from taskmaster.transport import waker", "imports taskmaster.transport"),
    ("taskmaster/core/a.py", "from taskmaster.targets.load import load_target", "imports taskmaster.targets.load"),
    ("taskmaster/job.py", "import taskmaster", "imports taskmaster.__init__"),
    ("taskmaster/master/a.py", "from taskmaster import Job", "imports taskmaster.__init__"),
    ("taskmaster/core/a.py", "import json, time", "the core imports time"),
    ("taskmaster/core/a.py", "from os import path", "the core imports os"),
    ("taskmaster/core/a.py", "import collections.abc, random", "the core imports random"),
    ("taskmaster/core/a.py", "def f():\n  import logging  # why", "the core imports logging"),
    ("taskmaster/core/a.py", "import concurrent.futures", "the core imports concurrent.futures"),
    ("taskmaster/core/a.py", "import zmq", "the core imports zmq"),
    ("taskmaster/core/a.py", "import io\nio.open('x')", "the core uses open"),
    ("taskmaster/core/a.py", "__import__('time')", "the core uses __import__"),
    ("taskmaster/master/a.py", "import logging as l\nl.basicConfig()", "configures logging by basicConfig"),
    ("taskmaster/slave/a.py", "from logging.config import dictConfig", "configures logging by dictConfig"),
    ("taskmaster/cli/a.py", "def f():\n  import os", "line 2 imports inside a function without a comment"),
    ("taskmaster/cli/a.py", "def f():\n  # why\n  import os\n  g()\n  import sys",
     "line 5 imports inside a function without a comment"),
    ("taskmaster/attic.py", "", "the room 'attic' is unknown"),
    ("taskmaster/attic/a.py", "", "the room 'attic' is unknown"),
    ("taskmaster/malloc.py", "# too long\n" * (MOST_LINES + 1), f"has {MOST_LINES + 1} lines"),
])
def test_what_breaks_a_rule_is_found(path, text, found):
    assert violations({path: text}) == [f"{path}: {found}"]


def test_every_break_in_a_tree_is_found_and_no_other():
    tree = {
        "taskmaster/__init__.py": "from taskmaster.job import Job",
        "taskmaster/core/__init__.py": "",
        "taskmaster/core/wire.py": "import json\nimport socket",
        "taskmaster/master/server.py": "from taskmaster.core import wire\nfrom taskmaster import attic",
        "taskmaster/slave/pool.py": "from taskmaster.core import wire\nfrom taskmaster.master import server",
        "taskmaster/attic.py": "import taskmaster.errors",
    }

    assert violations(tree) == [
        "taskmaster/attic.py: the room 'attic' is unknown",
        "taskmaster/attic.py: imports taskmaster.errors",
        "taskmaster/core/wire.py: the core imports socket",
        "taskmaster/master/server.py: imports taskmaster.attic",
        "taskmaster/slave/pool.py: imports taskmaster.master",
    ]

"""Where bytes may become code, read off the source: nowhere a master looks at what a slave sent.

A master unpickles its own checkpoint, and its own jobs when one has failed, to show it or to try it again. Only slaves
decode what came from another process, and only from a master they trust.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "taskmaster"

#: What makes code or objects of bytes or text, and the only files that may name it.
DANGEROUS: Mapping[str, set[str]] = {
    "pickle": {"core/codec.py", "core/identity.py", "core/portable.py"},
    "_pickle": set(), "cPickle": set(), "marshal": set(), "shelve": set(), "dill": set(), "cloudpickle": set(),
    "copyreg": set(), "recv_pyobj": set(), "recv_serialized": set(), "exec": set(),
    "eval": {"targets/signature.py"},  # of the annotations in the user's own module
    # Of a checkpoint, and of failed jobs that are tried again: files in the user's own folder.
    # And of cursors that a master sent in pickles, which a slave that does not trust it refuses with their lease.
    "unpack": {"core/portable.py", "master/state/checkpoint.py", "master/failed_jobs.py", "sources/failures.py",
               "slave/leased_cursors.py"},
    "decode_batch": set(),
    "Unpickler": {"core/codec.py"},  # one that refuses every class and function
}
#: Calls that unpickle, by their last name, and the files that may make them.
CALLS: Mapping[str, set[str]] = {
    "codec.open_batch": {"slave/backlog.py"},
    "open_batch": {"slave/leased_cursors.py"},
    "open_plain": {"core/identity.py"},  # of the master's own jobs
    "open_part": {"slave/pools/sequential.py", "slave/pools/concurrent.py"},
    "pickle.loads": {"core/codec.py", "core/portable.py"},
    "Batch": {"core/codec.py"},  # of bytes: only where the master's own jobs are encoded
}
#: What sees a slave's message before it is numbers and text.
SEES_MESSAGES = ("core/wire/__init__.py", "core/wire/frames.py", "core/wire/poll.py", "core/wire/reply.py",
                 "core/dispatch.py", "core/roster.py", "core/session.py", "core/master_effects.py",
                 "core/joining.py", "core/refusals.py", "core/accounting.py", "core/leasing.py", "core/deaths.py",
                 "core/blame.py",
                 "master/server.py", "transport/listener.py", "transport/admission.py")
#: All that they may take from the module that can unpickle.
FROM_CODEC = {"Bytes", "FORMS", "Batch", "BadJob"}


def sources() -> dict[str, ast.Module]:
    return {path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text("utf-8")) for path in PACKAGE.rglob("*.py")}


def named(tree: ast.AST) -> Iterator[str]:
    """Names that are used or imported; not those of methods, which are asked for by their call."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.alias):
            yield from node.name.split(".")
        elif isinstance(node, ast.ImportFrom):
            yield from (node.module or "").split(".")
        elif isinstance(node, ast.Attribute) and node.attr in ("recv_pyobj", "recv_serialized", "Unpickler"):
            yield node.attr


def called(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id


def breaks(trees: Mapping[str, ast.AST]) -> list[str]:
    found = [f"{path} names {name}" for path, tree in trees.items() for name in set(named(tree))
             if path not in DANGEROUS.get(name, {path})]
    found += [f"{path} calls {name}" for path, tree in trees.items() for name in set(called(tree))
              if path not in CALLS.get(name, {path})]
    for path in SEES_MESSAGES:
        for node in ast.walk(trees.get(path, ast.Module([], []))):
            if isinstance(node, ast.ImportFrom) and node.module in ("taskmaster.core.codec", "taskmaster.core"):
                taken = {alias.name for alias in node.names}
                wrong = taken - FROM_CODEC if node.module.endswith("codec") else taken & {"codec", "portable"}
                found += [f"{path} takes {name}" for name in sorted(wrong)]
    return sorted(found)


def test_nothing_that_sees_a_slaves_message_can_unpickle() -> None:
    trees = sources()
    assert set(SEES_MESSAGES) <= set(trees)
    assert {path for path in trees if path.startswith("core/wire/")} <= set(SEES_MESSAGES)
    assert breaks(trees) == []


@pytest.mark.parametrize("path, text, found", [
    ("core/wire/frames.py", "import pickle", "core/wire/frames.py names pickle"),
    ("core/wire/poll.py", "from pickle import loads", "core/wire/poll.py names pickle"),
    ("core/wire/poll.py", "def f():\n  import _pickle as json", "core/wire/poll.py names _pickle"),
    ("core/wire/reply.py", "from taskmaster.core.codec import FORMS, decode", "core/wire/reply.py takes decode"),
    ("core/dispatch.py", "from taskmaster.core import codec", "core/dispatch.py takes codec"),
    ("core/dispatch.py", "from taskmaster.core.portable import unpack", "core/dispatch.py names unpack"),
    ("core/dispatch.py", "Batch('pickle', 1, poll.blob)", "core/dispatch.py calls Batch"),
    ("master/server.py", "codec.open_batch('pickle', b'')", "master/server.py calls codec.open_batch"),
    ("net.py", "socket.recv_pyobj()", "net.py names recv_pyobj"),
    ("master/keeper.py", "eval(text)", "master/keeper.py names eval"),
])
def test_what_breaks_the_rule_is_found(path: str, text: str, found: str) -> None:
    assert found in breaks({path: ast.parse(text)})

"""Where user code is imported from, in a command and in the slaves that it starts.

The user's folder comes first, as for a script. So a `queue.py` in it is found in place of Python's, by whatever imports
`queue` from then on. What this process needs has been imported before, except for the few modules that are dealt with
here.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from types import ModuleType
from typing import Final

from taskmaster import defaults

#: What Python's own modules import only when they need it, such as to look up the name of a machine.
_NEEDED_LATER: Final = frozenset({"stringprep", "unicodedata"})

_users: set[str] = set()  # folders of the user's in sys.path


def put_first(folder: str) -> None:
    """Search this folder before all others."""
    _take_in(folder)
    sys.path[:] = [folder, *(other for other in sys.path if other != folder)]


def inherit() -> bool:
    """Search where the parent does; False without a parent that says it."""
    text = os.environ.pop(defaults.SEARCH_PATH, "")
    if not text:
        return False
    folders = json.loads(text)
    for folder in folders:
        if folder not in sys.path:
            _take_in(folder)
    sys.path[:] = folders
    return True


def bequeathed() -> dict[str, str]:
    """The environment by which a slave of this machine inherits this process's search path."""
    folders = []
    for folder in sys.path:
        with contextlib.suppress(OSError):  # "" is the working folder, which may have been removed
            folders.append(os.path.abspath(folder))
    return {defaults.SEARCH_PATH: json.dumps(folders)}


def python_module(name: str) -> ModuleType:
    """A module of Python's own, also if the user's folder has one of this name, which is then left to the user."""
    spec = PathFinder.find_spec(name, [folder for folder in sys.path if folder not in _users])
    if not _users or spec is None or spec.loader is None:
        return importlib.import_module(name)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def working_folder() -> str:
    """Where relative names begin, now; empty if it was removed."""
    try:
        return os.getcwd()
    except OSError:
        return ""


def _take_in(folder: str) -> None:
    """Import what would later be found in this folder; usually nothing."""
    if folder in _users:
        return
    _users.add(folder)
    try:
        names = {name.partition(".")[0] for name in os.listdir(folder)}
    except OSError:
        return
    for name in sorted(names & _NEEDED_LATER):
        importlib.import_module(name)

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
from collections.abc import Iterator
from types import ModuleType
from typing import Final

from taskmaster import defaults

#: What Python's own modules import only when they need it, such as to look up the name of a machine.
_NEEDED_LATER: Final = frozenset({"stringprep", "tracemalloc", "unicodedata"})

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
    with without_users():
        return importlib.import_module(name)


@contextlib.contextmanager
def without_users() -> Iterator[None]:
    """Within it, modules are imported as if there were no folders of the user's. It leaves the user's own alone."""
    path, users = sys.path[:], _modules_of_users()
    sys.path[:] = [folder for folder in path if folder not in _users]
    for name in users:
        del sys.modules[name]
    before = set(sys.modules)
    try:
        yield
    finally:
        sys.path[:] = path
        _leave_to_users(set(sys.modules) - before)
        sys.modules.update(users)


def _leave_to_users(imported: set[str]) -> None:
    """Forget what the user's code would have found in a folder of its own."""
    names = set().union(*map(_names_in, _users))
    for name in imported:
        if name.partition(".")[0] in names:
            del sys.modules[name]


def _modules_of_users() -> dict[str, ModuleType]:
    """Those imported from the user's folders whose name is that of a module of Python's."""
    def is_users(module: ModuleType) -> bool:
        file = getattr(module, "__file__", None) or ""
        return file.startswith(tuple(f"{folder}{os.sep}" for folder in _users))
    shadowing = {name for name in sys.modules if name.partition(".")[0] in sys.stdlib_module_names}
    return {name: sys.modules[name] for name in shadowing if is_users(sys.modules[name])}


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
    for name in sorted(_names_in(folder) & _NEEDED_LATER):
        importlib.import_module(name)


def _names_in(folder: str) -> set[str]:
    """Those that modules and packages in this folder would have, and perhaps others."""
    try:
        return {name.partition(".")[0] for name in os.listdir(folder)}
    except OSError:
        return set()

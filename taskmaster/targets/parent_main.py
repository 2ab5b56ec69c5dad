"""`__main__` in a slave: that of the program which called `taskmaster.run`, as far as pickles need it.

A class of that program is pickled as `__main__.Order`. In the slave it is looked for in the program's file, or module,
which is imported when the first such pickle comes, unless the handler is in there, too.
"""

from __future__ import annotations

import _thread
import os
import sys
from types import ModuleType
from typing import Any

from taskmaster import defaults
from taskmaster.targets.load import Target, load_module


def target_in_main(function: str) -> Target | None:
    """How another process finds this function of this program; None if that has no file, or none that it can import."""
    main = sys.modules["__main__"]
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None) or ""
    if spec is not None and spec.name != "__main__":  # python -m
        return Target(spec.name, function, is_file=False)
    return Target(file, function, is_file=True) if file.endswith(".py") and os.path.isfile(file) else None


def bequeathed() -> dict[str, str]:
    """The environment by which a slave finds the classes of this program."""
    target = target_in_main("")
    if target is None:
        return {}
    return {defaults.MAIN_FILE: target.path} if target.is_file else {defaults.MAIN_MODULE: target.source}


def inherit() -> None:
    """Let `__main__` of this process have what the parent's has."""
    file, module = os.environ.pop(defaults.MAIN_FILE, ""), os.environ.pop(defaults.MAIN_MODULE, "")
    if file or module:
        vars(sys.modules["__main__"])["__getattr__"] = _ParentMain(Target(file or module, "", bool(file)))


class _ParentMain:
    """The `__getattr__` of a module: called for names that it does not have."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._lock = _thread.RLock()  # handlers' threads unpickle; made here, before user code can patch it

    def __call__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module '__main__' has no attribute {name!r}")
        return getattr(self._module(), name)

    def _module(self) -> ModuleType:
        with self._lock:
            return load_module(self._target)

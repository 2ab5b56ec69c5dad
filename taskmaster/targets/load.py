"""From the text of a TARGET to a function: parses it, imports it, and names the folder of its state.

It knows the import system, but not what the function is used for. What a signature tells is in signature.py.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import itertools
import json
import os
import re
import site
import sys
import sysconfig
import traceback
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.machinery import PathFinder
from pathlib import Path, PurePath
from types import ModuleType
from typing import Any

from taskmaster import defaults
from taskmaster.errors import TargetError, UserCodeError
from taskmaster.targets.frames import user_frames
from taskmaster.targets.search_path import python_module, put_first, working_folder
from taskmaster.targets.signature import did_you_mean

FORMS = "Give a module, module:function, file.py or file.py:function."
DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)  # no file names on Windows


@dataclass(frozen=True)
class Target:
    """A function by name: `source` is a dotted module name or, if `is_file`, the path of a .py file.

    `folder` is where a relative path begins: the working folder at first, which user code may change.
    """

    source: str
    function: str
    is_file: bool
    folder: str = field(default_factory=working_folder, compare=False)

    def __str__(self) -> str:
        return f"{self.source}:{self.function}"

    @property
    def path(self) -> str:
        """Of its file, from any working folder."""
        return os.path.join(self.folder, self.source)

    @property
    def located(self) -> str:
        """The text of the same target for a process in any working folder."""
        return f"{self.path}:{self.function}" if self.is_file else str(self)


def parse_target(text: str, default_name: str) -> Target:
    """Parse `module`, `module:function`, `file.py` or `file.py:function`. Raises TargetError for anything else."""
    source, function = _split(text)
    is_file = source.endswith(".py") or _is_path(source)
    function = default_name if function is None else function
    if not source or (":" in source and not is_file) or not _is_dotted_name(function):
        raise TargetError(f"{text!r} does not name a function. {FORMS}")
    # PurePath, not normpath: if `link` is a symlink, link/../x.py and x.py are different files.
    return Target(PurePath(source).as_posix() if is_file else source, function, is_file)


def _split(text: str) -> tuple[str, str | None]:
    source, colon, function = text.rpartition(":")
    is_drive = len(source) == 1 and function[:1] in ("\\", "/")
    in_name = _is_path(source) and text.endswith(".py") and not source.endswith(".py")  # ./a:b.py
    return (source, function) if colon and not is_drive and not in_name else (text, None)


def _is_path(text: str) -> bool:
    return text.startswith(".") or "/" in text or "\\" in text


def _is_dotted_name(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


def load_target(target: Target, search_here: bool = True) -> Callable[..., Any]:
    """Import the function that `target` names. A second call does not import it again.

    A module is looked for in the working folder first, if we are to `search_here`, and then in `sys.path`. Raises
    TargetError if the function cannot be found or called, UserCodeError if the user's module raises.
    """
    return _find_function(load_module(target, search_here), target)


def load_module(target: Target, search_here: bool = False) -> ModuleType:
    """Import the module of `target`; raises what `load_target` does."""
    if target.is_file:
        return _load_file(target.path, target.source)
    if search_here and target.folder:
        put_first(target.folder)
    _import(target.source, lambda: importlib.import_module(target.source))
    return sys.modules[target.source]


def _load_file(file: str, text: str) -> ModuleType:
    path = Path(os.path.abspath(file) if os.path.isabs(file) else file)  # relative if the working folder was removed
    _check_file(path, text)
    name = _module_name(path)
    if path.stem in sys.stdlib_module_names:
        with contextlib.suppress(ImportError):  # before the user's queue.py hides the real one
            importlib.import_module(path.stem)
    put_first(str(path.parent))
    if name not in sys.modules:
        _import(text, lambda: _execute(name, path))
    return sys.modules[name]


def _check_file(path: Path, text: str) -> None:
    if path.is_dir():
        raise TargetError(f"{text!r} is a folder. Name a file.py in it.")
    if path.suffix != ".py":
        raise TargetError(f"{text!r} is not a .py file. {FORMS}")
    if not path.is_file():
        siblings = sorted(other.name for other in path.parent.glob("*.py"))
        raise TargetError(f"No file {text!r} (looked for {path}).{did_you_mean(path.name, siblings)} {FORMS}")


def _module_name(path: Path) -> str:
    """The module's name, under which its classes are pickled; master and slaves must arrive at the same one.

    It is the file's stem unless an installed module has that name. What this process has imported so far comes second,
    because in that masters and slaves differ.
    """
    stem = path.stem.replace(".", "_")
    other = f"taskmaster_file_{stem}"
    numbered = (f"{other}_{n}" for n in itertools.count(2))
    names = itertools.chain([] if _is_installed(stem) else [stem], [other], numbered)
    return next(name for name in names if name not in sys.modules or _is_of_file(sys.modules[name], path))


def _is_installed(name: str) -> bool:
    folders = [sysconfig.get_path("stdlib"), *site.getsitepackages()]
    return name in sys.stdlib_module_names or PathFinder.find_spec(name, folders) is not None


def _is_of_file(module: ModuleType, path: Path) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and os.path.exists(file) and os.path.samefile(file, path)


def _execute(name: str, path: Path) -> None:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None, "a .py file always has a loader"
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


_importing: list[str] = []


def importing() -> str:
    """The target whose module is being imported right now; empty when none is."""
    return _importing[-1] if _importing else ""


def _import(name: str, import_it: Callable[[], object]) -> None:
    _importing.append(name)
    try:
        import_it()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also SystemExit: a module that exits must not end this process unnamed
        if isinstance(error, ModuleNotFoundError) and user_frames(error) is None:
            raise TargetError(_no_module(name, str(error.name))) from None
        what = traceback.format_exception_only(type(error), error)[-1].strip().rstrip(".")
        raise UserCodeError(f"Importing {name} failed: {what}. {_remedy(error)}") from error
    finally:
        _importing.pop()


def _no_module(name: str, missing: str) -> str:
    if os.path.isfile(name):
        return f"{name!r} is not a .py file. {FORMS}"
    parent, _, last = name.rpartition(".")
    if hasattr(sys.modules.get(parent), last):
        return f"No module named {missing!r}, but {parent} has a {last!r}. Did you mean {parent}:{last}?"
    here = [folder] if (folder := working_folder()) else []
    hint = did_you_mean(name, sorted(module.name for module in python_module("pkgutil").iter_modules(here)))
    return f"No module named {missing!r} (searched the working folder and sys.path).{hint} {FORMS}"


def _remedy(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError):
        return f"Install it for {sys.executable}, or put its folder on PYTHONPATH."
    if isinstance(error, SystemExit):
        return "Put code that only a script should run under: if __name__ == '__main__'."
    return "Fix it and start again."


def _find_function(module: ModuleType, target: Target) -> Callable[..., Any]:
    found: Any = module
    for part in target.function.split("."):
        if not hasattr(found, part):
            raise TargetError(_no_function(module, found, part, target))
        found = getattr(found, part)
    if not callable(found):
        kind = type(found).__name__
        raise TargetError(f"{target} is not a function: its type is {kind}. {_offer(_callables(module))}")
    return typing.cast(Callable[..., Any], found)


def _no_function(module: ModuleType, owner: Any, part: str, target: Target) -> str:
    if getattr(module, "__file__", None) is None and hasattr(module, "__path__"):
        return f"{target.source!r} is a folder. Name a file.py in it."
    names = _callables(owner)
    return f"{target.source} has no {target.function!r}.{did_you_mean(part, names)} {_offer(names)}"


def _callables(owner: Any) -> list[str]:
    """The public callables of a module or class: those it defines, else those it imports."""
    public = {name: getattr(owner, name, None) for name in dir(owner) if not name.startswith("_")}
    named = [name for name, value in public.items() if callable(value)]
    home = getattr(owner, "__module__", getattr(owner, "__name__", None))
    return [name for name in named if getattr(public[name], "__module__", None) == home] or named


def _offer(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > defaults.NAMES_OFFERED else ""
    return f"It has: {', '.join(names[:defaults.NAMES_OFFERED])}{more}." if names else "It defines no functions."


def state_name(target: Target, arguments: Mapping[str, Any], handler: Target | None = None) -> str:
    """The name of the state folder for `target` and these arguments, such as `migrate.get_jobs-1a2b3c4d5e6f`.

    It depends on the targets as they were typed, not on where the files are: the folder is made in the working folder.
    A `handler` is given where `target` does not say which one it is.
    """
    pairs = sorted((key, str(value)) for key, value in arguments.items())
    parts = [str(target), pairs] if handler is None else [str(target), pairs, str(handler)]
    canonical = json.dumps(parts, separators=(",", ":"))
    # 48 bits: among ten thousand states, one a day for 27 years, two collide with a chance of 1 in 5 million.
    digest = hashlib.blake2b(canonical.encode("ascii"), digest_size=6).hexdigest()
    return f"{_label(handler or target)}-{digest}"


def _label(target: Target) -> str:
    source = PurePath(target.source).stem if target.is_file else target.source
    label = re.sub(r"[^A-Za-z0-9_.-]", "_", f"{source}.{target.function}").lstrip(".-")
    label = label[:defaults.STATE_LABEL_CHARACTERS]
    return f"_{label}" if DEVICES.match(label) else label

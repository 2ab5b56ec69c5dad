"""Where modules are found, in a command and its slaves; and Python's own although the user has files of their names."""

from __future__ import annotations

import difflib
import importlib
import json
import os
import sys
from pathlib import Path

import pytest

from taskmaster import defaults
from taskmaster.targets import parent_main, search_path
from taskmaster.targets.search_path import python_module


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A search path of the test's own."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(search_path, "_users", set())
    return sys.path


def test_a_slave_searches_where_its_parent_does_and_says_so_to_nobody_else(
        path: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path[:0] = ["", "lib"]
    given = search_path.bequeathed()
    monkeypatch.setenv(defaults.SEARCH_PATH, given[defaults.SEARCH_PATH])
    monkeypatch.chdir("/")
    path[:] = path[2:]
    assert search_path.inherit() and defaults.SEARCH_PATH not in os.environ
    assert path[:2] == [str(tmp_path), str(tmp_path / "lib")]
    assert not search_path.inherit(), "there is no parent any more"


def test_a_working_folder_that_was_removed_is_left_out(path: list[str], tmp_path: Path,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    path[:] = ["", "/somewhere"]
    assert json.loads(search_path.bequeathed()[defaults.SEARCH_PATH]) == ["/somewhere"]
    assert search_path.working_folder() == ""


def test_a_module_of_pythons_is_found_beside_one_of_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "difflib.py").write_text("mine = True")
    search_path.put_first(str(tmp_path))
    monkeypatch.delitem(sys.modules, "difflib")
    import difflib as users  # type: ignore[import-untyped, unused-ignore]

    assert users.mine  # type: ignore[attr-defined]
    assert python_module("difflib").get_close_matches("ab", ["abc"]) == ["abc"] and sys.modules["difflib"] is users


def test_a_module_that_python_needed_late_does_not_hide_the_users_own(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sched.py").write_text("mine = True")
    search_path.put_first(str(tmp_path))
    monkeypatch.delitem(sys.modules, "sched", raising=False)
    with search_path.without_users():
        import sched

        assert sched.scheduler
    assert importlib.import_module("sched").mine


def test_a_failed_import_leaves_the_search_path_and_the_users_modules_as_they_were(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sched.py").write_text("mine = True")
    search_path.put_first(str(tmp_path))
    monkeypatch.delitem(sys.modules, "sched", raising=False)
    users, path = importlib.import_module("sched"), sys.path[:]
    with pytest.raises(ImportError), search_path.without_users():
        importlib.import_module("no_such_module_at_all")
    assert sys.path == path and sys.modules["sched"] is users


def test_without_the_users_folder_a_module_is_imported_as_ever() -> None:
    assert python_module("difflib") is difflib


@pytest.mark.parametrize("how", ["put first", "inherited"])
def test_what_python_imports_late_is_imported_before_a_namesake_can_be_found(
        how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stringprep.py").write_text("raise RuntimeError")
    monkeypatch.delitem(sys.modules, "stringprep", raising=False)
    if how == "inherited":
        monkeypatch.setenv(defaults.SEARCH_PATH, json.dumps([str(tmp_path), *sys.path]))
        search_path.inherit()
    else:
        search_path.put_first(str(tmp_path))
    assert sys.modules["stringprep"].__file__ != str(tmp_path / "stringprep.py")


def test_main_of_a_slave_has_what_that_of_its_parent_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "parent_program.py").write_text("class Order: pass")
    monkeypatch.setenv(defaults.MAIN_FILE, str(tmp_path / "parent_program.py"))
    main = type(sys)("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    parent_main.inherit()
    assert "parent_program" not in sys.modules, "imported before it is needed"
    assert main.Order is sys.modules.pop("parent_program").Order
    with pytest.raises(AttributeError, match="nothing"):
        main.nothing
    assert not hasattr(main, "__wrapped__") and defaults.MAIN_FILE not in os.environ

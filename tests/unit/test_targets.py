"""What may be typed as TARGET and KEY=VALUE, what it becomes, and what is said when it cannot be right."""

from __future__ import annotations

import importlib
import pickle
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal as Decimal_  # by another name than that of a test of names that cannot be resolved
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, List, Literal, Optional, Union
from uuid import UUID

import pytest

from taskmaster.errors import TargetError, UsageError, UserCodeError
from taskmaster.targets.frames import import_traceback, user_traceback
from taskmaster.targets.load import Target, load_target, parse_target
from taskmaster.targets.signature import convert_arguments

if TYPE_CHECKING:
    from decimal import Decimal

Write = Callable[[str, str], Path]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder of the test's own; what it imports is forgotten after it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = dict(sys.modules)
    importlib.invalidate_caches()
    yield tmp_path
    for name in set(sys.modules) - set(before):
        del sys.modules[name]


@pytest.fixture
def write(folder: Path) -> Write:
    def write(name: str, text: str) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        importlib.invalidate_caches()
        return path

    return write


# --- TARGET


@pytest.mark.parametrize("text, source, function, is_file", [
    ("jobs", "jobs", "get_jobs", False),
    ("pkg.jobs", "pkg.jobs", "get_jobs", False),
    ("pkg.jobs:rows", "pkg.jobs", "rows", False),
    ("jobs:Table.rows", "jobs", "Table.rows", False),
    ("jobs.py", "jobs.py", "get_jobs", True),
    ("./jobs.py", "jobs.py", "get_jobs", True),
    ("a//b/./jobs.py:rows", "a/b/jobs.py", "rows", True),
    ("../jobs.py", "../jobs.py", "get_jobs", True),
    ("/abs/jobs.py:rows", "/abs/jobs.py", "rows", True),
    ("C:\\x.py", "C:\\x.py", "get_jobs", True),
    ("C:\\x.py:rows", "C:\\x.py", "rows", True),
    ("C:/x.py", "C:/x.py", "get_jobs", True),
    ("./-x.py", "-x.py", "get_jobs", True),
    ("./a:b.py", "a:b.py", "get_jobs", True),
    ("./a:b.py:rows", "a:b.py", "rows", True),
    ("/c:d/a:b.py", "/c:d/a:b.py", "get_jobs", True),
    ("a:b.py", "a", "b.py", False),
])
def test_a_target_is_a_module_or_a_file_and_maybe_a_function(text, source, function, is_file):
    target = parse_target(text, "get_jobs")

    assert target == Target(source, function, is_file)
    assert str(target) == f"{source}:{function}"
    assert parse_target(str(target), "other") == target


@pytest.mark.parametrize("text", ["", ":", ":rows", "jobs:", "jobs.py:", "a:b:c", "jobs:a b", "jobs:a..b"])
def test_text_that_names_no_function_is_refused_with_the_forms_there_are(text):
    with pytest.raises(TargetError, match="module:function, file.py or file.py:function"):
        parse_target(text, "get_jobs")


def test_a_file_is_loaded_with_its_folder_first_on_the_path(write, folder):
    write("sub/helper_of_jobs.py", "rows = [1, 2]")
    write("sub/jobs_a.py", "from helper_of_jobs import rows\ndef get_jobs(): return rows")

    get_jobs = load_target(parse_target("sub/jobs_a.py", "get_jobs"))

    assert get_jobs() == [1, 2]
    assert sys.path[0] == str(folder / "sub")
    assert get_jobs.__module__ == "jobs_a"


def test_a_module_is_looked_for_in_the_working_folder_first(write, folder):
    write("pkg_a/__init__.py", "")
    write("pkg_a/jobs.py", "def rows(): return 'rows'")

    assert load_target(parse_target("pkg_a.jobs:rows", "get_jobs"))() == "rows"
    assert sys.path[0] == str(folder)


@pytest.mark.parametrize("again", ["jobs_b.py", "./jobs_b.py", "link/jobs_b.py", "jobs_b"])
def test_a_file_is_imported_once_by_whatever_name(write, folder, again):
    write("jobs_b.py", "def get_jobs(): pass\ndef handle_job(job): pass")
    (folder / "link").symlink_to(folder)

    get_jobs = load_target(parse_target("jobs_b.py", "get_jobs"))
    handle_job = load_target(parse_target(again, "handle_job"))

    assert get_jobs.__globals__ is handle_job.__globals__


def test_a_class_of_the_file_is_pickled_by_a_name_that_resolves(write):
    write("shapes_a.py", "class Shape: pass\ndef get_jobs(): return [Shape()]")

    get_jobs = load_target(parse_target("shapes_a.py", "get_jobs"))

    assert type(pickle.loads(pickle.dumps(get_jobs()[0]))) is get_jobs.__globals__["Shape"]


@pytest.mark.parametrize("name, module", [
    ("json.py", "taskmaster_file_json"),
    ("sched.py", "taskmaster_file_sched"),  # of the standard library, imported or not
    ("pytest.py", "taskmaster_file_pytest"),
    ("my-jobs.py", "my-jobs"),
    ("v1.2.py", "v1_2"),
    ("__main__.py", "taskmaster_file___main__"),
])
def test_a_file_named_as_another_module_gets_a_name_of_its_own(write, name, module):
    write(name, "class Shape: pass\ndef get_jobs(): return Shape()")

    job = load_target(parse_target(name, "get_jobs"))()

    assert type(job).__module__ == module
    assert type(pickle.loads(pickle.dumps(job))) is type(job)


def test_a_file_named_as_a_standard_module_does_not_stand_before_it(write):
    sys.modules.pop("sched", None)
    write("sched.py", "import sched\ndef get_jobs(): return sched")

    assert hasattr(load_target(parse_target("sched.py", "get_jobs"))(), "scheduler")


def test_two_files_of_one_stem_are_two_modules(write):
    files = [write(f"{folder}/tasks_a.py", f"def get_jobs(): return {folder!r}") for folder in "xyz"]

    loaded = [load_target(parse_target(str(file), "get_jobs")) for file in files]

    assert [get_jobs() for get_jobs in loaded] == ["x", "y", "z"]
    assert [get_jobs.__module__ for get_jobs in loaded] == [
        "tasks_a", "taskmaster_file_tasks_a", "taskmaster_file_tasks_a_2",
    ]


def test_a_method_is_found_by_its_dotted_name(write):
    write("jobs_c.py", "class Table:\n  @staticmethod\n  def rows(): return 'rows'")

    assert load_target(parse_target("jobs_c.py:Table.rows", "get_jobs"))() == "rows"


@pytest.mark.parametrize("text, says", [
    ("no_such", "No module named 'no_such' .*working folder and sys.path"),
    ("no_such.jobs", "No module named 'no_such' "),
    ("pkg_b.no_such", "No module named 'pkg_b.no_such' "),
    ("jobs_d.handle", "jobs_d has a 'handle'. Did you mean jobs_d:handle?"),
    ("jobs_f", "Did you mean 'jobs_d'"),
    ("jobs_e.py", "No file 'jobs_e.py' .*Did you mean 'jobs_d.py'"),
    ("sub/", "'sub' is a folder"),
    (".", "is a folder"),
    ("sub", "'sub' is a folder"),
    ("notes.txt", "'notes.txt' is not a .py file"),
    ("./notes.txt", "'notes.txt' is not a .py file"),
    ("jobs_d.py:handel", "no 'handel'. Did you mean 'handle'.*It has: Table, handle"),
    ("jobs_d:Table.rows", "no 'Table.rows'. Did you mean 'row'.*It has: row."),
    ("jobs_d:number", "jobs_d:number is not a function: its type is int"),
    ("jobs_d:number.x", "no 'number.x'"),
    ("empty_a", "It defines no functions"),
])
def test_what_cannot_be_found_or_called_is_named_with_what_is_near(write, text, says):
    write("pkg_b/__init__.py", "")
    write("jobs_d.py", """
        from textwrap import dedent
        number = 5
        def handle(job): pass
        class Table:
            def row(self): pass
    """)
    write("empty_a.py", "")
    write("notes.txt", "")
    write("sub/jobs.py", "")

    with pytest.raises(TargetError, match=says) as caught:
        load_target(parse_target(text, "get_jobs"))
    assert not isinstance(caught.value, UserCodeError)


@pytest.mark.parametrize("text", ["broken_a", "broken_a.py"])
@pytest.mark.parametrize("code, says", [
    ("import no_such_dependency", "No module named 'no_such_dependency'. Install it"),
    ("import json.no_such", "'json.no_such'"),
    ("1 / 0", "ZeroDivisionError: division by zero. Fix it"),
    ("def (", "SyntaxError: "),
    ("raise SystemExit(3)", "SystemExit: 3. .*__main__"),
    ("class E(BaseException): pass\nraise E('odd')", "odd"),
])
def test_a_module_that_raises_while_imported_is_the_users_failure(write, text, code, says):
    write("broken_a.py", code)

    with pytest.raises(UserCodeError, match=f"Importing {text} failed: .*{says}") as caught:
        load_target(parse_target(text, "get_jobs"))

    shown = import_traceback(caught.value)
    assert "broken_a.py" in shown and shown.endswith("\n")
    assert "taskmaster/targets" not in shown and "importlib" not in shown
    assert "broken_a" not in sys.modules


def test_the_traceback_keeps_every_frame_of_the_users(write):
    write("deep_a.py", "def fall(): raise ValueError('deep')\nfall()")
    write("broken_b.py", "import deep_a")

    with pytest.raises(UserCodeError) as caught:
        load_target(parse_target("broken_b.py", "get_jobs"))

    shown = import_traceback(caught.value)
    assert shown.startswith("Traceback (most recent call last):\n")
    assert shown.index("broken_b.py") < shown.index("deep_a.py") < shown.index("ValueError: deep")


def test_a_missing_module_inside_the_users_package_is_not_a_missing_target(write):
    write("pkg_c/__init__.py", "import pkg_c.gone")
    write("pkg_c/jobs.py", "")

    with pytest.raises(UserCodeError, match="pkg_c.gone"):
        load_target(parse_target("pkg_c.jobs", "get_jobs"))


def test_ctrl_c_during_an_import_stays_ctrl_c(write):
    write("slow_a.py", "raise KeyboardInterrupt")

    with pytest.raises(KeyboardInterrupt):
        load_target(parse_target("slow_a.py", "get_jobs"))


def test_a_traceback_begins_at_the_users_first_frame(write):
    write("raises_a.py", "def handle_job(job): return int(job)")
    handle_job = load_target(parse_target("raises_a.py", "handle_job"))
    namespace = {"__name__": "taskmaster.ours"}
    exec("def call(handler): handler('x')", namespace)

    with pytest.raises(ValueError) as caught:
        namespace["call"](handle_job)
    caught.value.__traceback__ = caught.value.__traceback__.tb_next  # pytest's own frame

    assert user_traceback(caught.value).splitlines()[1].endswith("in handle_job")


def test_a_traceback_without_a_frame_of_the_users_is_shown_in_full():
    namespace = {"__name__": "taskmaster.ours"}
    exec("def call(): int('x')", namespace)

    with pytest.raises(ValueError) as caught:
        namespace["call"]()
    caught.value.__traceback__ = caught.value.__traceback__.tb_next

    assert user_traceback(caught.value).splitlines()[1].endswith("in call")


def test_an_error_without_a_cause_has_no_traceback():
    assert import_traceback(UserCodeError("made here")) == ""


# --- KEY=VALUE


def typed(
    last: int = 0, *, table: str = "t", size: int = 1, share: float = 0.5, dry: bool = False,
    root: Path = Path("."), most: Optional[int] = None, name: str | None = None, when: int | float = 0,
    either: Union[int, str] = 0,
) -> None:
    """Its annotations are text, as this module imports annotations from __future__."""


class Colour(Enum):
    RED = 1
    BLUE = "b"


class Own:
    """A class that no text becomes."""


def rich(
    last: int = 0, *, ids: list[int] = [], names: List[str] = [], pair: tuple[float, ...] = (), tags: set[str] = set(),
    rows: Optional[Sequence[int]] = None, bare: list = [], day: date = date(2020, 1, 1), at: datetime | None = None,
    cost: Decimal_ = Decimal_(0), key: UUID | None = None, kind: Literal["a", 3] = "a", colour: Colour = Colour.RED,
    days: list[date] = [], maybe: Optional[Literal["x"]] = None, own: Own | None = None, table: dict[str, int] = {},
    mixed: tuple[int, str] = (1, "a"), anything: Any = 5,
) -> None:
    """What is not plain: series, dates, choices."""


def rich_by_default(last=0, day=date(2020, 1, 1), colour=Colour.RED, cost=Decimal_(0)):
    pass


def by_default(last=0, text="t", size=1, share=0.5, dry=False, root=Path("."), most=None, many=()):
    pass


@pytest.mark.parametrize("function, pair, value", [
    (typed, "table=5", "5"),
    (typed, "table=a=b", "a=b"),
    (typed, "table=", ""),
    (typed, "size=-3", -3),
    (typed, "share=1e3", 1000.0),
    (typed, "share=2", 2.0),
    (typed, "dry=Yes", True),
    (typed, "dry=on", True),
    (typed, "dry=1", True),
    (typed, "dry=false", False),
    (typed, "dry=0", False),
    (typed, "root=a/b", Path("a/b")),
    (typed, "root=~/b", Path.home() / "b"),
    (typed, "most=7", 7),
    (typed, "name=7", "7"),
    (typed, "when=7", 7),
    (typed, "when=7.5", 7.5),
    (typed, "either=7", 7),
    (typed, "either=x", "x"),
    (by_default, "text=5", "5"),
    (by_default, "size=5", 5),
    (by_default, "share=5", 5.0),
    (by_default, "dry=no", False),
    (by_default, "root=a", Path("a")),
    (by_default, "most=5", "5"),
    (by_default, "many=5", "5"),
    (partial(typed, size=2), "size=3", 3),
    (rich, "ids=1,2,3", [1, 2, 3]),
    (rich, "ids=", []),
    (rich, "names=a,b", ["a", "b"]),
    (rich, "pair=1,2.5", (1.0, 2.5)),
    (rich, "tags=a,b,a", {"a", "b"}),
    (rich, "rows=4", [4]),
    (rich, "bare=1,x", ["1", "x"]),
    (rich, "day=2024-12-31", date(2024, 12, 31)),
    (rich, "days=2024-12-31,2025-01-01", [date(2024, 12, 31), date(2025, 1, 1)]),
    (rich, "at=2024-12-31T10:30", datetime(2024, 12, 31, 10, 30)),
    (rich, "cost=1.10", Decimal_("1.10")),
    (rich, "key=12345678123456781234567812345678", UUID("12345678123456781234567812345678")),
    (rich, "kind=a", "a"),
    (rich, "kind=3", 3),
    (rich, "maybe=x", "x"),
    (rich, "colour=BLUE", Colour.BLUE),
    (rich, "anything=7", 7),
    (rich_by_default, "day=2024-12-31", date(2024, 12, 31)),
    (rich_by_default, "colour=RED", Colour.RED),
    (rich_by_default, "cost=2", Decimal_(2)),
])
def test_a_value_is_converted_by_annotation_else_by_the_default(function, pair, value):
    given = convert_arguments(function, [pair])

    assert given == {pair.partition("=")[0]: value}
    assert type(next(iter(given.values()))) is type(value)


def unresolved(price: Decimal | None = None, count: Decimal = 0):  # type: ignore[assignment]
    """Decimal is imported for the type checker only."""


def test_an_annotation_that_cannot_be_resolved_leaves_it_to_the_default():
    assert convert_arguments(unresolved, ["price=5", "count=5"]) == {"price": "5", "count": 5}


def get_jobs(last=0, *, table: str) -> list[int]:
    return []


def anything(last=0, **options: Any) -> None:
    pass


def test_any_key_is_taken_by_a_function_of_any_key():
    assert convert_arguments(anything, ["a=1", "b=x"]) == {"a": "1", "b": "x"}


def test_a_builtin_that_tells_no_signature_takes_any_key():
    assert convert_arguments(max, ["a=1"]) == {"a": "1"}


@pytest.mark.parametrize("function, pairs, says", [
    (get_jobs, [], "Missing table=VALUE"),
    (get_jobs, ["table"], "'table' is not KEY=VALUE"),
    (get_jobs, ["=x"], "'=x' is not KEY=VALUE"),
    (get_jobs, ["tabel=x"], "No argument 'tabel'. Did you mean 'table'?"),
    (get_jobs, ["table=x", "table=x"], "'table' is given twice"),
    (get_jobs, ["table=x", "last=5"], "'last' comes from the checkpoint"),
    (anything, ["last=5"], "'last' comes from the checkpoint"),
])
def test_arguments_that_do_not_fit_are_refused_with_the_signature(function, pairs, says):
    shown = {"get_jobs": "get_jobs(last=0, *, table: str)", "anything": "anything(last=0, **options: Any)"}

    with pytest.raises(UsageError) as caught:
        convert_arguments(function, pairs)

    assert str(caught.value).startswith(says)
    assert str(caught.value).endswith(f"The signature is {shown[function.__name__]}.")


@pytest.mark.parametrize("pair, wanted", [
    ("size=many", "int"), ("size=1.5", "int"), ("most=none", "int"), ("share=half", "float"),
    ("dry=maybe", "bool"), ("dry=", "bool"), ("when=now", "int or float"), ("root=~no_such_user/x", "Path"),
])
def test_a_value_that_cannot_be_converted_is_named_with_what_was_wanted(pair, wanted):
    with pytest.raises(UsageError, match=f"^{pair} is not a valid {wanted}. The signature is typed"):
        convert_arguments(typed, [pair])


@pytest.mark.parametrize("pair, says", [
    ("ids=1,x", "is not a valid list of int, separated by commas"), ("day=today", "is not a valid date such as 2024"),
    ("kind=b", "is not one of a, 3"), ("colour=red", "is not one of RED, BLUE"), ("cost=much", "is not a valid Dec"),
    ("own=1", "cannot be converted to"), ("table=a:1", "cannot be converted to dict[str, int]"),
    ("mixed=1,a", "cannot be converted to"),
])
def test_a_value_that_cannot_become_what_the_annotation_asks_for_is_refused(pair, says):
    """It had arrived as text, where a list, a date or a choice was asked for."""
    with pytest.raises(UsageError) as caught:
        convert_arguments(rich, [pair])

    assert str(caught.value).startswith(f"{pair} {says}")
    name = pair.partition("=")[0]
    assert "signature" in str(caught.value) or f"def get_jobs(last=0, *, {name}: str)" in str(caught.value)


def test_a_last_without_a_default_is_refused_because_a_first_run_passes_none():
    def get_jobs(last): ...

    with pytest.raises(TargetError, match="give it a default like 0"):
        convert_arguments(get_jobs, [])


def test_a_parameter_that_no_key_can_reach_is_refused():
    def get_jobs(table, /): ...

    with pytest.raises(TargetError, match="before '/'"):
        convert_arguments(get_jobs, [])

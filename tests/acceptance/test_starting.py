"""Slaves start whatever the user's files are called, wherever they are, and whatever the user's code does meanwhile."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest
from helpers import ROOT, Place

#: As the installed commands start, which do not search the working folder.
COMMAND = "import sys; sys.path.remove(''); from taskmaster.cli.{} import main; main()"
OURS = ("click", "gevent", "greenlet", "progressbar", "python_utils", "taskmaster", "typing_extensions", "zmq")
SHADOW = '''import os, sys
with open({found!r}, "a") as file:
    file.write(f"{{os.path.basename(sys.argv[0])}}: {name}\\n")
raise ImportError("this is no module of Python's")
'''
FAILING = '''
class Odd(Exception): pass

def handle_job(n):
    if n == 1: raise Odd("a \\udcff") from ValueError(n)
    if n == 2: eval("1 +")
    if n == 3: nobody_defined_this
    if n == 4: raise SystemExit
    if n == 5: handle_job(n)
    if n == 6: (1
                + "1")
    if n == 7: print("hello")
    record(n)
'''
RUN = '''
from taskmaster import Job, run
{}
if __name__ == "__main__":
    outcome = run(get_jobs, handle_job, slaves=1)
    print(outcome.exit_code, outcome.stats.handled)
'''
ORDER = '''
class Order:
    def __init__(self, number):
        self.number = number
'''
JOBS = '''
def get_jobs(last=0):
    yield from range(last, 20)
'''
ORDERS = '''
def get_jobs(last=0):
    for number in range(last, 20):
        yield Job(Order(number), cursor=number + 1)
'''
HANDLER = '''
def handle_job(order):
    assert order.number >= 0
'''


def shadows(place: Place, *names: str) -> Path:
    """Files of these names beside the job file, each of which says so if it is imported."""
    found = place.folder / "shadows-found"
    for name in names:
        (place.folder / f"{name}.py").write_text(SHADOW.format(found=str(found), name=name))
    return found


@pytest.mark.parametrize("handler", ["def", "async def"])
@pytest.mark.parametrize("pool", [[], ["--job-timeout", "30"], ["--pool", "greenlets"]])
def test_no_file_beside_the_job_file_is_taken_for_a_module_that_a_command_or_a_slave_needs(
        place: Place, pool: list[str], handler: str) -> None:
    if handler != "def" and "greenlets" in pool:
        pytest.skip("greenlets run no async handlers")
    place.write(FAILING.replace("def handle_job", f"{handler} handle_job"))
    found = shadows(place, *(name for name in sys.stdlib_module_names if name not in ("this", "antigravity")), *OURS)
    ended = place.python("-c", COMMAND.format("run"), "work.py", "2", "n=40", "--attempts", "1", *pool,
                         "--max-failures", "none")
    assert ended.code == 3, ended.err
    assert not found.exists(), found.read_text()
    failing = 6 if handler == "def" else 5  # an async handler that calls itself only makes a coroutine
    assert len(place.handled()) == 40 - failing and len(place.failures()) == failing


@pytest.mark.parametrize("typo, words", [(["n=5", "x=5"], "Did you mean"), (["--handle-job-callback", "handle_jo"],
                                                                            "Did you mean 'handle_job'?")])
def test_no_file_of_the_users_is_taken_for_a_module_that_an_error_message_needs(
        place: Place, typo: list[str], words: str) -> None:
    place.write("def get_jobs(last=0, n: int = 5, xx=1): return []\n")
    found = shadows(place, "difflib", "pkgutil", "ast", "heapq", "unicodedata")
    ended = place.python("-c", COMMAND.format("run"), "work.py", "1", *typo)
    assert ended.code == 2 and words in ended.err, ended.err
    assert not found.exists(), found.read_text()


def test_no_file_of_the_users_is_taken_for_a_module_that_the_conversion_of_arguments_needs(place: Place) -> None:
    place.write("from decimal import Decimal\ndef get_jobs(last=0, n: Decimal | list[int] = 5): yield from n\n")
    found = shadows(place, "datetime", "uuid", "zoneinfo", "pickle", "platform")
    ended = place.python("-c", COMMAND.format("run"), "work.py", "1", "n=1,2")
    assert ended.code == 0 and len(place.handled()) == 2, ended.err
    assert not found.exists(), found.read_text()


@pytest.mark.parametrize("name", ["queue", "token", "random", "select", "click", "zmq"])
def test_the_job_file_may_have_the_name_of_a_module_that_is_needed(place: Place, name: str) -> None:
    place.write(name=f"{name}.py")
    ended = place.python("-c", COMMAND.format("run"), f"{name}.py", "1")
    assert ended.code == 0 and len(place.handled()) == 100, ended.err


@pytest.mark.parametrize("name", ["./-x.py", "./a:b.py", "-x.py"])
def test_the_job_file_may_have_an_odd_name(place: Place, name: str) -> None:
    place.write(name=name)
    ended = place.run("run", "--", name, 1)
    assert ended.code == 0 and len(place.handled()) == 100, ended.err


# -- what is imported where


@pytest.mark.parametrize("script, more", [
    (ORDER + ORDERS + HANDLER + RUN.format(""), {}),
    (ORDER + ORDERS + RUN.format("from other import handle_job"), {"other.py": HANDLER}),
    (ORDER + HANDLER + RUN.format("from other import get_jobs"),
     {"other.py": "from taskmaster import Job\nimport sys\nclass Order: pass\n" + ORDERS.replace(
         "Job(Order", "Job(sys.modules['__main__'].Order")})])
def test_payloads_may_be_of_a_class_of_the_script(place: Place, script: str, more: dict[str, str]) -> None:
    for name, text in {"mine.py": script, **more}.items():
        (place.folder / name).write_text(text)
    ended = place.python("mine.py")
    assert ended.out == "0 20\n", ended.err


def test_payloads_may_be_of_a_class_of_a_module_that_is_run_by_its_name(place: Place) -> None:
    package = place.folder / "shop"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "shared.py").write_text(HANDLER)
    (package / "__main__.py").write_text(ORDER + ORDERS + RUN.format("from .shared import handle_job"))
    (package / "orders.py").write_text(ORDER + ORDERS + HANDLER + RUN.format("from . import shared"))
    assert place.python("-m", "shop").out == place.python("-m", "shop.orders").out == "0 20\n"


def test_slaves_search_where_the_script_does_and_not_where_they_are(place: Place) -> None:
    app, more = place.folder / "app", place.folder / "more"
    for folder in (app, more):
        folder.mkdir()
    (app / "jobs.py").write_text(JOBS + "\nimport extra\ndef handle_job(n): extra.check(n)\n")
    (more / "extra.py").write_text("def check(n): assert n >= 0\n")
    (app / "main.py").write_text(f"import sys; sys.path.append({str(more)!r})\n"
                                 + RUN.format("from jobs import get_jobs, handle_job"))
    (place.folder / "jobs.py").write_text("raise RuntimeError('the wrong one')")
    ended = place.python("app/main.py")
    assert ended.out == "0 20\n", ended.err


def test_a_taskmaster_in_a_zip_file_starts_slaves(place: Place) -> None:
    with zipfile.ZipFile(place.folder / "all.zip", "w") as archive:
        for path in (ROOT / "taskmaster").rglob("*.py"):
            archive.write(path, path.relative_to(ROOT))
    ended = place.python("-m", "taskmaster.cli.run", "work.py", "1", PYTHONPATH=str(place.folder / "all.zip"))
    assert ended.code == 0 and len(place.handled()) == 100, ended.err


def test_a_function_without_a_file_is_refused_with_the_way_out(place: Place) -> None:
    code = JOBS + "def handle_job(n): pass\n" + RUN.format("")
    ended = place.python("-c", code)
    assert "has no file whose name ends with .py" in ended.err and "from jobs import" in ended.err


def test_the_method_of_an_instance_is_refused_with_the_way_out(place: Place) -> None:
    (place.folder / "mine.py").write_text(JOBS + "class Worker:\n    def handle(self, n): pass\n" + RUN.format(
        "handle_job = Worker().handle"))
    assert "it would lose its instance" in place.python("mine.py").err


def test_a_missing_guard_is_named(place: Place) -> None:
    script = JOBS + "def handle_job(n): pass\n" + RUN.format("").replace('if __name__ == "__main__":', "if True:")
    (place.folder / "mine.py").write_text(script)
    assert 'if __name__ == "__main__":' in place.python("mine.py").err


# -- the working folder


@pytest.mark.parametrize("at_import", ["", "os.chdir('sub')\n", "os.chdir(os.path.dirname(__file__))\n"])
@pytest.mark.parametrize("target", ["sub/work.py", "sub.work"])
def test_user_code_may_change_the_working_folder(place: Place, at_import: str, target: str) -> None:
    (place.folder / "sub").mkdir()
    (place.folder / "data").mkdir()
    jobs = "def get_jobs(last=0):\n    os.chdir('/')\n    yield from range(last, 50)\n" if not at_import else ""
    place.write(at_import + jobs, name="sub/work.py")
    ended = place.run("run", target, 2, "--summary", "summary.json")
    assert ended.code == 0, ended.err
    assert place.summary()["failed"] == 0
    assert [path.name for path in place.folder.glob(".taskmaster/*/checkpoint.json")] == ["checkpoint.json"]
    again = place.run("run", target, 2, "--state", ".taskmaster/other", "--log-level", "debug")
    assert again.code == 0 and (place.folder / ".taskmaster" / "other" / "checkpoint.json").exists()


@pytest.mark.parametrize("target, words", [("json", "'get_jobs'"), ("work.py", "No file 'work.py'"),
                                           ("nosuch", "No module named 'nosuch'")])
def test_a_working_folder_that_was_removed_is_no_traceback(place: Place, target: str, words: str) -> None:
    code = f"import os; os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone'); {COMMAND.format('run')}"
    ended = place.python("-c", code, target, "1")
    assert (ended.code, ended.tracebacks) == (2, 0) and words in ended.err, ended.err

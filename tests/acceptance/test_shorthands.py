"""Sources that are typed in place of a TARGET: lines:urls.txt and its like, with --handler."""

from __future__ import annotations

import sqlite3

import pytest
from helpers import Place, free_port, wait_until

HANDLER = "def handle_job(job):\n    with open('handled.txt', 'a') as out:\n        out.write(repr(job) + '\\n')\n"


@pytest.fixture
def work(place: Place) -> Place:
    folder = place.folder
    (folder / "fetch.py").write_text(HANDLER)
    (folder / "x.txt").write_text("1\n2\n3\n")
    (folder / "x.csv").write_text("id;n\n1;a\n2;b\n")
    (folder / "photos").mkdir()
    for name in ("a.jpg", "b.jpg", "c.txt"):
        (folder / "photos" / name).touch()
    with sqlite3.connect(folder / "shop.db") as db:
        db.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, day TEXT)")
        db.execute("INSERT INTO orders VALUES (1, 'Mon'), (2, 'Tue')")
    db.close()
    return place


def handled(place: Place) -> list[str]:
    path = place.folder / "handled.txt"
    return sorted(path.read_text().splitlines()) if path.exists() else []


@pytest.mark.parametrize("source, pairs, jobs", [
    ("lines:x.txt", [], ["'1'", "'2'", "'3'"]), ("jsonl:x.txt", [], ["1", "2", "3"]),
    ("csv:x.csv", ["delimiter=;"], ["{'id': '1', 'n': 'a'}", "{'id': '2', 'n': 'b'}"]),
    ("csv:x.csv", ["delimiter=;", "names=a,b"],
     ["{'a': '1', 'b': 'a'}", "{'a': '2', 'b': 'b'}", "{'a': 'id', 'b': 'n'}"]),
    ("csv:x.txt", ["header=no"], ["['1']", "['2']", "['3']"]),
    ("lines:x.txt", ["encoding=latin-1"], ["'1'", "'2'", "'3'"]),
    ("files:photos/*.jpg", [], ["'photos/a.jpg'", "'photos/b.jpg'"]),
    ("files:photos", [], ["'photos/a.jpg'", "'photos/b.jpg'", "'photos/c.txt'"]),
    ("sql:sqlite:///shop.db?table=orders&key=id", [], ["{'id': 1, 'day': 'Mon'}", "{'id': 2, 'day': 'Tue'}"]),
    ("sql:sqlite:///shop.db?table=orders&key=day,id&timeout=3", ["page=1"],
     ["{'id': 1, 'day': 'Mon'}", "{'id': 2, 'day': 'Tue'}"]),
])
def test_a_source_that_is_typed_is_run_and_resumed(work: Place, source: str, pairs: list[str],
                                                   jobs: list[str]) -> None:
    first = work.run("run", source, 1, *pairs, "--handler", "fetch.py", "--limit", "1")
    assert first.code == 0 and len(handled(work)) == 1, first.err
    second = work.run("run", source, 1, *pairs, "--handler", "fetch.py")
    assert second.code == 0 and handled(work) == jobs, second.err


def test_two_handlers_of_one_source_are_two_runs_and_two_sources_as_well(work: Place) -> None:
    (work.folder / "parse.py").write_text(HANDLER)
    for handler, source in (("fetch.py", "lines:x.txt"), ("parse.py", "lines:x.txt"), ("fetch.py", "jsonl:x.txt")):
        assert work.run("run", source, 1, "--handler", handler).code == 0
    assert len(handled(work)) == 9
    names = sorted(path.name.rpartition("-")[0] for path in (work.folder / ".taskmaster").iterdir())
    assert names == ["fetch.handle_job", "fetch.handle_job", "parse.handle_job"]


def test_a_source_of_a_file_may_have_its_handler_in_another(work: Place) -> None:
    (work.folder / "jobs.py").write_text("def get_jobs(last=0): return range(last, 3)\n")
    (work.folder / "more.py").write_text("def act(job): pass\n"
                                         "def handle_result(job, result): print('result of', job)\n")
    assert work.run("run", "jobs.py", 1, "--handler", "fetch.py").code == 0
    assert handled(work) == ["0", "1", "2"]
    told = work.run("run", "jobs.py", 1, "--handler", "more.py:act")
    assert told.code == 0 and "offset=2" in told.out


def test_options_and_files_that_are_wrong_are_explained_in_a_sentence(work: Place) -> None:
    def told(*arguments: object) -> str:
        ended = work.run("run", *arguments)
        assert ended.code in (2, 4) and ended.tracebacks == 0, ended.err
        assert ended.err.count("Error: ") == 1
        return ended.err

    assert "is a source without a handler. Add one, for example --handler" in told("lines:x.txt", 1)
    assert "does not say what to read. Write files:PATTERN" in told("files:", 1, "--handler", "fetch.py")
    assert "Write sql:URL?table=TABLE" in told("sql:sqlite:///shop.db", 1, "--handler", "fetch.py")
    assert "No argument 'folow'. Did you mean 'follow'?" in told("lines:x.txt", 1, "folow=1", "--handler", "fetch.py")
    assert "there is no such file" in told("lines:y.txt", 1, "--handler", "fetch.py")
    assert "cannot be listed" in told("files:pictures", 1, "--handler", "fetch.py")
    assert "there is no table 'order'" in told("sql:sqlite:///shop.db?table=order", 1, "--handler", "fetch.py")
    assert "Write every:60" in told("every:often", 1, "--handler", "fetch.py")
    assert "No file 'fetsh.py'" in told("lines:x.txt", 1, "--handler", "fetsh.py")
    assert "No argument 'no_such'" in told("csv:x.csv", 1, "no_such=1", "--handler", "fetch.py")
    assert "delimiter" in told("csv:x.csv", 1, "delimiter=ab", "--handler", "fetch.py")
    assert "page must be at least 1" in told("sql:sqlite:///shop.db?table=orders", 1, "page=0", "--handler", "fetch.py")


def test_a_run_that_follows_a_file_takes_what_is_added_and_ends_at_once_when_it_is_told_to(work: Place) -> None:
    run = work.start("run", "lines:x.txt", 1, "follow=yes", "--handler", "fetch.py")
    wait_until(lambda: len(handled(work)) == 3)
    with (work.folder / "x.txt").open("a") as file:
        file.write("4\n")
    wait_until(lambda: len(handled(work)) == 4)
    run.signal(2)
    ended = run.end()
    assert ended.code == 75 and "get_jobs has not returned" not in ended.err, ended.err


def test_a_program_runs_a_source_and_each_handler_has_its_own_state(work: Place) -> None:
    (work.folder / "main.py").write_text(
        "import fetch, taskmaster\nfrom taskmaster import sources\ndef other(job): fetch.handle_job(int(job))\n"
        "if __name__ == '__main__':\n    for handler in (fetch.handle_job, other, other):\n"
        "        print(taskmaster.run(sources.lines('x.txt'), handler, slaves=1).exit_code)\n")
    told = work.python("main.py")
    assert told.out.split() == ["0", "0", "0"] and handled(work) == ["'1'", "'2'", "'3'", "1", "2", "3"], told.err


def test_a_password_in_a_url_neither_names_the_state_nor_stands_in_it(work: Place) -> None:
    for password in ("secret1", "secret2"):
        url = f"sql:postgresql+nodriver://ada:{password}@example/shop?table=t"
        ended = work.run("run", url, 1, "--handler", "fetch.py", "--summary", "summary.json")
        assert ended.code == 4, ended.err
    [state] = (work.folder / ".taskmaster").iterdir()
    assert not any(b"secret" in path.read_bytes() for path in state.rglob("*") if path.is_file())


@pytest.mark.parametrize("options, slave, code", [
    ([], "fetch.py", 0), (["--handler", "fetch.py"], "fetch.py", 0), (["--handler", "other.py"], "fetch.py", 78)])
def test_a_master_compares_slaves_with_its_handler_and_takes_any_where_it_has_none(work: Place, options: list[str],
                                                                                   slave: str, code: int) -> None:
    (work.folder / "other.py").write_text(HANDLER)
    address = f"tcp://127.0.0.1:{free_port()}"
    master = work.start("master", "lines:x.txt", *options, "--address", address, "--insecure")
    ended = work.run("slave", slave, "--address", address, "--insecure")
    assert ended.code == code, ended.err
    if code:
        assert "This slave's handler is" in ended.err and "Start slaves with other.py" in ended.err
        master.signal(2)
        assert master.end().code == 75
    else:
        assert master.end().code == 0 and handled(work) == ["'1'", "'2'", "'3'"]

"""What the tests of sources share: a source that is cut anywhere and resumed."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from taskmaster import sources
from taskmaster.core.failure import FailureRecord, to_line
from taskmaster.core.portable import freeze, pack, thaw, unpack
from taskmaster.job import NO_CURSOR, Job
from taskmaster.sources.push import push

GetJobs = Callable[..., Iterable[Job]]


def saved(cursor: Any) -> Any:
    """The cursor as a checkpoint gives it back."""
    return unpack(json.loads(json.dumps(pack(thaw(freeze(cursor))))))


def payloads(get_jobs: GetJobs, **last: Any) -> list[Any]:
    return [job.payload for job in get_jobs(**last)]


def assert_resumes_anywhere(get_jobs: GetJobs) -> list[Any]:
    """Cut after each job and resumed, it yields the rest: nothing missing, nothing twice. Returns all payloads."""
    jobs = list(get_jobs())
    assert all(job.cursor is not NO_CURSOR and type(job.cursor) is not int for job in jobs)
    for done, job in enumerate(jobs, 1):
        assert list(get_jobs(last=saved(job.cursor))) == jobs[done:], f"after {done} of {len(jobs)}"
    return [job.payload for job in jobs]


def _written(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder / name


def _tree(folder: Path) -> Path:
    for name in ("c/1", "a/2/3", "a.b", "a/1", "b"):
        path = folder / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder / "tree"


def _table(folder: Path) -> Path:
    with sqlite3.connect(folder / "t.db") as database:
        database.execute("CREATE TABLE t (a TEXT, b INTEGER, PRIMARY KEY (a, b))")
        database.executemany("INSERT INTO t VALUES (?, ?)", [(a, b) for a in ("x", "", "y") for b in (2, -1)])
    database.close()
    return folder / "t.db"


def failed(offset: int, payload: Any, **fields: Any) -> bytes:
    """A line of a failures file."""
    texts = dict.fromkeys(("error", "message", "traceback", "handler", "slave", "time", "shown"), "")
    packed = fields.pop("packed", pack(payload))
    record = dict(offset=offset, cursor=None, attempts=3, kind="raised", payload=packed, **texts)
    return to_line(FailureRecord(**{**record, **fields}))


def _failures(folder: Path) -> Path:
    (folder / "failures.jsonl").write_bytes(b"".join(failed(n, (n, "x")) for n in range(5)))
    return folder


def _spool(folder: Path) -> Path:
    """Of two processes."""
    for number in range(6):
        if number == 3:
            run_in_child("import sys, taskmaster; taskmaster.push(sys.argv[1], {'of': 'child'})", str(folder / "spool"))
        push(folder / "spool", [number])
    return folder / "spool"


def run_in_child(program: str, *arguments: str) -> None:
    """Run a program in a process of its own."""
    subprocess.run([sys.executable, "-c", program, *arguments], check=True, timeout=50)


#: Each kind of source, made of what it puts into a folder: at least four jobs.
KINDS: dict[str, Callable[[Path], GetJobs]] = {
    "lines": lambda folder: sources.lines(_written(folder, "x", "a\n\nb\r\nc\nd")),
    "jsonl": lambda folder: sources.jsonl(_written(folder, "x", '1\n\n"b"\n[3]\n{"d": 4}\n')),
    "csv": lambda folder: sources.csv(_written(folder, "x", 'id,name\n1,a\n2,"b\nb"\n\n3,c\n4,d\n')),
    "failures": lambda folder: sources.failures(_failures(folder)),
    "files": lambda folder: sources.files(_tree(folder)),
    "numbers": lambda folder: sources.numbers(-3, 7, step=2),
    "chunks": lambda folder: sources.chunks(sources.numbers(0, 11), 3),
    "rows": lambda folder: sources.rows(f"sqlite:///{_table(folder)}", "t", key=["a", "b"], page=2),
    "shard": lambda folder: sources.shard(sources.numbers(0, 40), 1, 3),
    "spool": lambda folder: sources.spool(_spool(folder)),
}

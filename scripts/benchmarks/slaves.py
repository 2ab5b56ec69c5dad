"""The `slaves` workload: 1 to 1,000 slaves' sessions, played by one process, against one real master.

For each number of sessions it reads the rate of no-op jobs with a window of 1,000 jobs for each session; the requests
that a master answers on one core where each is for one job, in turns with a bare ROUTER loop; how long all take to
join; and what an idle fleet costs. The jobs that the sessions settled are compared with the master's own count.

The master and the process that plays its slaves share the machine, so the load of the latter is reported as well.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import click

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [path for path in (str(HERE), str(ROOT)) if path not in sys.path]

from slaves_crowd import ConnectionLimit  # noqa: E402

COUNTS = (1, 2, 10, 100, 1000)
WINDOW_JOBS = 1000  # for each session
WARM_SECONDS = 1.0  # until appetites have grown and the window is full
TURNS = 3
END_SECONDS = 30.0  # for a master to start, or to end
FULL = 0.9  # of a core: a thread that busy may be what limits the rest
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Load:
    """The readings of a stretch of play; CPU in seconds, for the crowd that of its Python."""

    seconds: float
    jobs: int
    requests: int
    master_cpu: float
    crowd_cpu: float


@dataclass(frozen=True)
class Row:
    """One number of sessions. Rates are per second, CPU is microseconds a request or a share of a core."""

    sessions: int
    join_seconds: float
    jobs_per_second: float
    jobs_per_lease: float
    jobs_master_core: float
    jobs_crowd_core: float
    requests_per_second: float
    bare_per_second: float
    master_us: float
    bare_us: float
    crowd_core: float
    idle_core: float
    settled: int  # by the sessions, in all
    handled: int  # by the master's count; the same, or `run` raises

    @property
    def crowd_limits(self) -> bool:
        """Whether the crowd was so busy that the master may be faster than the reading."""
        return max(self.jobs_crowd_core, self.crowd_core) > FULL


class Miscounted(Exception):
    """The master's count of jobs differs from that of its slaves."""


class NotStarted(Exception):
    """The master did not start; with its output."""


def run(counts: Sequence[int] = COUNTS, seconds: float = 3.0, turns: int = TURNS) -> list[Row]:
    """A row for each number of sessions; every stretch that is measured takes `seconds`.

    Raises Miscounted, NotStarted, and Stalled of slaves_crowd.
    """
    _allow_files(2 * max(counts) + 100)
    return [_row(count, seconds, turns) for count in counts]


def _row(count: int, seconds: float, turns: int) -> Row:
    joined, jobs, tally = _jobs(count, seconds)
    pairs = [(_requests(count, seconds), _bare(count, seconds)) for _ in range(turns)]
    requests, bare = [one for (one, _), _ in pairs], [one for _, one in pairs]
    tallies = [tally, *(one for (_, one), _ in pairs)]
    return Row(
        count, joined, jobs.jobs / jobs.seconds, jobs.jobs / max(1, jobs.requests),
        jobs.master_cpu / jobs.seconds, jobs.crowd_cpu / jobs.seconds,
        median(one.requests / one.seconds for one in requests), median(one.requests / one.seconds for one in bare),
        median(map(_each, requests)), median(map(_each, bare)),
        max(one.crowd_cpu / one.seconds for one in (*requests, *bare)), _idle(count, seconds),
        sum(settled for settled, _ in tallies), sum(handled for _, handled in tallies))


def _each(load: Load) -> float:
    return 1e6 * load.master_cpu / max(1, load.requests)


# -- what is played


def _jobs(count: int, seconds: float) -> tuple[float, Load, tuple[int, int]]:
    """Leases of the usual size, with the processes wherever the system puts them."""
    with _master("endless", count) as master, _crowd(master.address, count) as crowd:
        joined = crowd.join()
        load = _measure(master, crowd, seconds)
        return joined, load, _tally(master, crowd)


def _requests(count: int, seconds: float) -> tuple[Load, tuple[int, int]]:
    """Leases of one job, the master on a core of its own."""
    with _cores() as (one, other), _master("endless", count, one) as master:
        os.sched_setaffinity(0, other)
        with _crowd(master.address, count, 1) as crowd:
            crowd.join()
            load = _measure(master, crowd, seconds)
            return load, _tally(master, crowd)


def _bare(count: int, seconds: float) -> Load:
    """The same requests, answered without any logic."""
    with _cores() as (one, other), _process([str(HERE / "slaves_bare.py")], one) as bare:
        os.sched_setaffinity(0, other)
        with _crowd(bare.address, count, 1) as crowd:
            crowd.join()
            return _measure(bare, crowd, seconds)


def _idle(count: int, seconds: float) -> float:
    """The share of a core that a master takes while nobody has anything to do."""
    with _master("silent", count) as master, _crowd(master.address, count) as crowd:
        crowd.join()
        load = _measure(master, crowd, seconds)
        _tally(master, crowd)
        return load.master_cpu / load.seconds


def _measure(master: Process, crowd: ConnectionLimit, seconds: float) -> Load:
    crowd.play(min(WARM_SECONDS, seconds))
    before = time.perf_counter(), crowd.jobs, crowd.answered, master.cpu(), time.thread_time()
    crowd.play(seconds)
    after = time.perf_counter(), crowd.jobs, crowd.answered, master.cpu(), time.thread_time()
    return Load(*[now - then for now, then in zip(after, before)])


def _tally(master: Process, crowd: ConnectionLimit) -> tuple[int, int]:
    """The jobs that the slaves settled and those that the master counts, once they have left. Raises Miscounted."""
    crowd.leave()
    handled, duplicates = master.end()
    if (handled, duplicates) != (crowd.jobs, 0):
        raise Miscounted(f"the slaves settled {crowd.jobs:,} jobs, the master counts {handled:,} handled and "
                         f"{duplicates:,} duplicates")
    return crowd.jobs, handled


# -- what it is played against


class Process:
    """A server of requests in a process of its own; tells its address and the CPU that it has used."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self._process = process
        self._folder = folder
        self.address = self._find_address()

    def cpu(self) -> float:
        """Seconds so far, of all its threads."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def end(self) -> tuple[int, int]:
        """Interrupt a master; returns the jobs that it counts as handled, and as duplicates."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(END_SECONDS)
        found = json.loads((self._folder / "summary.json").read_text())
        return found["handled"], found["duplicates"]

    def _find_address(self) -> str:
        end = time.perf_counter() + END_SECONDS
        while self._process.poll() is None and time.perf_counter() < end:
            said = (self._folder / "said").read_text()
            if "Listening at " in said and said.endswith("\n"):
                return said.split("Listening at ")[1].split()[0].strip(";")
            time.sleep(0.01)
        raise NotStarted((self._folder / "said").read_text())


@contextmanager
def _master(source: str, count: int, cores: set[int] | None = None) -> Iterator[Process]:
    main = ["-c", "from taskmaster.cli.master import main; main()"]
    options = {"--address": "tcp://127.0.0.1:0", "--size": str(WINDOW_JOBS * count), "--state": "state",
               "--summary": "summary.json", "--log-level": "info"}
    given = [text for option in options.items() for text in option]
    with _process([*main, f"{HERE / 'slaves_source.py'}:{source}", "--no-progress", *given], cores) as process:
        yield process


@contextmanager
def _process(arguments: Sequence[str], cores: set[int] | None) -> Iterator[Process]:
    with tempfile.TemporaryDirectory(prefix="slaves-") as folder:
        with open(Path(folder) / "said", "wb") as said:
            process = subprocess.Popen([sys.executable, *arguments], cwd=folder, env=_environment(),
                                       stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        try:
            if cores:
                os.sched_setaffinity(process.pid, cores)
            yield Process(process, Path(folder))
        finally:
            process.kill()
            process.wait()


def _environment() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("TASKMASTER_")}
    # With --insecure: the cost of a key does not depend on the number of slaves.
    return {**kept, "PYTHONPATH": str(ROOT), "TASKMASTER_INSECURE": "1"}


@contextmanager
def _crowd(address: str, count: int, most: int | None = None) -> Iterator[ConnectionLimit]:
    crowd = ConnectionLimit(address, count, most)
    try:
        yield crowd
    finally:
        crowd.close()


@contextmanager
def _cores() -> Iterator[tuple[set[int], set[int]]]:
    """One core for the master and the others for the crowd; the same one where there is no other."""
    all_cores = os.sched_getaffinity(0)
    one = {min(all_cores)}
    try:
        yield one, all_cores - one or one
    finally:
        os.sched_setaffinity(0, all_cores)


def _allow_files(wanted: int) -> None:
    """A connection is an open file, and many systems allow 1,024 by default."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted <= hard or hard == resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


# -- what it says


def table(rows: Sequence[Row]) -> str:
    """The rows for people."""
    heads = ("sessions", "join s", "jobs/s", "jobs/lease", "master", "crowd", "requests/s", "bare", "us", "bare us",
             "crowd", "idle")
    lines = ["".join(f"{head:>12}" for head in heads)]
    for row in rows:
        values = (f"{row.sessions:,}", f"{row.join_seconds:.2f}", f"{row.jobs_per_second:,.0f}",
                  f"{row.jobs_per_lease:,.1f}", f"{row.jobs_master_core:.0%}", f"{row.jobs_crowd_core:.0%}",
                  f"{row.requests_per_second:,.0f}", f"{row.bare_per_second:,.0f}", f"{row.master_us:.1f}",
                  f"{row.bare_us:.1f}", f"{row.crowd_core:.0%}", f"{row.idle_core:.1%}")
        lines.append("".join(f"{value:>12}" for value in values) + (" *" if row.crowd_limits else ""))
    by_count = {row.sessions: row.jobs_per_second for row in rows}
    if 2 in by_count and max(by_count) > 2:
        lines.append(f"{max(by_count):,} sessions: {by_count[max(by_count)] / by_count[2]:.0%} of the jobs/s of 2")
    if any(row.crowd_limits for row in rows):
        lines.append(f"* the process playing the slaves took more than {FULL:.0%} of a core: the master may be faster")
    return "\n".join(lines)


@click.command()
@click.argument("counts", nargs=-1, type=click.IntRange(1))
@click.option("--seconds", default=3.0, show_default=True, help="Of each measured stretch.")
@click.option("--turns", default=TURNS, show_default=True, help="Of master and bare loop, for requests/s.")
def main(counts: tuple[int, ...], seconds: float, turns: int) -> None:
    """Play COUNTS slaves' sessions (1 2 10 100 1000) against one master."""
    click.echo(table(run(counts or COUNTS, seconds, turns)))


if __name__ == "__main__":
    main()

"""The peers, each at the best that its own tuning gives: one function each, run in a fresh process for every round.

The clock starts when all workers are up and have run a job, at the first submit, and ends when the last result is
consumed; the results are counted. Jobs and handlers are those of jobs/, the very functions that taskmaster runs.
Each function imports its peer itself: if that fails, the peer is reported as missing, with the reason.
"""

from __future__ import annotations

import importlib
import itertools
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import measure
from benchmarks.marks import STAMPS, Mark, read_marks
from benchmarks.ours import LIMIT_SECONDS, environment, job_module
from benchmarks.sample import Sample, sample_of

# Peers that are left out, and why.
NOT_RUN = {"celery": "needs a broker (Redis or RabbitMQ): not run"}


@dataclass(frozen=True)
class Work:
    """The jobs of one run and what handles each."""

    jobs: Callable[[], Iterator[Any]]
    handle: Callable[[Any], Any]


@dataclass(frozen=True)
class Timing:
    """From the first submit to the last result, and how many results there were."""

    seconds: float
    handled: int


def pool(work: Work, procs: int, chunk: int) -> Timing:
    with multiprocessing.Pool(procs) as workers:
        workers.map(abs, range(4 * procs), 1)
        return _timed(lambda: workers.imap_unordered(work.handle, work.jobs(), chunk))


def pool_to_file(work: Work, procs: int, chunk: int, dumps: str) -> Timing:
    """Writes the lines that taskmaster writes; `dumps` is who calls json.dumps, the worker or the parent."""
    in_worker = dumps == "worker"
    handle = partial(_dumped, work.handle) if in_worker else work.handle
    with multiprocessing.Pool(procs) as workers, open("results.jsonl", "w", encoding="utf-8") as file:
        workers.map(abs, range(4 * procs), 1)
        began, handled = time.monotonic(), 0
        for handled, result in enumerate(workers.imap(handle, work.jobs(), chunk), 1):
            text = result if in_worker else _dumps(result)
            file.write(f'{{"offset":{handled - 1},"result":{text}}}\n')
        file.flush()
        os.fsync(file.fileno())
        return Timing(time.monotonic() - began, handled)


def _dumped(handle: Callable[[Any], Any], job: Any) -> str:
    return _dumps(handle(job))


_dumps = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":")).encode


def executor(work: Work, procs: int, chunk: int) -> Timing:
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(procs) as workers:
        list(workers.map(abs, range(4 * procs)))
        return _timed(lambda: workers.map(work.handle, work.jobs(), chunksize=chunk))


def joblib(work: Work, procs: int, batch: int | str) -> Timing:
    """`pre_dispatch` keeps it from starving; by default it pulls two jobs per worker ahead, whatever the batch."""
    library: Any = importlib.import_module("joblib")  # not by its name, which is this function's too
    ahead = "2 * n_jobs" if batch == "auto" else 4 * procs * int(batch)
    with library.Parallel(n_jobs=procs, batch_size=batch, pre_dispatch=ahead) as workers:
        workers(library.delayed(abs)(number) for number in range(4 * procs))
        handle = library.delayed(work.handle)
        return _timed(lambda: workers(map(handle, work.jobs())))


def dask(work: Work, procs: int, threads: int, batch: int) -> Timing:
    """Manual batches and a window of 8 of them per thread: `Client.map` would read the whole source first."""
    distributed: Any = importlib.import_module("distributed")

    with distributed.LocalCluster(n_workers=procs, threads_per_worker=threads, dashboard_address=None) as cluster, \
            distributed.Client(cluster) as client:
        client.wait_for_workers(procs)
        client.gather(client.map(abs, range(4 * procs)))
        return _timed(lambda: _through_dask(client, distributed.as_completed, work, batch, 8 * procs * threads))


def _through_dask(client: Any, as_completed: Any, work: Work, batch: int, window: int) -> Iterator[None]:
    jobs = work.jobs()
    batches = iter(lambda: list(itertools.islice(jobs, batch)), [])
    first = [client.submit(_handle_batch, work.handle, some, pure=False) for some in itertools.islice(batches, window)]
    completed = as_completed(first, with_results=True)
    for _, handled in completed:
        yield from itertools.repeat(None, handled)
        for some in itertools.islice(batches, 1):
            completed.add(client.submit(_handle_batch, work.handle, some, pure=False))


def _handle_batch(handle: Callable[[Any], None], batch: list[Any]) -> int:
    for job in batch:
        handle(job)
    return len(batch)


def _timed(results: Callable[[], Iterable[Any]]) -> Timing:
    """Consumes the results without running Python for each, which would slow down some of the peers."""
    counter = itertools.count()
    began = time.monotonic()
    deque(zip(results(), counter), maxlen=0)
    return Timing(time.monotonic() - began, next(counter))


RUNNERS: Mapping[str, Callable[..., Timing]] = {
    "multiprocessing.Pool": pool,
    "multiprocessing.Pool.imap": pool_to_file,
    "ProcessPoolExecutor": executor,
    "joblib": joblib,
    "dask.distributed": dask,
}


@dataclass(frozen=True)
class Peer:
    """A peer in one tuning as a contender; slow ones get fewer jobs, because rates are compared."""

    name: str
    job: str
    count: int
    tuning: Mapping[str, object]
    arguments: Mapping[str, object] = field(default_factory=dict)
    extra_jobs: int = 0  # in addition to `count`

    @property
    def how(self) -> str:
        return " ".join(f"{key}={value}" for key, value in self.tuning.items())

    def run(self) -> Sample:
        order = {"peer": self.name, "job": self.job, "tuning": dict(self.tuning),
                 "arguments": {"count": self.count, **self.arguments}}
        command = [sys.executable, "-c", "from benchmarks import peers; peers.main()", json.dumps(order)]
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            stamps = Path(name) / "stamps"
            try:
                measured = measure.run(command, Path(name), environment({STAMPS: str(stamps)}), LIMIT_SECONDS)
            except measure.Overtime as error:
                return Sample(self.count, wrong=str(error))
            return _sample(measured, read_marks(stamps), self.count + self.extra_jobs)


def _sample(found: measure.Measured, marks: list[Mark], count: int) -> Sample:
    said: dict[str, Any] = json.loads(found.said.splitlines()[-1]) if found.code == 0 and found.said else {}
    if "missing" in said:
        return Sample(count, missing=said["missing"])
    wrong = "" if said else f"exit code {found.code}: {found.told.strip()[-300:]}"
    return sample_of([found], marks, count, said.get("handled", 0), said.get("seconds", 0.0), wrong)


def main() -> None:
    """The fresh process: does one run and reports how it went, as a line of JSON."""
    order = json.loads(sys.argv[1])
    module = job_module(order["job"])
    work = Work(lambda: module.get_jobs(**order["arguments"]), module.handle_job)
    try:
        timing = RUNNERS[order["peer"]](work, **order["tuning"])
    except ImportError as error:
        print(json.dumps({"missing": f"not installed ({error})"}))
    else:
        print(json.dumps(vars(timing)))

"""The workloads that measure how long a single job takes: `trickle` and `startup`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import median

from benchmarks import ours
from benchmarks.marks import first
from benchmarks.ours import Ours
from benchmarks.peers import Peer
from benchmarks.races import DASK, EXECUTOR, JOBLIB, POOL, missing
from benchmarks.report import Plan, Report, Verdict, at_most
from benchmarks.sample import Contender, Sample, Standing, take_turns, wrongs

THREADS = 20  # of two slaves, by default
BUSY = 10  # half of them

Reading = Callable[[Sample], float]


def trickle(name: str, plan: Plan) -> Report:
    """A job every 10 ms: from its yield to the start of its handler, in milliseconds."""
    count = 30 if plan.quick else 500
    warm = ours.job_module("trickle").WARM_JOBS
    contenders: list[Contender] = [
        *(Ours("trickle", count, arguments={"long": busy}, extra_jobs=warm + busy) for busy in (0, BUSY)),
        *(Peer(peer, "trickle", count, {"procs": THREADS, "chunk": 1}, {"long": busy}, warm + busy)
          for peer in ((POOL,) if plan.quick else (POOL, EXECUTOR)) for busy in (0, BUSY))]
    standings = [_complete(one, count) for one in take_turns(contenders, plan.rounds, plan.tell)]
    rows = [[_label(one), *(_ms(one, part) for part in (0.5, 0.9, 0.99, 1.0)), f"{count:,}"]
            for one in standings if not one.missing]
    return _report(name, "a job every 10 ms, from its yield to its handler",
                   ("", "p50 ms", "p90 ms", "p99 ms", "most ms", "jobs"), rows, standings,
                   list(_judge_trickle(standings[:2])), plan)


def startup(name: str, plan: Plan) -> Report:
    """One job: from the command to its handler, and to the exit."""
    tunings: Mapping[str, Mapping[str, object]] = {
        POOL: {"procs": 1, "chunk": 1}, EXECUTOR: {"procs": 1, "chunk": 1}, JOBLIB: {"procs": 1, "batch": 1},
        DASK: {"procs": 1, "threads": 1, "batch": 1}}
    contenders: list[Contender] = [Ours("startup", 1, slaves=1),
                                   *(Peer(peer, "startup", 1, tuning) for peer, tuning in tunings.items())]
    standings = take_turns(contenders, plan.rounds if plan.quick else 4 * plan.rounds, plan.tell)
    rows = [[one.label, *_spread(one, to_handler), *_spread(one, to_exit)] for one in standings if not one.missing]
    return _report(name, "one job, seconds from the command to its handler and to the exit",
                   ("", "handler s", "min", "max", "exit s", "min", "max"), rows, standings,
                   list(_judge_startup(standings[0])), plan)


def to_handler(sample: Sample) -> float:
    """Seconds from the command to the first handler call; 0 if none was recorded."""
    called = first(sample.marks, "handled")
    return called - sample.began if called is not None else 0.0


def to_exit(sample: Sample) -> float:
    return sample.whole


def delay(sample: Sample, part: float) -> float:
    """The delay, in seconds, that this part of the jobs did not exceed."""
    delays = sorted(sample.numbers("delay"))
    return delays[min(len(delays) - 1, int(part * len(delays)))] if delays else 0.0


def _complete(standing: Standing, count: int) -> Standing:
    """The same, but wrong if not every delay was recorded."""
    samples = [sample if sample.wrong or sample.missing or len(sample.numbers("delay")) == count
               else replace(sample, wrong=f"{len(sample.numbers('delay'))} delays of {count}")
               for sample in standing.samples]
    return Standing(standing.contender, samples)


def _label(standing: Standing) -> str:
    contender = standing.contender
    assert isinstance(contender, (Ours, Peer))
    return f"{standing.label.replace(f' long={BUSY}', '').replace(' long=0', '')}, " + (
        f"{BUSY} of {THREADS} busy" if contender.arguments["long"] else "idle")


def _ms(standing: Standing, part: float) -> str:
    return f"{1000 * standing.middle(lambda sample: delay(sample, part)):.2f}"


def _spread(standing: Standing, reading: Reading) -> list[str]:
    values = standing.of(reading)
    return [f"{value:.3f}" for value in (median(values), values[0], values[-1])]


def _judge_trickle(standings: Sequence[Standing]) -> Iterator[Verdict]:
    for standing, when in zip(standings, ("idle", "half of the threads busy"), strict=True):
        for part, most in ((0.5, 1.5), (0.99, 5.0)):
            reading = 1000 * standing.middle(lambda sample: delay(sample, part))
            yield at_most(f"p{100 * part:.0f} <= {most:g} ms, {when}", reading, most, f"{reading:.2f} ms")


def _judge_startup(standing: Standing) -> Iterator[Verdict]:
    for what, reading, most in (("exit", to_exit, 0.6), ("the handler", to_handler, 0.4)):
        seconds = standing.middle(reading)
        yield at_most(f"<= {most:g} s to {what}", seconds, most, f"{seconds:.3f} s")


def _report(name: str, about: str, columns: Sequence[str], rows: Sequence[Sequence[str]],
            standings: Sequence[Standing], verdicts: Sequence[Verdict], plan: Plan) -> Report:
    return Report(name, about, columns, rows, plan.judged(verdicts),
                  ["medians of the rounds", *missing(standings)], wrongs(standings), [one.json() for one in standings])

"""The workloads in which taskmaster and its peers run the same jobs, to compare jobs per second."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from benchmarks import ours
from benchmarks.ours import Ours
from benchmarks.peers import NOT_RUN, Peer
from benchmarks.report import Bar, Plan, Report, Verdict, at_least, at_most
from benchmarks.sample import Contender, Standing, take_turns, wrongs

IMAP = "multiprocessing.Pool.imap"
POOL, EXECUTOR, JOBLIB, DASK = "multiprocessing.Pool", "ProcessPoolExecutor", "joblib", "dask.distributed"
COLUMNS = ("", "jobs/s", "min", "max", "of best peer", "whole jobs/s", "us/job master", "slaves", "MB master", "slave",
           "jobs")
CLOCK = ("jobs/s is counted from workers ready to the last job settled (a peer: the last result), whole jobs/s from "
         "command to exit; us is CPU, including start-up and shutdown, MB is peak resident memory")
QUICK_PROCS = 4

Judge = Callable[[Sequence[Standing]], Iterator[Verdict]]


@dataclass(frozen=True)
class Race:
    """Who runs what: `contenders`, taskmaster first, with enough jobs to fill some seconds each; or `quick` jobs."""

    about: str
    contenders: Sequence[Ours | Peer]
    quick: int
    judge: Judge

    def run(self, name: str, plan: Plan) -> Report:
        """All rounds, and their results."""
        standings = take_turns(self._few() if plan.quick else self.contenders, plan.rounds, plan.tell)
        best = best_rate(standings[1:])
        ran = [one for one in standings if not one.missing]
        return Report(
            name, self.about, COLUMNS, [_row(one, best) for one in ran], plan.judged(self.judge(standings)),
            [CLOCK, *missing(standings)], wrongs(standings), [one.json() for one in standings],
            [_bar(one) for one in ran])

    def _few(self) -> Sequence[Contender]:
        """Each peer once, with few jobs and processes."""
        once = {one.name: one for one in reversed(self.contenders)}
        return [_small(one, min(one.count, self.quick)) for one in reversed(once.values())]


def _small(one: Ours | Peer, count: int) -> Contender:
    if isinstance(one, Ours):
        return replace(one, count=count)
    return replace(one, count=count, tuning={**one.tuning, "procs": min(int(str(one.tuning["procs"])), QUICK_PROCS)})


def best_rate(standings: Sequence[Standing], name: str = "", **tuning: object) -> float:
    """The highest median rate among these, or among those of one name and tuning; 0 where none ran."""
    wanted = " ".join(f"{key}={value}" for key, value in tuning.items())
    return max((one.rate for one in standings if one.contender.name.startswith(name)
                and one.contender.how.endswith(wanted)), default=0.0)


def missing(standings: Sequence[Standing]) -> list[str]:
    """Peers that did not run, each reported once."""
    found = {one.contender.name: one.missing for one in standings if one.missing}
    return [f"{name}: {why}" for name, why in {**found, **NOT_RUN}.items()]


def _bar(standing: Standing) -> Bar:
    contender = standing.contender
    plain = isinstance(contender, Peer) and (contender.tuning.get("chunk") == 1 or contender.tuning.get("batch") == 1)
    return Bar(contender.name, contender.how, standing.rate, plain)


def rate_cells(standing: Standing) -> list[str]:
    """Median, least and most jobs/s."""
    rates = standing.of(lambda sample: sample.rate)
    return [f"{rate:,.0f}" for rate in (standing.middle(lambda sample: sample.rate), rates[0], rates[-1])]


def _row(standing: Standing, best: float) -> list[str]:
    count = standing.samples[0].count
    return [
        standing.label, *rate_cells(standing), f"{standing.rate / best:.2f}" if best else "-",
        f"{standing.middle(lambda one: one.whole_rate):,.0f}",
        three(standing.middle(lambda one: one.master_cpu) / count * 1e6),
        three(standing.middle(lambda one: one.slaves_cpu) / count * 1e6),
        f"{standing.middle(lambda one: one.master_peak) / 2 ** 20:.0f}",
        f"{standing.middle(lambda one: one.slave_peak) / 2 ** 20:.0f}",
        f"{count:,}", *(["WRONG: " + standing.wrong] if standing.wrong else [])]


def three(number: float) -> str:
    """Three significant digits."""
    return f"{number:.3f}" if number < 1 else f"{number:.3g}" if number < 1000 else f"{number:,.0f}"


# -- the targets


def _times(target: str, rate: float, other: float, least: float) -> Verdict:
    ratio = rate / other if other else 0.0
    return at_least(target, ratio, least, f"{ratio:.3g} x")


def _judge_noop(standings: Sequence[Standing]) -> Iterator[Verdict]:
    rate, peers = standings[0].rate, standings[1:]
    yield _times(">= 1.2 x the best-tuned multiprocessing.Pool", rate, best_rate(peers, POOL), 1.2)
    yield _times(">= 50 x multiprocessing.Pool with chunksize 1", rate, best_rate(peers, POOL, chunk=1), 50.0)


def _judge_payload(standings: Sequence[Standing]) -> Iterator[Verdict]:
    best = best_rate(standings[1:], POOL)
    yield _times(">= 1.0 x the best-tuned multiprocessing.Pool", standings[0].rate, best, 1.0)
    yield _times("stretch: >= 1.2 x the same", standings[0].rate, best, 1.2)


def _judge_cpu(standings: Sequence[Standing]) -> Iterator[Verdict]:
    yield _times(">= 0.97 x multiprocessing.Pool at its best", standings[0].rate, best_rate(standings[1:], POOL), 0.97)


def _judge_results(standings: Sequence[Standing]) -> Iterator[Verdict]:
    best = best_rate(standings[1:], IMAP)
    yield _times(">= 1.2 x the best-tuned Pool.imap that writes the same file", standings[0].rate, best, 1.2)


def _judge_sleep(standings: Sequence[Standing]) -> Iterator[Verdict]:
    ideal = SLOTS / ours.job_module("sleep").SECONDS
    share = standings[0].rate / ideal
    yield at_least(f">= 97 % of the ideal {ideal:,.0f}/s", share, 0.97, f"{share:.1%}")


def _judge_mixed(standings: Sequence[Standing]) -> Iterator[Verdict]:
    sample = standings[0].samples[0]
    module = ours.job_module("mixed")
    ideal = max(sum(module.seconds_of(sample.count)) / MIXED_SLOTS, module.LONG_SECONDS)
    ratio = standings[0].middle(lambda one: one.seconds) / ideal if standings[0].rate else 0.0
    yield at_most(f"<= 1.10 x the ideal {ideal:.2f} s (all sleep, in {MIXED_SLOTS} threads)", ratio, 1.10,
                  f"{ratio:.3f} x")


# -- who takes part


def _peers(job: str, *entries: tuple[str, int, Mapping[str, object]]) -> list[Peer]:
    return [Peer(name, job, count, tuning) for name, count, tuning in entries]


THREADS = 32
SLOTS = 2 * THREADS
MIXED_SLOTS = 20  # two slaves of ten threads, which is the default

RACES: Mapping[str, Race] = {
    "noop": Race("jobs that do nothing", [
        Ours("noop", 40_000_000),
        *_peers("noop",
                (POOL, 300_000, {"procs": 2, "chunk": 1}),
                (POOL, 10_000_000, {"procs": 2, "chunk": 100}),
                (POOL, 25_000_000, {"procs": 2, "chunk": 1000}),
                (POOL, 25_000_000, {"procs": 2, "chunk": 5000}),
                (EXECUTOR, 30_000, {"procs": 2, "chunk": 1}),
                (EXECUTOR, 5_000_000, {"procs": 2, "chunk": 1000}),
                (JOBLIB, 1_000_000, {"procs": 2, "batch": "auto"}),
                (JOBLIB, 2_000_000, {"procs": 2, "batch": 1000}),
                (DASK, 1_500_000, {"procs": 2, "threads": 1, "batch": 1000})),
    ], 20_000, _judge_noop),
    "payload5k": Race("jobs of 5,000 bytes", [
        Ours("payload", 800_000),
        *_peers("payload",
                (POOL, 150_000, {"procs": 2, "chunk": 1}),
                (POOL, 500_000, {"procs": 2, "chunk": 10}),
                (POOL, 600_000, {"procs": 2, "chunk": 100}),
                (POOL, 500_000, {"procs": 2, "chunk": 1000}),
                (EXECUTOR, 30_000, {"procs": 2, "chunk": 1}),
                (EXECUTOR, 200_000, {"procs": 2, "chunk": 100}),
                (JOBLIB, 150_000, {"procs": 2, "batch": "auto"}),
                (DASK, 100_000, {"procs": 2, "threads": 1, "batch": 100})),
    ], 2_000, _judge_payload),
    "sleep10ms": Race("jobs that wait 10 ms, 64 at once", [
        Ours("sleep", 32_000, slave_options=("--concurrency", str(THREADS))),
        *_peers("sleep",
                (POOL, 32_000, {"procs": SLOTS, "chunk": 4}),
                (POOL, 32_000, {"procs": SLOTS, "chunk": 1}),
                (EXECUTOR, 25_600, {"procs": SLOTS, "chunk": 4}),
                (JOBLIB, 12_800, {"procs": SLOTS, "batch": 4}),
                (DASK, 12_800, {"procs": 2, "threads": THREADS, "batch": 4})),
    ], 320, _judge_sleep),
    "mixed": Race("99 % jobs of 1 ms, 1 % of 200 ms, shuffled, 20 at once", [
        Ours("mixed", 30_000),
        *_peers("mixed",
                (POOL, 30_000, {"procs": MIXED_SLOTS, "chunk": 1}),
                (EXECUTOR, 30_000, {"procs": MIXED_SLOTS, "chunk": 1}),
                (JOBLIB, 30_000, {"procs": MIXED_SLOTS, "batch": "auto"}),
                (DASK, 6_000, {"procs": 2, "threads": 10, "batch": 1})),
    ], 400, _judge_mixed),
    "cpu": Race("jobs of about 1 ms of pure Python", [
        Ours("cpu", 40_000),
        *_peers("cpu",
                (POOL, 10_000, {"procs": 2, "chunk": 1}),
                (POOL, 10_000, {"procs": 2, "chunk": 10}),
                (POOL, 40_000, {"procs": 2, "chunk": 100}),
                (EXECUTOR, 10_000, {"procs": 2, "chunk": 10}),
                (JOBLIB, 40_000, {"procs": 2, "batch": "auto"}),
                (DASK, 10_000, {"procs": 2, "threads": 1, "batch": 10})),
    ], 200, _judge_cpu),
    "results": Race("small dict results, in order, to a file of JSON lines", [
        Ours("results", 3_000_000, master_options=("--results", "results.jsonl")),
        *_peers("results",
                (IMAP, 1_000_000, {"procs": 2, "chunk": 1000, "dumps": "worker"}),
                (IMAP, 1_000_000, {"procs": 2, "chunk": 5000, "dumps": "worker"}),
                (IMAP, 1_000_000, {"procs": 2, "chunk": 200, "dumps": "worker"}),
                (IMAP, 1_000_000, {"procs": 2, "chunk": 1000, "dumps": "parent"})),
    ], 20_000, _judge_results),
}


def report(name: str, plan: Plan) -> Report:
    """One race by its name."""
    return RACES[name].run(name, plan)

"""What the benchmark makes of times, marks and rates: its arithmetic, without a run."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from benchmarks import plot, races, shift, table  # noqa: E402
from benchmarks.latency import delay  # noqa: E402
from benchmarks.marks import Mark  # noqa: E402
from benchmarks.measure import Measured  # noqa: E402
from benchmarks.ours import Ours, Run  # noqa: E402
from benchmarks.peers import Peer  # noqa: E402
from benchmarks.report import Bar, Plan, Report, Verdict, at_least, at_most  # noqa: E402
from benchmarks.sample import Sample, Standing, median_ratio, sample_of, take_turns  # noqa: E402

MASTER, SLAVE, OTHER = 1, 2, 3
SUMMARY = {"elapsed": 4.0, "handled": 100, "finished": True, "failed": 0, "retried": 0, "replayed": 0, "duplicates": 0}


def measured(code: int = 0) -> Measured:
    return Measured(code, 10.0, 20.0, 1.0, 2.0, 3.0, 5, 7, "", "it said why")


def run_of(*marks: tuple[str, int, float], **summary: object) -> Run:
    return Run([measured()], {**SUMMARY, **summary}, [Mark(word, pid, at, ()) for word, pid, at in marks], 100)


# -- the clock and the count of a run


@pytest.mark.parametrize("ready, seconds", [(11.5, 3.5), (10.9, 4.0)])
def test_the_clock_starts_when_a_slave_is_ready_and_the_source_is_asked(ready: float, seconds: float) -> None:
    run = run_of(("ready", MASTER, 10.5), ("source", MASTER, 11.0), ("ready", OTHER, 12.0), ("ready", SLAVE, ready))

    assert run.seconds == pytest.approx(seconds)


def test_without_a_slave_that_was_ready_there_is_no_time() -> None:
    assert run_of(("ready", MASTER, 10.5), ("source", MASTER, 11.0)).seconds == 0.0


@pytest.mark.parametrize("summary, wrong", [
    ({}, ""),
    ({"handled": 99}, "handled 99 of 100"),
    ({"duplicates": 3}, "3 duplicates"),
    ({"replayed": 2, "retried": 1}, "1 retried, 2 replayed"),
    ({"finished": False}, "not say that it is finished"),
])
def test_what_spoils_a_run_is_said(summary: dict[str, object], wrong: str) -> None:
    found = run_of(("source", MASTER, 1.0), **summary).wrong()

    assert (wrong in found) if wrong else found == ""


def test_a_count_that_is_not_right_is_wrong_for_peers_too() -> None:
    assert sample_of([measured()], [], 100, 99, 1.0, "").wrong == "handled 99 of 100 jobs"
    assert sample_of([measured()], [], 100, 100, 1.0, "").wrong == ""


def test_of_two_commands_the_second_is_slaves() -> None:
    sample = sample_of([measured(), measured()], [], 100, 100, 1.0, "")

    assert (sample.master_cpu, sample.slaves_cpu, sample.cpu) == (1.0, 5.0, 6.0)


# -- turns and ratios


class Scripted:
    """A contender that gives these samples in turn and notes that it was asked."""

    how = ""

    def __init__(self, name: str, log: list[str], *samples: Sample) -> None:
        self.name = name
        self._log = log
        self._samples = list(samples)

    def run(self) -> Sample:
        self._log.append(self.name)
        return self._samples.pop(0)


def test_contenders_take_turns_and_who_is_missing_sits_out() -> None:
    log: list[str] = []
    good = Sample(10, 10, 1.0)
    gone = Sample(10, missing="gone")

    standings = take_turns([Scripted("a", log, good, good), Scripted("b", log, gone), Scripted("c", log, good, good)],
                           2, lambda text: None)

    assert log == ["a", "b", "c", "c", "a"]
    assert [one.missing for one in standings] == ["", "gone", ""]


def test_two_are_compared_round_by_round() -> None:
    """A machine that grows slower and slower says nothing then of which of them is."""
    on, off = (Standing(Scripted("a", []), [Sample(10, 10, seconds) for seconds in times])
               for times in ((1.0, 2.2, 4.0), (1.1, 2.0, 4.0)))
    assert median_ratio(on, off) == 1.0
    assert median_ratio(on, Standing(Scripted("b", []))) == 0.0


def test_what_was_wrong_once_is_nobodys_best() -> None:
    wrong = Standing(Scripted("p", []), [Sample(10, 10, 0.1), Sample(10, 9, 0.1, wrong="handled 9 of 10 jobs")])
    right = Standing(Scripted("p", []), [Sample(10, 10, 1.0)])

    assert races.best_rate([wrong, right]) == 10.0


def test_a_peers_tuning_is_told_from_another_that_begins_alike() -> None:
    standings = [Standing(Peer("p", "noop", 10, {"procs": 2, "chunk": chunk}), [Sample(10, 10, 1.0 / chunk)])
                 for chunk in (1, 10)]

    assert races.best_rate(standings, "p") == pytest.approx(100.0)
    assert races.best_rate(standings, "p", chunk=1) == pytest.approx(10.0)


@pytest.mark.parametrize("verdict, met", [
    (at_least("", 1.2, 1.2, ""), True), (at_least("", 1.19, 1.2, ""), False), (at_least("", 0.0, 1.2, ""), None),
    (at_most("", 5.0, 5.0, ""), True), (at_most("", 5.1, 5.0, ""), False), (at_most("", 0.0, 5.0, ""), None),
])
def test_a_target_is_judged_where_there_is_a_reading(verdict: Verdict, met: bool | None) -> None:
    assert verdict.met is met


def test_tiny_counts_are_not_judged() -> None:
    assert Plan(1, True, print).judged([Verdict("", "", True)])[0].met is None
    assert Plan(1, False, print).judged([Verdict("", "", True)])[0].met is True


# -- readings


def test_delays_are_read_at_their_rank() -> None:
    sample = Sample(200, marks=[Mark("delay", SLAVE, 0.0, (number / 1000,)) for number in range(200, 0, -1)])

    assert [delay(sample, part) for part in (0.5, 0.99, 1.0)] == [0.101, 0.199, 0.2]
    assert delay(Sample(0), 0.5) == 0.0


def slow(*calls: tuple[int, int, float]) -> Sample:
    """Slow jobs of 50 ms: slave, number, begin."""
    return Sample(len(calls), marks=[Mark("slow", pid, began + 0.05, (number, began)) for pid, number, began in calls])


def test_what_a_slave_began_later_than_others_a_job_behind_it_waited_for_it() -> None:
    first = [(SLAVE, number, 0.05 * number) for number in range(3)]
    late = [(SLAVE, number, 1.0 + 0.05 * number) for number in range(3, 43)]

    assert shift.held(slow(*first, *late)) == 0.0
    # At 1.15 s, when the slave begins job 3 itself, job 50 has been begun: the 39 behind job 3 have left the master.
    assert shift.held(slow(*first, *late, (OTHER, 50, 0.2))) == pytest.approx(39 * 0.05 / 10)


def test_what_waited_before_a_slave_had_seen_slow_jobs_does_not_count() -> None:
    assert shift.held(slow((SLAVE, 0, 0.0), (OTHER, 9, 0.0), (SLAVE, 1, 1.0), (SLAVE, 2, 2.0))) == 0.0


def test_the_slow_time_and_the_tail() -> None:
    sample = slow((SLAVE, 0, 1.0), (OTHER, 1, 1.0), (SLAVE, 2, 1.5))

    assert shift.seconds(sample) == pytest.approx(0.55)
    assert shift.tail(sample) == pytest.approx(0.5)


# -- what is shown


def test_the_command_that_is_shown_is_what_a_reader_would_type() -> None:
    ours = Ours("noop", 5, slaves=3, arguments={"size": 8}, master_options=("--size", "9"))

    assert ours.how == "tm-run noop.py 3 size=8 --size 9"
    assert Ours("noop", 5, tcp=True).how == "tm-master noop.py + tm-spawn noop.py 2"


def test_a_remark_beyond_the_columns_does_not_widen_the_table() -> None:
    rows = [["a", "1"], ["bb", "22", "WRONG: all of it"]]
    report = Report("name", "about", ("", "n"), rows, [Verdict("t", "r", False)])

    assert table.text(report).splitlines()[3:] == ["     n", "a    1", "bb  22  WRONG: all of it", "  MISSED      t: r"]


def test_the_plot_shows_each_peer_at_its_best_and_as_it_comes() -> None:
    bars = [Bar("taskmaster", "tm-run", 9.0, False), Bar("pool", "chunk=1", 1.0, True),
            Bar("pool", "chunk=9", 6.0, False), Bar("pool", "chunk=8", 5.0, False), Bar("other", "batch=1", 2.0, True)]
    drawn = plot.svg([Report("noop", "jobs < nothing", (), [], bars=bars)], "a machine")

    texts = [element.text for element in ElementTree.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text")]
    assert texts[2:] == ["noop: jobs < nothing", "taskmaster tm-run", "9.0/s · 1.50 x",
                         "pool chunk=9", "6.0/s · 1.00 x", "other batch=1", "2.0/s · 0.33 x",
                         "pool chunk=1", "1.0/s · 0.17 x"]

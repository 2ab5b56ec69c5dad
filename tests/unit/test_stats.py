"""The words for a run and a slave, as tables."""

from __future__ import annotations

import json

import pytest

from taskmaster.console.text import (Cell, cells_of, count_text, fit, join, plural, rate_text, span_text, status_line,
                                     straggler_text, summary_json, summary_text)
from taskmaster.core.stats import SlaveStats, Stats, Straggler


@pytest.mark.parametrize("rate, text", [
    (0.0, "0/s"), (0.001, "0.06/min"), (0.2, "12/min"), (1.0, "1.0/s"), (9.96, "10.0/s"), (99.94, "99.9/s"),
    (99.96, "100/s"), (812.4, "812/s"), (999.4, "999/s"), (999.6, "1.0 k/s"), (16_123, "16.1 k/s"),
    (999_400, "999 k/s"), (999_600, "1.0 M/s"), (3_212_000, "3.2 M/s"), (4.2e9, "4.2 G/s"),
])
def test_a_rate_has_three_digits_and_a_unit(rate: float, text: str) -> None:
    assert rate_text(rate) == text


@pytest.mark.parametrize("seconds, text", [
    (0.0, "0.0 s"), (0.42, "0.4 s"), (10.0, "10 s"), (59.9, "59 s"), (60, "1 min 00 s"), (62, "1 min 02 s"),
    (3599, "59 min 59 s"), (3720, "1 h 02 min"), (86399, "23 h 59 min"), (86400 * 3 + 4 * 3600, "3 d 04 h"),
    (86400 * 12345, "12,345 d 00 h"),
])
def test_a_duration_names_its_two_largest_units(seconds: float, text: str) -> None:
    assert span_text(seconds) == text


@pytest.mark.parametrize("number, text", [(0, "0 slaves"), (1, "1 slave"), (1234567, "1,234,567 slaves")])
def test_counts_are_readable(number: int, text: str) -> None:
    assert plural(number, "slave") == text
    assert text.startswith(count_text(number))


@pytest.mark.parametrize("stats, eta", [
    (Stats(settled=100, rate=10.0), None),
    (Stats(settled=100, rate=10.0, total=400), 30.0),
    (Stats(settled=100, rate=0.0, total=400), None),
    (Stats(settled=500, rate=10.0, total=400), 0.0),
    (Stats(settled=400, rate=10.0, total=400, finished=True), None),
])
def test_the_eta_is_told_where_it_can_be(stats: Stats, eta: float | None) -> None:
    assert stats.eta == eta


RUN = Stats(
    run_settled=1_000_000, settled=1_234_567, handled=999_997, failed=3, retried=12, replayed=34,
    in_flight=812, running=40, slaves=4, rate=3.2e6, elapsed=62.0, total=2_900_000, offset=1_233_755,
)


@pytest.mark.parametrize("stats, line", [
    (Stats(), "0 settled | 0/s | 0 running | 0 queued | 0 slaves | 0 failed | 0 s"),
    (RUN, "42 % | 1,234,567 of 2,900,000 | 3.2 M/s | 40 running | 772 queued | 4 slaves | 3 failed"
          " | 1 min 02 s | ETA 0 s"),
    (Stats(state="draining", settled=7, in_flight=2, running=2, slaves=1, elapsed=3.9),
     "draining | 7 settled | 0/s | 2 running | 0 queued | 1 slave | 0 failed | 3 s"),
    (Stats(straggler=Straggler(812, 2044, 65.4, "host:42")),
     "0 settled | 0/s | 0 running | 0 queued | 0 slaves | 0 failed | 0 s"
     " | oldest running: job 812 (cursor 2044), 1 min 05 s on host:42"),
    (Stats(total=0, finished=True), "0 of 0 | 0/s | 0 running | 0 queued | 0 slaves | 0 failed | 0 s"),
    (Stats(settled=9, total=4), "100 % | 9 of 4 | 0/s | 0 running | 0 queued | 0 slaves | 0 failed | 0 s"),
])
def test_the_status_line_says_all(stats: Stats, line: str) -> None:
    assert status_line(stats, " | ") == line


class Rude:
    """A cursor whose own code does what it can to spoil the line."""

    def __init__(self, shown: str | None) -> None:
        self.shown = shown

    def __repr__(self) -> str:
        if self.shown is None:
            raise SystemExit("not a word")
        return self.shown


@pytest.mark.parametrize("cursor, text", [
    (None, "job 7, 12 s on a:1"),
    ("id-9", "job 7 (cursor 'id-9'), 12 s on a:1"),
    (("2026-01-01", 9), "job 7 (cursor ('2026-01-01', 9)), 12 s on a:1"),
    ("x" * 100, "job 7 (cursor 'xxxxxxxxxxxx...xxxxxxxxxxxxx'), 12 s on a:1"),
    ("\n\u4e2d", r"job 7 (cursor '\n\u4e2d'), 12 s on a:1"),
    (Rude("\x1b[2J\r\n"), "job 7 (cursor ?[2J??), 12 s on a:1"),
    (Rude("x" * 100), "job 7 (cursor xxxxxxxxxxxxx...xxxxxxxxxxxxxx), 12 s on a:1"),
    (Rude(None), "job 7 (cursor Rude), 12 s on a:1"),
])
def test_any_cursor_of_a_straggler_fits_into_the_line(cursor: object, text: str) -> None:
    straggler = Straggler(7, cursor, 12.3, "a:1")
    assert straggler_text(straggler) == text
    json.dumps(summary_json(Stats(straggler=straggler), exit_code=75))


def test_the_line_of_a_slave_says_all() -> None:
    stats = SlaveStats(
        handled=1234, failed=1, running=10, queued=90, rate=812.0, master="tcp://10.0.0.1:3050", elapsed=62.0
    )
    assert status_line(stats, " | ") == (
        "1,234 handled | 812/s | 10 running | 90 queued | 1 failed | tcp://10.0.0.1:3050 | 1 min 02 s"
    )
    assert status_line(SlaveStats(state="draining"), " | ").startswith("draining | 0 handled")


CELLS = [Cell("aaaa", 0), Cell("bbbb", 2), Cell("cccc", 1), Cell("dddd", 3)]


@pytest.mark.parametrize("columns, text", [
    (100, "aaaa-bbbb-cccc-dddd"), (19, "aaaa-bbbb-cccc-dddd"), (18, "aaaa-bbbb-cccc"), (13, "aaaa-cccc"),
    (9, "aaaa-cccc"), (8, "aaaa"), (3, "aaa"), (0, ""), (-5, ""),
])
def test_what_tells_least_makes_room_first(columns: int, text: str) -> None:
    assert join(fit(CELLS, columns, "-"), "-") == text


def test_a_failure_outlives_the_rate_on_a_narrow_line() -> None:
    assert join(fit(cells_of(RUN), 40), " | ") == "1,234,567 of 2,900,000 | 3 failed"


def test_a_finished_run_is_summed_up() -> None:
    stats = Stats(run_settled=1000, settled=1000, handled=999, failed=1, elapsed=62.0, finished=True)
    assert summary_text(stats, failures_file="x/failures.jsonl", resume="tm-run x.py 4") == (
        "Done: 999 jobs handled in 1 min 02 s, 16.1/s.\n"
        "  failed:  1, see x/failures.jsonl"
    )


def test_failures_of_earlier_runs_are_named_also_where_nothing_is_new() -> None:
    stats = Stats(settled=1000, failed_before=2, elapsed=0.2, finished=True)
    assert summary_text(stats, failures_file="x/failures.jsonl") == (
        "Nothing new: 1,000 jobs settled by earlier runs.\n"
        "  failed earlier:  2, see x/failures.jsonl"
    )
    stats = Stats(run_settled=4, settled=1004, handled=3, failed=1, failed_before=2, elapsed=2.0, finished=True)
    assert summary_text(stats, failures_file="x/failures.jsonl") == (
        "Done: 3 jobs handled in 2.0 s, 1.5/s.\n"
        "  failed:                1, see x/failures.jsonl\n"
        "  failed earlier:        2\n"
        "  previously completed:  1,000"
    )


def test_a_stopped_run_says_how_to_resume_it() -> None:
    errors = ["2 x ValueError: row N is bad", "1 x KeyError"]
    assert summary_text(RUN, resume="tm-run x.py 4", common_errors=errors) == (
        "Stopped: 999,997 jobs handled in 1 min 02 s, 16.1 k/s.\n"
        "  failed:                3\n"
        "  most common errors:    2 x ValueError: row N is bad\n"
        "                         1 x KeyError\n"
        "  retried:               12 after a failed attempt\n"
        "  replayed:              34 already handed out by an earlier run\n"
        "  previously completed:  234,567\n"
        "  settled:               every job below offset 1,233,755\n"
        "  resume with:           tm-run x.py 4"
    )


@pytest.mark.parametrize("stats, text", [
    (Stats(settled=1000, elapsed=0.2, finished=True), "Nothing new: 1,000 jobs settled by earlier runs."),
    (Stats(elapsed=0.2, finished=True), "Done: the source has no jobs."),
    (Stats(run_settled=1, settled=1, handled=1, finished=True), "Done: 1 job handled in 0.0 s, 0/s."),
])
def test_a_run_with_little_to_say_says_it_in_one_line(stats: Stats, text: str) -> None:
    assert summary_text(stats, resume="tm-run x.py 4") == text


def test_the_summary_for_programs_is_json_with_every_number() -> None:
    summary = json.loads(json.dumps(summary_json(RUN, exit_code=75, failures_file="f", resume="tm-run")))
    assert (summary["in_flight"], summary["running"], summary["queued"]) == (812, 40, 772)
    assert summary["straggler"] is None and summary["replayed"] == 34
    assert summary["finished"] is False and summary["offset"] == 1_233_755
    assert summary["exit_code"] == 75 and summary["failures_file"] == "f" and summary["resume"] == "tm-run"
    assert summary["mean_rate"] == pytest.approx(1_000_000 / 62)

"""The benchmark runs each workload, counts right, and says what is missing or wrong. How fast it was is no matter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from helpers import ROOT

sys.path.insert(0, str(ROOT / "scripts"))

from benchmarks import __main__ as bench  # noqa: E402
from benchmarks import workloads  # noqa: E402
from benchmarks.ours import Ours  # noqa: E402
from benchmarks.report import Report  # noqa: E402
from benchmarks.workloads import WORKLOADS, Workload  # noqa: E402

HIDDEN = ("joblib", "distributed")  # whether they are installed or not


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """In which the checkout comes first, and no peer besides those of the standard library can be imported."""
    hiding = tmp_path / "hiding"
    hiding.mkdir()
    for name in HIDDEN:
        (hiding / f"{name}.py").write_text('raise ImportError("hidden by a test")\n')
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "scripts", hiding)))}


def quick(folder: Path, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "benchmarks", "--quick", *arguments], cwd=folder, env=environment,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=55)


def samples(data: Any) -> list[dict[str, Any]]:
    return [sample for one in data if not one.get("missing") for sample in one["samples"]]


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_workload_runs_and_counts_right(name: str, tmp_path: Path, environment: dict[str, str]) -> None:
    ended = quick(tmp_path, environment, name, "--json", "found.json")

    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["machine"]["cores"] >= 1 and found["quick"]
    report = found["workloads"][name]
    assert report["wrong"] == []
    assert all(target["met"] is None for target in report["targets"]), "tiny counts were judged"
    if name not in ("memory", "slaves"):
        ran = samples(report["data"])
        assert len(ran) > 1 and all(one["handled"] == one["count"] > 0 for one in ran)


def test_peers_stand_in_the_table_and_those_that_are_missing_below_it(
        tmp_path: Path, environment: dict[str, str]) -> None:
    ended = quick(tmp_path, environment, "noop", "--rounds", "2", "--plot", "found.svg")

    assert ended.returncode == 0, ended.stderr
    rows = [line for line in ended.stdout.splitlines() if line.endswith("20,000")]
    assert [row.split()[0] for row in rows] == ["taskmaster", "multiprocessing.Pool", "ProcessPoolExecutor"]
    for missing in ("joblib: not installed", "dask.distributed: not installed", "celery: needs a broker"):
        assert missing in ended.stdout
    turns = [line.split(":")[1].split()[0] for line in ended.stderr.splitlines() if line.startswith("round")]
    assert turns == ["taskmaster", "multiprocessing.Pool", "ProcessPoolExecutor", "joblib", "dask.distributed",
                     "ProcessPoolExecutor", "multiprocessing.Pool", "taskmaster"]
    assert "taskmaster" in (tmp_path / "found.svg").read_text()


def test_over_a_network_address_it_counts_the_same() -> None:
    sample = Ours("noop", 5_000, tcp=True).run()

    assert (sample.wrong, sample.handled) == ("", 5_000)
    assert sample.slaves_cpu > sample.master_cpu / 10


def test_jobs_that_fail_unasked_are_wrong() -> None:
    sample = Ours("cpu", 20, arguments={"failing": 15}).run()

    assert sample.wrong.startswith("exit code 3")
    assert sample.handled == 19


def test_a_wrong_count_is_told_and_ends_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    spoiled = Report("noop", "spoiled", ("",), [["x"]], wrong=["handled 99 of 100 jobs"])
    monkeypatch.setattr(Workload, "run", lambda self, name, plan: spoiled)

    ended = CliRunner().invoke(bench.main, ["--quick", "noop"])

    assert ended.exit_code == 1
    assert "WRONG  handled 99 of 100 jobs" in ended.output


def test_an_unknown_workload_is_named_beside_the_known_ones() -> None:
    ended = CliRunner().invoke(bench.main, ["nop"])

    assert ended.exit_code == 2
    assert all(name in ended.output for name in ["'nop'", *workloads.WORKLOADS])

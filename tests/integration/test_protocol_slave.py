"""The slave that the protocol page shows, run as it stands there, against a real master."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from protocol_page import program
from support.interrupting import interrupt

from taskmaster.core.interrupts import Interrupts
from taskmaster.errors import EXIT_DONE, EXIT_DONE_WITH_FAILURES, EXIT_STATE_MISMATCH
from taskmaster.master.master import Master, Options, Outcome, Workload
from taskmaster.master.state.run_state import Identity

SECONDS = 20.0
JOBS = 300


class Serving:
    """A master at work in a thread, and the slaves that were started for it."""

    def __init__(self, folder: Path) -> None:
        work = Workload(lambda: [f"job {number}" for number in range(JOBS)], {}, Identity("test", {}, "handler"),
                        folder / "state")
        self._interrupts = Interrupts()
        self._master = Master(work, Options(codec="json", attempts=2), interrupts=self._interrupts)
        self._address = f"ipc://{folder}/socket"
        self._master.open(self._address)
        self._outcomes: list[Outcome] = []
        self._thread = threading.Thread(target=lambda: self._outcomes.append(self._master.run()), daemon=True)
        self._thread.start()
        self._slaves: list[subprocess.Popen[str]] = []

    def slave(self, script: str) -> subprocess.Popen[str]:
        argv = [sys.executable, "-c", script, self._address]
        self._slaves.append(subprocess.Popen(argv, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
        return self._slaves[-1]

    def outcome(self) -> Outcome:
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()
        return self._outcomes[0]

    def close(self) -> None:
        for slave in self._slaves:
            slave.kill()
            slave.communicate()
        interrupt(self._interrupts, times=2)
        self._thread.join(SECONDS)
        self._master.close()


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    made = Serving(tmp_path)
    yield made
    made.close()


def test_it_runs_every_job_and_leaves_when_it_is_told(serving: Serving) -> None:
    slave = serving.slave(program())
    outcome = serving.outcome()
    assert (outcome.exit_code, outcome.stats.handled) == (EXIT_DONE, JOBS)
    out, err = slave.communicate(timeout=SECONDS)
    assert (slave.returncode, err) == (0, "")
    assert Counter(out.splitlines()) == {f"job {number}": 1 for number in range(JOBS)}


def test_it_reports_what_failed(serving: Serving) -> None:
    slave = serving.slave(program().replace("    print(job, flush=True)",
                                            "    print(job, flush=True)\n    assert job != 'job 7'"))
    outcome = serving.outcome()
    assert (outcome.exit_code, outcome.stats.failed, outcome.stats.retried) == (EXIT_DONE_WITH_FAILURES, 1, 1)
    assert Counter(slave.communicate(timeout=SECONDS)[0].splitlines())["job 7"] == 2
    assert outcome.failures_file is not None and "AssertionError" in outcome.failures_file.read_text()


def test_of_another_version_it_ends_with_the_masters_sentence(serving: Serving,
                                                              caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        slave = serving.slave(program().replace('{"v": 1', '{"v": 2'))
        out, err = slave.communicate(timeout=SECONDS)
        assert (slave.returncode, out) == (EXIT_STATE_MISMATCH, "")
        assert err.startswith("The slave speaks protocol version 2, the master version 1 (Taskmaster ")
    logged = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(logged) == 1 and err.strip() in logged[0]
    serving.slave(program())
    assert serving.outcome().stats.handled == JOBS

"""A part of the fault suite, a different one each time: the faults that a seed draws, played two at a time.

`scripts/chaos` plays all of them; a failure here names the command that plays it again.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from chaos.act import Act  # noqa: E402
from chaos.blow import Blow  # noqa: E402
from chaos.exceptions import Unplayable  # noqa: E402
from chaos.faults import FAULTS, Fault, chosen  # noqa: E402
from chaos.log import Log  # noqa: E402
from chaos.oracle import judge  # noqa: E402
from chaos.plays import power  # noqa: E402
from chaos.report import Row, conclusion  # noqa: E402
from chaos.suite import AT_ONCE, play_one, repeat  # noqa: E402

SEED = int(os.environ.get("CHAOS_SEED", random.SystemRandom().randrange(10**6)))
SECONDS = 220.0  # of faults, played two at a time: about two minutes
ALWAYS = (1, 2, 48, 61)  # kills of slaves, of masters, by a job, and with results: what the promises are about


def _drawn() -> list[Fault]:
    """As many as fit, the promises first."""
    rest = [fault for fault in FAULTS if not fault.isolated and fault.number not in ALWAYS]
    random.Random(SEED).shuffle(rest)
    found, left = [], SECONDS
    for fault in [*chosen(list(map(str, ALWAYS))), *rest]:
        if fault.seconds <= left:
            found.append(fault)
            left -= fault.seconds
    return found


@pytest.fixture(scope="module")
def played() -> Iterator[dict[int, Future[Row]]]:
    if not sys.platform.startswith("linux"):
        pytest.skip("processes left behind are found in /proc")
    print(f"chaos seed {SEED}")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {fault.number: pool.submit(play_one, fault, 1, SEED) for fault in _drawn()}
        pool.shutdown(cancel_futures=True)


@pytest.mark.limit(240)
@pytest.mark.parametrize("fault", _drawn(), ids=lambda fault: f"{fault.number}-seed-{SEED}")
def test_nothing_is_lost_and_little_repeated(played: dict[int, Future[Row]], fault: Fault) -> None:
    row = played[fault.number].result()
    if row.skipped:
        pytest.skip(row.skipped)
    assert not row.violations, f"{row.text()}\nto repeat: {repeat([fault], SEED)}"


# -- whether the oracle finds anything

def noted(folder: Path, *lines: str) -> Log:
    """Notes such as "start 3 pid at"; the thread is always 1."""
    text = "".join("{0} {1} {2} 1 {3}\n".format(*line.split()) for line in lines)
    (folder / "log").write_text(text)
    return Log(folder / "log").read()


def test_a_job_that_never_ended_is_lost(tmp_path: Path) -> None:
    log = noted(tmp_path, "start 0 7 1.0", "end 0 7 1.1", "start 1 7 1.2")
    assert judge(log, range(3), [], []).lost == ["1", "2"]
    assert judge(log, range(3), [], [{"offset": 2, "payload": {"json": 2}}]).lost == ["1"]


@pytest.mark.parametrize("blow, replays", [
    (None, 0),  # nothing was done: it ran again for no reason
    (Blow("slave", 1.5, frozenset({7}), 1.5, bound=9), 1),
    (Blow("slave", 1.5, frozenset({8}), 1.5, bound=9), 0),  # another slave died
    (Blow("slave", 0.5, frozenset({7}), 0.5, bound=9), 0),  # before the job ran at all
    (Blow("slave", 2.5, frozenset({7}), 2.5, bound=9), 0),  # after it had run again
    (Blow("master", 1.5, None, 3.0, watermark=0, bound=9), 1),
    (Blow("master", 1.5, None, 3.0, watermark=1, bound=9), 0),  # the checkpoint said that it was done
])
def test_a_replay_needs_a_reason(tmp_path: Path, blow: Blow | None, replays: int) -> None:
    log = noted(tmp_path, "start 0 7 1.0", "end 0 7 1.1", "start 0 9 2.0", "end 0 9 2.1")
    verdict = judge(log, range(1), [blow] if blow else [], [])
    assert (verdict.extra, len(verdict.unexplained)) == (1, 1 - replays)
    assert blow is None or blow.replays == replays


def test_a_retry_is_no_replay(tmp_path: Path) -> None:
    log = noted(tmp_path, "start 0 7 1.0", "raise 0 7 1.1", "start 0 9 2.0", "end 0 9 2.1")
    assert judge(log, range(1), [], []).extra == 0


def test_the_last_line_names_the_replays_nearest_to_their_bound() -> None:
    rows = [Row(1, "a", kills=3, replays=(5, 10)), Row(2, "b", kills=1200, lost=1, replays=(11, 10))]
    assert conclusion(rows[:1]) == "3 kills, 0 lost, worst replay 5 <= 10"
    assert conclusion(rows) == "1,203 kills, 1 lost, worst replay 11 > 10"


def test_a_master_that_never_fsyncs_is_found_by_power_losses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "PACE", 0.01)
    monkeypatch.setattr(power, "DRAWN", 4)  # four fifths of the states that are left cannot be resumed
    act = Act(tmp_path / "act", 1, 54)
    try:
        power.power_loss(act, fsync=None)
    except Unplayable as reason:
        pytest.skip(str(reason))
    finally:
        act.close()
    assert act.scenes[0].violations == [] and any(scene.violations for scene in act.scenes)

"""Whole clusters in simulated time: the shipped code keeps its promises in fresh seeds, and broken parts are found."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from models.mutants import (agent, backups, batches, dispatcher, results, settled, slots, state, transport, watchdog,
                            window)
from models.network import Weather
from models.parts import Parts
from models.scenario import FateShares, Scenario
from models.world import World
from simulation.faults import Faults
from simulation.play import play

from taskmaster.core.window import Window
from taskmaster.errors import EXIT_TOO_MANY_FAILURES
from taskmaster.master.state.run_state import RunState

TESTS = Path(__file__).resolve().parents[1]
MOST_SEEDS = 1000  # in which each broken part must be found

# Which part, how it is broken, and a seed that once found it: it is tried first, but may have changed since.
BROKEN: list[tuple[str, type[Any], int]] = [
    ("window", window.RenewsBySession, 0),
    ("window", window.RequeuesNothing, 6),
    ("window", window.LateFailureOverridesLateSuccess, 1),
    ("window", window.LateFailureCounts, 421),
    ("window", window.SettlesWhatWasNeverLeased, 2),
    ("window", window.SettlesWhatFailed, 0),
    ("window", window.WatermarkPassesAnUnsettledJob, 0),
    ("window", window.WatermarkPassesARetry, 0),
    ("window", window.ForgetsTheSpan, 1),
    ("window", window.PutsSettledJobsBack, 0),
    ("window", window.BlamesTheNeighbours, 34),
    ("window", window.ChargesWithoutEvidence, 7),
    ("window", window.ChargesNobody, 6),
    ("window", window.ReadoptsNothing, 79),
    ("window", window.ReadoptsByWord, 731),
    ("dispatcher", dispatcher.AcceptsStaleAcknowledgements, 27),
    ("dispatcher", dispatcher.AcceptsAnEarlierEpoch, 40),
    ("dispatcher", dispatcher.AnyMessageRenewsAll, 17),
    ("dispatcher", dispatcher.TakesADroppedConnectionForADeath, 6),
    ("dispatcher", dispatcher.TakesAnyHandler, 15),
    ("dispatcher", dispatcher.LooksOnlyAtNewHandlers, 15),
    ("agent", agent.UsesAnswersToOlderRequests, 0),
    ("agent", agent.UsesAnAnswerTwice, 0),
    ("agent", agent.ReportsWhatItDropped, 0),
    ("agent", agent.TakesASentReportForHeard, 13),
    ("agent", agent.ReportsToTheNextMaster, 235),
    ("agent", agent.LeavesAtOnce, 29),
    ("run_state", state.CheckpointsWhatWasDispatched, 0),
    ("run_state", state.SavesTheCursorOfTheHead, 0),
    ("run_state", state.KeepsItsEpoch, 1),
    ("run_state", state.NeverHolds, 150),
    ("run_state", state.KeepsFailuresOfJobsThatRunAgain, 1),
    ("run_state", state.ForgetsWhatIsAbove, 12),
    ("run_state", state.ForgetsWhatIsUnread, 12),
    ("run_state", state.TriesNothingAgain, 29),
    ("run_state", state.RetriesAllButTheLast, 0),
    ("run_state", state.TriesAgainWithoutARecord, 29),
    ("run_state", state.DropsRecordsTooEarly, 209),
    ("run_state", state.KeepsRecordsOfHandledJobs, 29),
    ("run_state", state.ForgetsWhichWereTriedAgain, 209),
    ("settled_before", settled.IgnoresIdentity, 25),
    ("writer", state.SavesBeforeFailures, 0),
    ("writer", state.TakesFailuresOfAnotherMoment, 44),
    ("writer", state.LosesFailuresToAFullDisk, 3),
    ("writer", state.LosesAnOfferMadeWhileItWrites, 10),
    ("slots", slots.ForgetsASliceWhenThereAreFewer, 129),
    ("sink", results.SavesTheMarkFirst, 0),
    ("sink", results.KeepsTheTail, 28),
    ("dispatcher", results.CountsLateResults, 1),
    ("results", results.WritesThemAsTheyCome, 7),
    ("results", results.KeepsWhatWaitsInMemory, 1),
    ("results", results.ForgetsWhatIsUnread, 68),
    ("results", results.DropsWhatItReadsBack, 68),
    ("peers", transport.TakesLastWordsForASignOfLife, 271),
    ("peers", transport.TakesADescriptorForAConnection, 131),
    ("dispatcher", backups.BacksUpBeforeTheEnd, 1),
    ("dispatcher", backups.BacksUpWhatHasJustBegun, 4),
    ("dispatcher", backups.BacksUpWhileRetriesWait, 0),
    ("window", backups.CountsBothResults, 3),
    ("window", backups.ChargesTheFirstOfTwoFailures, 0),
    ("window", backups.RequeuesWhatTheSecondRuns, 76),
    ("window", backups.BacksUpForEver, 0),
    ("watchdog", watchdog.NeverKills, 36),
    ("watchdog", watchdog.TakesItsOwnSuspensionForSilence, 139),
    ("batches", batches.ForgetsAHalf, 9),
    ("batches", batches.ChargesTheNeighbours, 9),
    ("batches", batches.SettlesTheNeighbours, 9),
    ("batches", batches.TakesBackWhatRuns, 136),
]


def simulate(*arguments: str, hashes: str = "random") -> subprocess.CompletedProcess[str]:
    paths = [str(TESTS), str(TESTS.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONHASHSEED": hashes}
    return subprocess.run([sys.executable, "-m", "simulation", *arguments], env=environment, text=True,
                          capture_output=True)


@pytest.mark.slow
@pytest.mark.limit(180)
def test_fresh_seeds_break_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    done = simulate("--seconds", "45")

    with capsys.disabled():
        print("\n" + done.stdout, end="")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_seed_plays_the_same_each_time_and_in_each_process() -> None:
    one, other = (simulate("--seed", "2921", hashes=hashes) for hashes in ("1", "2"))

    assert one.returncode == 0, one.stdout + one.stderr
    assert one.stdout == other.stdout
    assert f"trace {_hash(one)}" in other.stdout and _hash(one) != _hash(simulate("--seed", "2922"))


def _hash(done: subprocess.CompletedProcess[str]) -> str:
    return done.stdout.rsplit(maxsplit=1)[-1]


def test_many_processes_play_what_one_plays() -> None:
    seeds = range(50, 62)
    many = simulate("--seed", str(seeds[0]), "--seeds", str(len(seeds)))

    jobs = sum(play(seed).counts["handled"] for seed in seeds)
    assert f"12 seeds, 0 broken: {jobs:,} jobs handled" in many.stdout


def test_no_checkpoint_follows_the_last_one_while_slaves_say_goodbye() -> None:
    """One would not say that the failed jobs are to be tried again."""
    stopped = Scenario(seed=699, jobs=30, size=6, attempts=1, slaves=1, slow=1, cursors=1, bad=7, budget=2, retries=5,
                       takes_last=False, fates=FateShares(raises_once=0.3, holders=2), fleet=True, watchdog=True,
                       job_timeout=3.0, weather=Weather(delay=1e-4, late=0.02, repeated=0.3, ordered=False),
                       faults=("slave killed", "master killed", "master stalled", "disk full", "forged report"), many=2)
    result = World(stopped, disturbances=Faults).play()

    assert result.broken is None


@pytest.mark.parametrize("job_timeout", [None, 3.0])
def test_a_job_that_holds_the_interpreter_for_ever_fails_alone(job_timeout: float | None) -> None:
    world = World(Scenario(jobs=40, size=40, slaves=3, threads=2, fleet=True, watchdog=True, job_timeout=job_timeout,
                           fates=FateShares(holders=1)))
    result = world.play()

    assert result.broken is None
    assert [one.kind for one in world.disk.failures] == ["killed"]
    assert len(world.oracle.executed) == 39
    assert result.counts["killed by their fleet"] == result.counts["slave deaths"]


class OffersAtEachTurn(RunState):
    def due(self, window: Window, now: float) -> bool:
        return True


def test_a_checkpoint_after_the_last_one_still_says_that_too_many_jobs_had_failed() -> None:
    world = World(Scenario(jobs=20, attempts=1, budget=1, fates=FateShares(raises_once=0.4)),
                  Parts(run_state=OffersAtEachTurn))
    result = world.play()

    assert result.broken is None and EXIT_TOO_MANY_FAILURES in world.exit_codes
    assert result.counts["tried again"] > 0


@pytest.mark.limit(150)
@pytest.mark.parametrize("part, broken, seed", BROKEN, ids=[one.__name__ for _, one, _ in BROKEN])
def test_a_broken_part_is_found_and_the_right_one_is_not(part: str, broken: type[Any], seed: int) -> None:
    parts = Parts(**{part: broken})
    found = next((one for one in [seed, *range(MOST_SEEDS)] if play(one, parts).broken is not None), None)

    assert found is not None
    assert play(found).broken is None

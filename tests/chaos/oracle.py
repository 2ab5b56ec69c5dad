"""Judges the product from outside: what was lost, what ran more often than it should, and which blow explains that.

It reads the handlers' notes and the failures file, and imports nothing of the product.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from chaos.blow import Blow
from chaos.log import Attempt, Log
from chaos.state import job_of

BEFORE_SECONDS = 0.3
BACKUP_SECONDS = 1.0  # that a job has been out before another slave is given it as well, at the end of a run


@dataclass
class Verdict:
    """What came of one scene.

    `lost` jobs were neither done nor written down as failed; `extra` runs repeated a job, `unexplained` ones without a
    reason; `next_completion` are the seconds from each blow to the next job done; `again` those until the jobs that a
    blow cut short ran elsewhere; `kept` is the rate after the first blow as a share of that before.
    """

    jobs: int = 0
    lost: list[str] = field(default_factory=list)
    extra: int = 0
    unexplained: list[str] = field(default_factory=list)
    failed: int = 0
    next_completion: list[float] = field(default_factory=list)
    again: list[tuple[float, Blow]] = field(default_factory=list)
    kept: float | None = None


def judge(log: Log, expected: Iterable[object], blows: Sequence[Blow], failures: Sequence[dict[str, Any]],
          excused: Iterable[object] = ()) -> Verdict:
    """Holds the notes against what was done; counts each blow's replays. The `excused` jobs repeat themselves."""
    log.read()
    wanted = {str(job) for job in expected}
    failed = {job_of(line) for line in failures}
    verdict = Verdict(len(wanted), sorted(wanted - log.done() - failed), failed=len(failed))
    _count_replays(log, blows, {str(job) for job in excused}, verdict)
    verdict.next_completion = [_after(log.ends, blow.at) for blow in blows]
    verdict.again = [(_again(log.attempts, blow), blow) for blow in blows if blow.again]
    verdict.kept = _kept(log.ends, blows)
    return verdict


def _count_replays(log: Log, blows: Sequence[Blow], excused: set[str], verdict: Verdict) -> None:
    for blow in blows:
        blow.replays = 0
    for job, attempts in _by_job(log.attempts).items():
        for index, later in enumerate(attempts[1:] if job not in excused else (), 1):
            earlier = attempts[:index]
            if earlier[-1].how == "raise":
                continue  # a retry
            verdict.extra += 1
            guilty = _blamed(blows, earlier, later)
            if guilty is not None:
                guilty.replays += 1
            elif not _is_backup(earlier[-1], later):
                verdict.unexplained.append(later.job)


def _is_backup(earlier: Attempt, later: Attempt) -> bool:
    """Whether the later run may be on purpose: elsewhere, beside one that had been running for long."""
    runs_still = earlier.end is None or earlier.end > later.start
    return runs_still and later.pid != earlier.pid and later.start - earlier.start > BACKUP_SECONDS - BEFORE_SECONDS


def _by_job(attempts: Sequence[Attempt]) -> dict[str, list[Attempt]]:
    found: dict[str, list[Attempt]] = defaultdict(list)
    for attempt in sorted(attempts, key=lambda one: one.start):
        found[attempt.job].append(attempt)
    return found


def _blamed(blows: Sequence[Blow], earlier: Sequence[Attempt], later: Attempt) -> Blow | None:
    """The first blow that undid the run just before; failing that, one that undid any."""
    guilty = [blow for blow in blows if blow.explains(earlier[-1], later)]
    if guilty:
        return min(guilty, key=lambda blow: (blow.at < earlier[-1].start, blow.at))
    return next((blow for blow in blows if any(blow.explains(one, later) for one in earlier)), None)


def _after(ends: Sequence[float], then: float) -> float:
    """Seconds until the next job was finished; infinite if none was."""
    return min((end - then for end in ends if end > then), default=float("inf"))


def _again(attempts: Sequence[Attempt], blow: Blow) -> float:
    """Seconds until the last of the jobs that a blow cut short had begun again."""
    begun = {job: float("inf") for job in blow.again}
    for one in attempts:
        elsewhere = blow.pids is None or one.pid not in blow.pids
        if one.job in begun and elsewhere and one.start > blow.at:
            begun[one.job] = min(begun[one.job], one.start - blow.at)
    return max(begun.values())


def _kept(ends: Sequence[float], blows: Sequence[Blow]) -> float | None:
    """The rate from the first blow on, as a share of that just before it, when all slaves were at work."""
    if not blows or not ends:
        return None
    last, blow = max(ends), min(blow.at for blow in blows)
    before = sum(blow - BEFORE_SECONDS < end <= blow for end in ends)
    if before < 20 or min(ends) > blow - BEFORE_SECONDS or last - blow < BEFORE_SECONDS:
        return None
    after = sum(end > blow for end in ends)
    return (after / (last - blow)) / (before / BEFORE_SECONDS)


def worst(values: Iterable[float], share: float = 0.95) -> float | None:
    """The 95th percentile; of a few values, the largest."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None

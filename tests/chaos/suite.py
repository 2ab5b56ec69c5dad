"""Plays faults, two at a time, each round of each in a folder of its own, and gathers what came of them."""

from __future__ import annotations

import tempfile
import time
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from chaos.faults import Fault
from chaos.oracle import Verdict
from chaos.report import Row
from chaos.scene import Act, Broken, Scene, Unplayable

AT_ONCE = 2
TRIES = 3


def play(faults: Sequence[Fault], rounds: int, seed: int, at_once: int = AT_ONCE,
         say: Callable[[str], None] = lambda text: None) -> Iterator[Row]:
    """The rows of these faults, as they are done: those that want to be alone come last.

    Round number r is played by the seed `seed + r`, so that it can be played again by itself.
    """
    together = [fault for fault in faults if not fault.isolated]
    yield from _play(together, rounds, seed, at_once, say)
    yield from _play([fault for fault in faults if fault.isolated], rounds, seed, 1, say)


def _play(faults: Iterable[Fault], rounds: int, seed: int, at_once: int, say: Callable[[str], None]) -> Iterator[Row]:
    with ThreadPoolExecutor(at_once) as pool:
        waiting: set[Future[Row]] = {pool.submit(play_one, fault, rounds, seed, say) for fault in faults}
        try:
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        finally:
            for future in waiting:
                future.cancel()


def play_one(fault: Fault, rounds: int, seed: int, say: Callable[[str], None] = lambda text: None) -> Row:
    """All rounds of one fault."""
    row = Row(fault.number, fault.name)
    began = time.monotonic()
    for one in range(rounds):
        before = len(row.violations)
        _play_round(fault, seed + one, row)
        if len(row.violations) > before:
            row.violations.append(f"to repeat: {repeat([fault], seed + one)}")
            say(row.text())
        if row.skipped:
            break
    row.took = time.monotonic() - began
    return row


def repeat(faults: Collection[Fault], seed: int) -> str:
    """The command that plays these again."""
    numbers = "".join(f" {fault.number}" for fault in faults)
    exhaustive = " --exhaustive" if any(fault.exhaustive for fault in faults) else ""
    return f"scripts/chaos{numbers} --seed {seed}{exhaustive}"


def _play_round(fault: Fault, seed: int, row: Row) -> None:
    """Up to three times while it is only late, or the machine was too busy to tell: a fault is there each time.

    An exhaustive one takes an hour, and is played once.
    """
    for again in range(TRIES):
        act, told = _play_once(fault, seed)
        row.skipped = told.skipped
        if not told.doubtful or fault.exhaustive or again + 1 == TRIES:
            break
        row.doubts += told.wrong + told.late
        act.clear()
    for verdict, scene in told.verdicts:
        row.add(verdict, scene.blows, scene.memory)
    row.remarks += act.remarks
    row.violations += told.wrong + told.late
    if told.wrong or told.late:
        row.violations.append(f"the files are in {act.folder}")
    else:
        act.clear()


@dataclass
class Told:
    """What came of one try."""

    skipped: str = ""
    wrong: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    verdicts: list[tuple[Verdict, Scene]] = field(default_factory=list)

    @property
    def doubtful(self) -> bool:
        """Whether another try may end better. A job that is lost is lost, however busy the machine."""
        lost = any(verdict.lost for verdict, _ in self.verdicts)
        fair = all(scene.fair for _, scene in self.verdicts)
        sure = any(scene.fair and scene.violations for _, scene in self.verdicts)
        return bool(self.wrong or self.late) and not lost and not sure and not (self.wrong and fair)


def _play_once(fault: Fault, seed: int) -> tuple[Act, Told]:
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{fault.number}-"))
    act, told = Act(folder, seed, fault.number, fault.exhaustive), Told()
    try:
        fault.play(act)
    except Unplayable as reason:
        told.skipped = str(reason)
    except Exception as error:
        told.wrong.append(str(error) if isinstance(error, Broken) else traceback.format_exc())
        for scene in act.scenes:
            scene.finishes = False  # what nobody waited for is not lost
    finally:
        act.close()
    if not told.skipped:
        for scene in act.scenes:
            _judge(scene, told)
    return act, told


def _judge(scene: Scene, told: Told) -> None:
    named = f"{scene.name}: " if scene.name else ""
    try:
        told.verdicts.append((scene.judge(), scene))
    except Exception:
        told.wrong.append(named + traceback.format_exc())
    told.wrong += [named + text for text in scene.violations]
    told.late += [named + text for text in scene.late]

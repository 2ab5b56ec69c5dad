"""Plays faults, two at a time, each round in a folder of its own, and collects the results."""

from __future__ import annotations

import tempfile
import time
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from chaos.act import Act
from chaos.exceptions import Broken, Unplayable
from chaos.faults import Fault
from chaos.oracle import Verdict
from chaos.report import Row
from chaos.scene import Scene

AT_ONCE = 2
TRIES = 3


def play(faults: Sequence[Fault], rounds: int, seed: int, at_once: int = AT_ONCE,
         say: Callable[[str], None] = lambda text: None) -> Iterator[Row]:
    """The rows of these faults as they are done; isolated ones come last.

    Round r is played with the seed `seed + r`, so that it can be played again by itself.
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
    """Up to three times while it is only late or the machine was too busy to tell: a real fault shows each time.

    Once if it is exhaustive, which takes most of an hour.
    """
    for again in range(TRIES):
        act, tried = _play_once(fault, seed)
        row.skipped = tried.skipped
        if not tried.doubtful or fault.exhaustive or again + 1 == TRIES:
            break
        row.doubts += tried.wrong + tried.late
        act.clear()
    for verdict, scene in tried.verdicts:
        row.add(verdict, scene.blows, scene.monitor.memory)
    row.remarks += act.remarks
    row.violations += tried.wrong + tried.late
    if tried.wrong or tried.late:
        row.violations.append(f"the files are in {act.folder}")
    else:
        act.clear()


@dataclass
class Try:
    """What came of playing it once."""

    skipped: str = ""
    wrong: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    verdicts: list[tuple[Verdict, Scene]] = field(default_factory=list)

    @property
    def doubtful(self) -> bool:
        """Whether another try may end better. A lost job is lost, however busy the machine is."""
        lost = any(verdict.lost for verdict, _ in self.verdicts)
        fair = all(scene.fair for _, scene in self.verdicts)
        sure = any(scene.fair and scene.violations for _, scene in self.verdicts)
        return bool(self.wrong or self.late) and not lost and not sure and not (self.wrong and fair)


def _play_once(fault: Fault, seed: int) -> tuple[Act, Try]:
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{fault.number}-"))
    act, tried = Act(folder, seed, fault.number, fault.exhaustive), Try()
    try:
        fault.play(act)
    except Unplayable as reason:
        tried.skipped = str(reason)
    except Exception as error:
        tried.wrong.append(str(error) if isinstance(error, Broken) else traceback.format_exc())
        for scene in act.scenes:
            scene.finishes = False  # jobs that nobody waited for are not lost
    finally:
        act.close()
    if not tried.skipped:
        for scene in act.scenes:
            _judge(scene, tried)
    return act, tried


def _judge(scene: Scene, tried: Try) -> None:
    named = f"{scene.name}: " if scene.name else ""
    try:
        tried.verdicts.append((scene.judge(), scene))
    except Exception:
        tried.wrong.append(named + traceback.format_exc())
    tried.wrong += [named + text for text in scene.violations]
    tried.late += [named + text for text in scene.late]

"""Plays faults, two at a time, each round of each in a folder of its own, and gathers what came of them."""

from __future__ import annotations

import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from chaos.faults import Fault
from chaos.report import Row
from chaos.scene import Act, Broken, Unplayable

AT_ONCE = 2


def play(faults: Sequence[Fault], rounds: int, seed: int, at_once: int = AT_ONCE,
         say: Callable[[str], None] = lambda text: None) -> Iterator[Row]:
    """The rows of these faults, as they are done: those that want to be alone come last.

    Round number r is played by the seed `seed + r`, so that it can be played again by itself.
    """
    together = [fault for fault in faults if not fault.alone]
    yield from _play(together, rounds, seed, at_once, say)
    yield from _play([fault for fault in faults if fault.alone], rounds, seed, 1, say)


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


def repeat(faults: Iterable[Fault], seed: int) -> str:
    """The command that plays these again."""
    return f"scripts/chaos {' '.join(str(fault.number) for fault in faults)} --seed {seed}"


def _play_round(fault: Fault, seed: int, row: Row) -> None:
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{fault.number}-"))
    act = Act(folder, seed, fault.number)
    before = len(row.violations)
    try:
        fault.play(act)
    except Unplayable as reason:
        row.skipped = str(reason)
    except Broken as broken:
        row.violations.append(str(broken))
    except Exception:  # the play itself: what it was about to find out it did not find out
        row.violations.append(traceback.format_exc())
    finally:
        act.close()
    if not row.skipped:
        _judge(act, row)
    if len(row.violations) > before:
        row.violations.append(f"the files are in {folder}")
    else:
        act.clear()


def _judge(act: Act, row: Row) -> None:
    for scene in act.scenes:
        try:
            row.add(scene.judge(), scene.blows, scene.memory)
        except Exception:
            row.violations.append(traceback.format_exc())
        named = f"{scene.name}: " if scene.name else ""
        row.violations += [named + text for text in scene.violations]

"""The table: every fault by number and name, how it is played, and how many replays one blow of it may cause."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chaos.plays import deaths, drains
from chaos.scene import Act

WINDOW = "a window + 1.5 s of work"
HELD = "what a slave holds"
NONE = "none"


@dataclass(frozen=True)
class Fault:
    """`bound` says which replays are allowed; `seconds` is about what one round takes; `quick` ones are in the tests.

    One that measures a rate is played `alone`: two at a time would measure each other.
    """

    number: int
    name: str
    play: Callable[[Act], None]
    bound: str
    seconds: float = 8.0
    quick: bool = False
    alone: bool = False


FAULTS: tuple[Fault, ...] = (
    Fault(1, "kill -9 of a slave, every 0.3 s", deaths.slave_in_a_loop, HELD, 8, quick=True),
    Fault(2, "kill -9 of the master at random", deaths.master_at_random, WINDOW, 13, quick=True),
    Fault(3, "kill -9 of all at once", deaths.all_at_once, WINDOW, 8, quick=True),
    Fault(4, "kill -9 of the master inside a checkpoint's write", deaths.inside_a_checkpoint, WINDOW, 30),
    Fault(5, "kill -9 of tm-spawn", deaths.spawn_dies, HELD, 5),
    Fault(6, "kill -9 of tm-run", deaths.run_dies, WINDOW, 6, quick=True),
    Fault(7, "SIGSTOP of a slave for longer than a lease, SIGCONT", drains.stopped_slave, HELD, 10),
    Fault(8, "SIGSTOP of the master for 5 s", drains.stopped_master, NONE, 9),
    Fault(9, "SIGTERM of a slave with running jobs", drains.terminated_slave, NONE, 5, quick=True),
    Fault(10, "SIGTERM of the master", drains.terminated_master, NONE, 6, quick=True),
    Fault(11, "a second SIGINT to the master", drains.second_interrupt, WINDOW, 5, quick=True),
    Fault(12, "SIGTERM while a handler holds the interpreter 3 s", drains.terminated_while_held, NONE, 7),
    Fault(30, "a handler sleeps for longer than a lease", drains.sleeps_longer_than_a_lease, NONE, 14),
    Fault(44, "a slave killed between done and settled", deaths.between_done_and_settled, HELD, 8, quick=True),
    Fault(45, "one straggler of a thousand times the mean", drains.straggler, NONE, 7),
    # What the suite must find true beyond the table.
    Fault(46, "kill -9 of a slave of tm-run: elsewhere in 1 s", deaths.local_slave_of_a_run, HELD, 6, quick=True),
    Fault(47, "kill -9 of a slave across a network", deaths.remote_slave, HELD, 7),
    Fault(50, "a master restarted: slaves keep pids, jobs and rate", deaths.master_restarted, WINDOW, 10),
    Fault(51, "Ctrl-C: all that runs finishes, 0 replays", drains.interrupted_run, NONE, 6, quick=True),
    Fault(52, "a second Ctrl-C to tm-run: back in 1 s", drains.second_interrupt_of_a_run, WINDOW, 5, quick=True),
)


def chosen(words: Sequence[str]) -> list[Fault]:
    """The faults of these numbers, or with these words in their names; all of them for none. Raises LookupError."""
    if not words:
        return list(FAULTS)
    found = [fault for word in words for fault in FAULTS if _is_meant(fault, word)]
    missing = [word for word in words if not any(_is_meant(fault, word) for fault in FAULTS)]
    if missing:
        raise LookupError(f"no fault has the number or the words {', '.join(missing)}")
    return list(dict.fromkeys(found))


def _is_meant(fault: Fault, word: str) -> bool:
    return word == str(fault.number) if word.isdigit() else word.lower() in fault.name.lower()

"""The table: every fault by number and name, how it is played, and how many replays one blow of it may cause."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from chaos.act import Act
from chaos.plays import (batches, deaths, disks, drains, network, poison, power, results, sources, standing, strangers,
                         syscalls, words)

WINDOW = "a window + 1.5 s of work"
HELD = "what a slave holds"
NONE = "none"


@dataclass(frozen=True)
class Fault:
    """`bound` says which replays are allowed; `seconds` is roughly what one round takes on a busy machine.

    One that measures a rate is played `isolated`: two at a time would measure each other.
    """

    number: int
    name: str
    play: Callable[[Act], None]
    bound: str
    seconds: float = 8.0
    isolated: bool = False
    exhaustive: bool = False  # all cases of a play that draws some are to be played


FAULTS: tuple[Fault, ...] = (
    Fault(1, "kill -9 of a slave, every 0.3 s", deaths.slave_in_a_loop, HELD, 8),
    Fault(2, "kill -9 of the master at random", deaths.master_at_random, WINDOW, 17),
    Fault(3, "kill -9 of all at once", deaths.all_at_once, WINDOW, 14),
    Fault(4, "kill -9 of the master inside a checkpoint's write", deaths.inside_a_checkpoint, WINDOW, 21),
    Fault(5, "kill -9 of tm-spawn", deaths.spawn_dies, HELD, 5),
    Fault(6, "kill -9 of tm-run", deaths.run_dies, WINDOW, 6),
    Fault(7, "SIGSTOP of a slave for longer than a lease, SIGCONT", drains.stopped_slave, HELD, 7),
    Fault(8, "SIGSTOP of the master for 5 s", drains.stopped_master, NONE, 8),
    Fault(9, "SIGTERM of a slave with running jobs", drains.terminated_slave, NONE, 4),
    Fault(10, "SIGTERM of the master", drains.terminated_master, NONE, 10),
    Fault(11, "a second SIGINT to the master", drains.second_interrupt, WINDOW, 5),
    Fault(12, "SIGTERM while a handler holds the interpreter 3 s", drains.terminated_while_held, NONE, 5),
    Fault(13, "blackhole for half of a lease's life", network.short_blackhole, NONE, 5),
    Fault(14, "blackhole for longer than a lease lives", network.long_blackhole, HELD, 7),
    Fault(15, "connection reset at each message boundary", network.breaks, HELD, 13),
    Fault(16, "replies dropped, requests doubled", network.doubled_requests, NONE, 8),
    Fault(17, "requests reordered across a reconnect", network.reordered, NONE, 3),
    Fault(18, "half-open connection: the slave's host is lost", network.half_open, HELD, 6),
    Fault(19, "a peer of one byte a second", network.slow_bytes, NONE, 6),
    Fault(20, "a master that never returns, or elsewhere", network.master_never_returns, NONE, 7),
    Fault(21, "a master restarted on a changed source", disks.changed_source, WINDOW, 7),
    Fault(22, "old slaves meet a master with --reset", disks.reset_run, "all, as asked", 7),
    Fault(23, "a full disk, from the start and midway", disks.full_disk, NONE, 16),
    Fault(24, "the state becomes read-only midway", disks.read_only_midway, "what was settled since", 19),
    Fault(25, "a state cut at every byte, and with flipped bits", disks.damaged_state, NONE, 8),
    Fault(26, "a state of another workload, or newer", disks.another_workload, NONE, 4),
    Fault(27, "two masters on one state, or one address", disks.two_masters, NONE, 4),
    Fault(28, "a slow disk: each fsync takes 100 ms", disks.slow_disk, WINDOW, 6),
    Fault(29, "a handler raises, always and once", poison.raises, NONE, 5),
    Fault(30, "a handler sleeps for longer than a lease", drains.sleeps_longer_than_a_lease, NONE, 13),
    Fault(31, "a handler hangs for ever, with --job-timeout", poison.hangs, NONE, 8),
    Fault(32, "segfault, os._exit, out of memory on one job", poison.crashes, HELD, 27),
    Fault(33, "sys.exit, KeyboardInterrupt, GeneratorExit", poison.exits, NONE, 3),
    Fault(34, "a job that cannot be pickled, or unpickled", poison.cannot_travel, NONE, 4),
    Fault(35, "an iterator raises, hangs, is empty, never ends", sources.bad_iterators, NONE, 14),
    Fault(36, "a job of 20 MiB, an error text of 5 MiB", poison.too_much, NONE, 3),
    Fault(37, "another key, no key, a key on one side only", strangers.wrong_keys, NONE, 14),
    Fault(38, "garbage and half handshakes", strangers.garbage, NONE, 3, isolated=True),
    Fault(39, "a message without an end, from a peer without key", strangers.endless_frames, NONE, 2, isolated=True),
    Fault(40, "fuzzed messages from a peer that has the key", strangers.fuzz, NONE, 5),
    Fault(41, "300 slaves at once; 64 open files", strangers.crowd, NONE, 19),
    Fault(42, "the wall clock jumps by an hour", disks.jumping_clock, NONE, 5),
    Fault(43, "the slaves' module raises on import", poison.import_fails, NONE, 4),
    Fault(44, "a slave killed between done and settled", deaths.between_done_and_settled, HELD, 5),
    Fault(45, "one straggler of a thousand times the mean", drains.straggler, NONE, 8),
    # Beyond the design's table.
    Fault(46, "kill -9 of a slave of tm-run: elsewhere in 1 s", deaths.local_slave_of_a_run, HELD, 5),
    Fault(47, "kill -9 of a slave across a network", deaths.remote_slave, HELD, 3),
    Fault(48, "a job that kills its slave, 64 in flight", poison.kills_its_slave, HELD, 21),
    Fault(49, "--job-timeout under tm-spawn: others not repeated", poison.hangs_under_spawn, NONE, 12),
    Fault(50, "a master restarted: slaves keep pids, jobs and rate", deaths.master_restarted, WINDOW, 13),
    Fault(51, "Ctrl-C: all that runs finishes, 0 replays", drains.interrupted_run, NONE, 7),
    Fault(52, "a second Ctrl-C to tm-run: back in 1 s", drains.second_interrupt_of_a_run, WINDOW, 3),
    Fault(53, "exit codes and last sentences", words.sentences, NONE, 25),
    Fault(54, "power loss at any call of a run and of its resume", power.power_loss, WINDOW, 18),
    Fault(55, "kill -9 of the master at any call on its state", syscalls.kills, WINDOW, 20),
    Fault(56, "an error from any call on the state", syscalls.errors, WINDOW, 20),
    Fault(57, "a slow line: jobs of 3 MB at 1 MB/s", network.slow_line, NONE, 17, isolated=True),
    Fault(58, "kill -9 of the master behind a job of a minute", standing.behind_a_straggler, WINDOW, 15),
    Fault(59, "kill -9 of the master while failed jobs wait", standing.behind_retries, WINDOW, 15),
    Fault(60, "kill -9 among batches that are halved", batches.killed_among_halves, WINDOW, 30),
    Fault(61, "20 x kill -9 of anything, results as JSON lines", partial(results.kills, results.JSONL), WINDOW, 45),
    Fault(62, "20 x kill -9 of anything, results as CSV", partial(results.kills, results.CSV), WINDOW, 45),
    Fault(63, "20 x kill -9 of anything, results in SQLite", partial(results.kills, results.SQLITE), WINDOW, 45),
    Fault(64, "20 x kill -9 of anything, results as Parquet", partial(results.kills, results.PARQUET), WINDOW, 45),
    Fault(65, "20 x kill -9 of anything, handle_result with a mark", partial(results.kills, results.HANDLE_RESULT),
          WINDOW, 45),
)


def chosen(words: Sequence[str]) -> list[Fault]:
    """The faults with these numbers, or with these words in their names; all if there are none. Raises LookupError."""
    if not words:
        return list(FAULTS)
    found = [fault for word in words for fault in FAULTS if _is_meant(fault, word)]
    missing = [word for word in words if not any(_is_meant(fault, word) for fault in FAULTS)]
    if missing:
        raise LookupError(f"no fault has the number or the words {', '.join(missing)}")
    return list(dict.fromkeys(found))


def _is_meant(fault: Fault, word: str) -> bool:
    return word == str(fault.number) if word.isdigit() else word.lower() in fault.name.lower()

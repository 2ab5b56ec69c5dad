"""What a fleet needs from an engine that starts its slaves. A new engine is one new file with these two classes.

A slave tells its fleet a few things, each as one line of text, because every engine has a channel for lines: a pipe on
this machine, standard error over `ssh`, the log of a batch job. A launcher without any channel reports READY itself
once its engine says that the slave runs, and judges the exit codes itself. It only loses OVER, without which the last
slaves wait for another master until their patience ends, and BEAT, without which nothing ends a slave that hangs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

#: The handler is imported and can be called, so the other slaves may start.
READY: Final = "ready"
#: The master has dismissed this slave, so there is no work for the others either.
OVER: Final = "over"
#: The slave exits by its own decision. Without this word, a handler ended the process, for example by `os._exit(0)`.
DONE: Final = "done"
#: The control thread runs: sent every BEAT_SECONDS.
BEAT: Final = "beat"
#: A handler is still running as the slave exits, so the programs that it has started are to be killed.
STUCK: Final = "stuck"
#: Followed by a space and a text, with vertical tabs for line ends: why the slave ends. The fleet shows each text once.
ERROR: Final = "error"


@dataclass(frozen=True)
class Exit:
    """How a slave ended.

    `code` is its exit code, one of those in `errors`, or minus the signal that killed it. `words` say the same for
    people, such as "killed by SIGSEGV". `blame` tells whether the job that it ran may be the cause, as for a
    segmentation fault but not for SIGTERM or a lost machine. `restart` tells whether a new slave can do better.
    `hung` tells that the fleet killed it because it was silent: a job held the interpreter and is to `blame`, or the
    process was stopped. `stack` is where its handlers were; empty if unknown.
    """

    code: int
    words: str
    blame: bool
    restart: bool
    hung: bool = False
    stack: str = ""


class Process(Protocol):
    """A slave that was launched, whether it waits, runs or has ended. Belongs to the thread of its fleet."""

    @property
    def name(self) -> str:
        """host:pid, as the slave calls itself in its messages to the master; empty until that is known."""

    def poll(self) -> Exit | None:
        """How it ended; None until then. Must not block: it is called every 20 ms."""

    def heard(self) -> frozenset[str]:
        """The lines other than BEAT that it has sent so far, available after its end as well. Must not block either."""

    def beats(self) -> int:
        """How often it has sent BEAT so far; 0 before the first, and without a channel. Must not block either."""

    def ask_for_stack(self) -> None:
        """Make it write its stacks, even while a job holds the interpreter; does nothing where that is impossible."""

    def stack(self) -> str:
        """The stacks that it wrote; empty if it could not."""

    def signal(self, signum: int) -> None:
        """Send a signal to the slave alone: its jobs may still need the processes that they have started."""

    def kill(self) -> None:
        """Kill the slave and the processes that its jobs have started. Does nothing once it has ended."""


class Launcher(Protocol):
    """Starts slaves on one engine."""

    def launch(self, slot: int) -> Process:
        """Start a slave for this slot, one of 0, 1, 2 and so on. Raises OSError if that is impossible now."""

    def close(self) -> None:
        """Show the slaves' last output, then release everything; slaves that still run end. May be called again."""

"""What the end of a slave means for the job that it ran, for its slot, and for the fleet.

Exit codes and words in, verdicts out; it does not touch processes.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable
from typing import Final

from taskmaster import errors
from taskmaster.fleet.base import DONE, READY, Exit

#: The next slave would end in the same way: the command line, the key or the code is wrong.
HOPELESS: Final = frozenset({errors.EXIT_USAGE, errors.EXIT_KEY_REFUSED, errors.EXIT_STATE_MISMATCH})
#: A new slave would have nothing to do.
LASTING: Final = HOPELESS | {errors.EXIT_DONE, errors.EXIT_MASTER_GONE}
#: Signals that a process raises by its own actions; by name, since Windows does not have all of them.
SELF_INFLICTED: Final = frozenset({"SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE"})


def exit_of(code: int, heard: frozenset[str], out_of_memory: bool = False) -> Exit:
    """The exit of a slave that sent the lines in `heard`; `code` is minus the signal number where one killed it.

    `out_of_memory` tells whether the kernel's OOM killer was at work while the slave ran.
    """
    if code >= 0 and READY in heard and DONE not in heard:
        # A handler called os._exit, or a C library exit(): a crash, whatever the code.
        return Exit(errors.EXIT_ERROR, f"exit {code} in the middle of its work", blame=True, restart=True)
    if code >= 0:
        return Exit(code, f"exit {code}", blame=False, restart=code not in LASTING)
    name = _signal_name(-code)
    if name == "SIGKILL" and out_of_memory:
        return Exit(code, "killed by SIGKILL (out of memory)", blame=True, restart=True)
    return Exit(code, f"killed by {name}", blame=name in SELF_INFLICTED, restart=True)


def not_started(error: OSError) -> Exit:
    """The exit of a slave that the system could not start; it may be possible later."""
    return Exit(errors.EXIT_ERROR, f"not started: {error}", blame=False, restart=True)


def final_code(last: Exit) -> int:
    """The exit code of a slot whose last slave ended with this exit."""
    if last.code < 0 or last.code == errors.EXIT_INTERRUPTED:
        return errors.EXIT_INTERRUPTED  # the slot is closed after such an exit only when the slave was asked to end
    return last.code


def fleet_code(codes: Iterable[int]) -> int:
    """The exit code of a fleet from those of its slots: 2, 77 and 78 before 1, then 69, then 75, then 0."""
    return max(codes, key=_rank)


def _rank(code: int) -> tuple[bool, bool, bool, int]:
    ordinary = code in LASTING or code == errors.EXIT_INTERRUPTED
    return code in HOPELESS, not ordinary, code == errors.EXIT_MASTER_GONE, code


def _signal_name(signum: int) -> str:
    try:
        return signal.Signals(signum).name
    except ValueError:  # most real-time signals have no name
        return f"signal {signum}"

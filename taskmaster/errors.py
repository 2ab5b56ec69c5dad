"""Every error taskmaster raises for a cause it knows, and the exit code each one ends a command with.

The message of each is one or two sentences for a tired reader: the cause, then the way out. Commands print
it once, without a traceback; a traceback is shown only where the user's own code failed.
"""

EXIT_DONE = 0
EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_DONE_WITH_FAILURES = 3
EXIT_SOURCE_FAILED = 4
EXIT_TOO_MANY_FAILURES = 5
EXIT_MASTER_GONE = 69
EXIT_STATE_UNWRITABLE = 74
EXIT_INTERRUPTED = 75
EXIT_KEY_REFUSED = 77
EXIT_STATE_MISMATCH = 78


class TaskmasterError(Exception):
    """The root: met only as one of its children, or for a cause that has no child."""

    exit_code = EXIT_ERROR


class UsageError(TaskmasterError):
    """An option, an address or an argument that cannot be right, whatever the state of the run."""

    exit_code = EXIT_USAGE


class TargetError(UsageError):
    """The module, file or function that was named cannot be used: not found, not callable, wrong arguments."""


class UserCodeError(TargetError):
    """The user's module raised while it was imported; `__cause__` is what it raised, shown with its traceback."""


class SourceError(TaskmasterError):
    """`get_jobs` raised, or gave something that cannot be iterated; what was handed out before is settled and kept."""

    exit_code = EXIT_SOURCE_FAILED


class StateUnwritable(TaskmasterError):
    """The state folder cannot be made, locked or written: no place, no right, or another master at work in it."""

    exit_code = EXIT_STATE_UNWRITABLE


class StateMismatch(TaskmasterError):
    """The state on disk is damaged, newer, or of another target, other arguments or another source."""

    exit_code = EXIT_STATE_MISMATCH


class VersionMismatch(TaskmasterError):
    """The master refused this slave, which speaks another version of the protocol; the message is the master's."""

    exit_code = EXIT_STATE_MISMATCH


class MasterGone(TaskmasterError):
    """A slave heard nothing from its master for longer than its patience."""

    exit_code = EXIT_MASTER_GONE


class KeyRefused(TaskmasterError):
    """The key is missing, damaged, open to others, or not the one of the other side."""

    exit_code = EXIT_KEY_REFUSED

"""The errors that taskmaster raises for known causes, each with the exit code of the command that it ends.

Their messages are a sentence or two for a tired reader: the cause, then the way out. Commands print them once and
without a traceback, which is shown only if the user's own code fails.
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
    """The base class, and the error for causes without a class of their own."""

    exit_code = EXIT_ERROR


class UsageError(TaskmasterError):
    """An option, an address or an argument is invalid, whatever the state of the run."""

    exit_code = EXIT_USAGE


class TargetError(UsageError):
    """The given module, file or function cannot be used: it is missing, not callable, or takes other arguments."""


class UserCodeError(TargetError):
    """The user's module raised while it was imported; `__cause__` is that exception, shown with its traceback."""


class SourceError(TaskmasterError):
    """`get_jobs` raised, or returned something that is not iterable; the jobs before that are settled and saved."""

    exit_code = EXIT_SOURCE_FAILED


class StateUnwritable(TaskmasterError):
    """The state folder cannot be created, locked or written: no space, no permission, or another master uses it."""

    exit_code = EXIT_STATE_UNWRITABLE


class StateMismatch(TaskmasterError):
    """The state on disk is damaged, too new, or belongs to another target, other arguments or another source."""

    exit_code = EXIT_STATE_MISMATCH


class MasterGone(TaskmasterError):
    """A slave got no answer from its master for as long as it was told to wait."""

    exit_code = EXIT_MASTER_GONE


class KeyRefused(TaskmasterError):
    """The key is missing, damaged, readable by others, or not the key of the other side."""

    exit_code = EXIT_KEY_REFUSED

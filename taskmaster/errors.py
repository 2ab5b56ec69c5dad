"""Every error that Taskmaster raises for a cause it knows, with the exit code that each gives a command.

A message is one or two sentences: the cause, then the way out. Commands print it once, without a traceback; a
traceback is shown only if the user's own code failed.
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
    """The base class of all others; raised itself only for a cause that has no class of its own."""

    exit_code = EXIT_ERROR


class LimitReached(TaskmasterError):
    """A limit that the system sets for this process or user is too low, such as that of open files."""


class UsageError(TaskmasterError):
    """An option, an address or an argument is wrong, regardless of the state of the run."""

    exit_code = EXIT_USAGE


class TargetError(UsageError):
    """The module, file or function of a target cannot be used: not found, not callable, or with wrong parameters."""


class UserCodeError(TargetError):
    """The user's module raised while it was imported; `__cause__` is that exception, shown with its traceback."""


class SetUpFailed(TaskmasterError):
    """The user's set-up of a slave raised; `__cause__` is that exception, shown with its traceback."""


class SourceError(TaskmasterError):
    """`get_jobs` raised, or returned something that cannot be iterated; earlier jobs are finished and saved."""

    exit_code = EXIT_SOURCE_FAILED


class StateUnwritable(TaskmasterError):
    """The state folder cannot be created, locked, read or written: no space, no permission, another master uses it."""

    exit_code = EXIT_STATE_UNWRITABLE


class StateMismatch(TaskmasterError):
    """The state on disk is damaged, of a newer version, or of another target, other arguments or another source."""

    exit_code = EXIT_STATE_MISMATCH


class ResultsError(TaskmasterError):
    """A result does not fit where results go. The run can be resumed, and handles that job again."""


class ResultHandlerError(UserCodeError):
    """`handle_result` raised; `__cause__` is that exception, shown with its traceback. The run can be resumed."""

    exit_code = EXIT_ERROR


class SlaveRefused(TaskmasterError):
    """The master refused this slave, whose handler is for other jobs or which speaks another version of the protocol.

    The message is the master's.
    """

    exit_code = EXIT_STATE_MISMATCH


class MasterGone(TaskmasterError):
    """A slave got no answer from its master for as long as it was told to wait."""

    exit_code = EXIT_MASTER_GONE


class KeyRefused(TaskmasterError):
    """The key is missing, damaged, readable by others, or not the key of the other side."""

    exit_code = EXIT_KEY_REFUSED

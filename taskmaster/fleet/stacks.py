"""Reads what `faulthandler` writes about the threads of a slave: where its handlers were."""

from __future__ import annotations

from taskmaster import defaults

_RUNNER = "pools"  # the folder of the code that calls handlers, in the path of each of its frames


def handler_stacks(dump: str) -> str:
    """The stacks of the threads that were in a handler, innermost frame first; the whole dump if none was."""
    found = [stack for thread in dump.split("\n\n") if (stack := _above_runner(thread.splitlines()))]
    return ("\n".join(found) if found else dump.strip())[:defaults.TRACEBACK_CHARACTERS]


def _above_runner(lines: list[str]) -> str:
    """The frames of the user's code: those above ours. Empty for a thread that runs no handler."""
    ours = [at for at, line in enumerate(lines) if _is_runner(line)]
    frames = lines[1:ours[0]] if ours else []
    return "\n".join(frames)


def _is_runner(line: str) -> bool:
    path = line.partition('"')[2].partition('"')[0].replace("\\", "/").split("/")
    return "taskmaster" in path and _RUNNER in path

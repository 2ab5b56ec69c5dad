"""strace: what traces a command's system calls or injects faults into them, and how its log is read."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from chaos.exceptions import Unplayable

# What changes a file or a name, and what only looks at one or moves its offset.
CHANGES = ("openat", "open", "creat", "close", "write", "writev", "pwrite64", "pwritev", "truncate", "ftruncate",
           "fallocate", "fsync", "fdatasync", "rename", "renameat", "renameat2", "link", "linkat", "unlink",
           "unlinkat", "mkdir", "mkdirat", "rmdir")
LOOKS = ("read", "lseek", "flock", "newfstatat", "fstat")
WHOLE = 100_000_000  # bytes of an argument that are logged, so all

# With -D the command stays our child, with its own process id and exit code; strace is a grandchild. No --seccomp-bpf:
# with it, strace 6.1 injects no signal.
_LAUNCHING = ("strace", "-D", "-f", "-q")

_LINE = re.compile(r"(\d+) +(?:(\d+\.\d+) )?(.*)")  # process ids are padded to five columns
_RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)")
_ENTERED = re.compile(r"(\w+)\((.*?) ?<unfinished \.\.\.>")
_DONE = re.compile(r"(\w+)\((.*)\) += (-?\d+|-?0x[0-9a-f]+)\b.*")
_CUT_OFF = re.compile(r"(\w+)\((.*?)(?: <unfinished \.\.\.>)?\) += \?.*")
_HEX = re.compile(r"\\x([0-9a-f]{2})")


@dataclass(frozen=True)
class Call:
    """One system call; `entered` in seconds of the wall clock. While it is under way, `result` is None.

    `resumed` says that the log showed it before, while it was under way.
    """

    thread: int
    entered: float
    name: str
    arguments: Sequence[str]
    result: int | None
    resumed: bool = False

    def number(self, index: int) -> int | None:
        """An argument that is one, such as a file descriptor."""
        try:
            return int(self.arguments[index], 0)
        except (IndexError, ValueError):
            return None

    def texts(self) -> list[bytes]:
        """The arguments that are strings, paths or data, in their order."""
        return [bytes(int(digits, 16) for digits in _HEX.findall(text))
                for text in self.arguments if text.startswith('"')]


def refuse_where_missing() -> None:
    """Raises Unplayable where nothing can be traced."""
    if shutil.which("strace") is None:
        raise Unplayable("strace is not installed")
    probe = subprocess.run([*_LAUNCHING, "-e", "trace=write", "-o", "/dev/null", "true"],
                           capture_output=True, text=True)
    if probe.returncode != 0 or probe.stderr:
        raise Unplayable(f"strace cannot trace here: {(probe.stderr.splitlines() or ['no reason given'])[-1]}")


def tracing(log: Path) -> list[str]:
    """What goes before a command to log its calls."""
    # With the question mark, strace passes over what this machine's kernel does not have, such as rename on arm64.
    calls = ",".join(f"?{name}" for name in (*CHANGES, *LOOKS))
    return [*_LAUNCHING, "-ttt", "-xx", "-s", str(WHOLE), "-e", "raw=read", "-e", f"trace={calls}", "-o", str(log)]


def injecting(log: Path, call: str, fault: str, at: int, paths: Iterable[Path]) -> list[str]:
    """What goes before a command to inject a fault into the `at`-th `call` of each of its threads on one of `paths`.

    `fault` is as strace has it, such as "error=EIO" or "signal=SIGKILL".
    """
    return [*_LAUNCHING, *_injection(log, call, fault, at, paths)]


def attach(pid: int, log: Path, call: str, fault: str, at: int, paths: Iterable[Path]) -> subprocess.Popen[bytes]:
    """Inject as `injecting` does into a process that runs; its calls are counted from now on.

    It ends with the process. Raises Unplayable where nothing may attach to a process.
    """
    tracer = subprocess.Popen(["strace", "-f", "-q", "-p", str(pid), *_injection(log, call, fault, at, paths)],
                              stderr=subprocess.DEVNULL)
    while not _is_traced(pid):
        if tracer.poll() is not None:
            raise Unplayable("strace may not attach to a process here")
        time.sleep(0.01)
    return tracer


def _injection(log: Path, call: str, fault: str, at: int, paths: Iterable[Path]) -> list[str]:
    chosen = [word for path in paths for word in ("-P", str(path))]
    return [*chosen, "-e", f"trace={call}", "-e", f"inject={call}:{fault}:when={at}", "-o", str(log)]


def _is_traced(pid: int) -> bool:
    """Whether every thread of it is."""
    threads = Path(f"/proc/{pid}/task").glob("*/status")
    return all("TracerPid:\t0" not in thread.read_text() for thread in threads)


def ended(log: Path, pid: int) -> bool:
    """Whether the log is complete, for this process has ended."""
    return re.search(rf"^{pid} +(?:\S+ )?\+\+\+ ", log.read_text(), re.MULTILINE) is not None


def read_log(lines: Iterable[str]) -> Iterator[Call]:
    """The calls in the order in which they were done; one that others came between also when it was entered.

    A call that never returned, for its process was killed, is only entered.
    """
    under_way: dict[int, tuple[float, str]] = {}
    for line in lines:
        thread, at, text = _split(line)
        resumed = _RESUMED.fullmatch(text)
        if resumed and thread in under_way:
            entered, before = under_way.pop(thread)
            yield from _done(thread, entered, before + resumed[2], True)
        elif found := _ENTERED.fullmatch(text):
            under_way[thread] = at, f"{found[1]}({found[2]}"
            yield Call(thread, at, found[1], found[2].split(", "), None)
        else:
            yield from _done(thread, at, text, False)


def _split(line: str) -> tuple[int, float, str]:
    found = _LINE.fullmatch(line.rstrip("\n"))
    if found is None:
        raise ValueError(f"not a line of strace: {line!r}")
    return int(found[1]), float(found[2] or 0), found[3]


def _done(thread: int, entered: float, text: str, resumed: bool) -> Iterator[Call]:
    """Nothing for a signal or an end; a call that did not return has no result."""
    if found := _DONE.fullmatch(text):
        yield Call(thread, entered, found[1], found[2].split(", "), int(found[3], 0), resumed)
    elif found := _CUT_OFF.fullmatch(text):
        yield Call(thread, entered, found[1], found[2].split(", "), None, resumed)

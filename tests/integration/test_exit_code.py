"""The exit code of a command is that of its run, whatever happens while the process ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

SIGNALLED_AT_THE_END = '''
import os, sys

class Late:
    """Deleted when the interpreter takes its modules apart."""
    def __del__(self, kill=os.kill, me=os.getpid(), number={number}, write=os.write):
        kill(me, number)
        write(1, b"still here")

sys.late = Late()

def get_jobs(last=0):
    yield from range(last, 3)

def handle_job(job):
    pass
'''


@pytest.mark.skipif(sys.platform == "win32", reason="there, a signal ends a process without asking it")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_that_comes_as_the_process_ends_does_not_change_it(number: int, tmp_path: Path) -> None:
    """A finished master ended with 143 when it was told to stop at that moment."""
    (tmp_path / "jobs.py").write_text(SIGNALLED_AT_THE_END.format(number=int(number)))
    argv = [sys.executable, "-m", "taskmaster.cli.run", "jobs.py", "1", "--no-progress"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, "still here" in done.stdout) == (0, True), done.stderr

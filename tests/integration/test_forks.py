"""What a forked child keeps of its parent, and what becomes of one that comes back from the user's code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from taskmaster.forks import close_in_children, keep_in_children
from taskmaster.targets.pool_choice import POOLS

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


def output_of(program: str) -> list[str]:
    """The lines that a program prints, in its own process: one that forks beside the threads of pytest may hang."""
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=30)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


def test_a_child_closes_what_it_shall_not_keep_and_nothing_that_took_its_number() -> None:
    assert output_of("""
        import os
        from taskmaster.forks import close_in_children, keep_in_children
        ours, reused, given_up = os.open("/dev/null", os.O_RDONLY), os.pipe()[0], os.pipe()[0]
        for fd in (ours, reused, given_up):
            close_in_children(fd)
        keep_in_children(given_up)
        os.dup2(os.pipe()[0], reused)
        pid = os.fork()
        if pid == 0:
            def is_open(fd):
                try:
                    return bool(os.fstat(fd))
                except OSError:
                    return False
            print([is_open(fd) for fd in (ours, reused, given_up)], flush=True)
            os._exit(0)
        os.waitpid(pid, 0)
        os.fstat(ours)
        """) == ["[False, True, True]"]


@pytest.mark.parametrize("ending, code", [
    ("sys.exit()", 0), ("sys.exit(7)", 7), ("sys.exit('no')", 1), ("return None", 0), ("1 / 0", 1)])
@pytest.mark.parametrize("kind", POOLS)
def test_a_child_that_comes_back_from_the_handler_ends_as_a_program_does(kind: str, ending: str, code: int) -> None:
    """It ran the rest of the slice, too, and then took slices of its own."""
    assert output_of(f"""
        import os, sys, time
        from taskmaster.slave.pools.make import make_pool
        from taskmaster.slave.slice import Slice
        from taskmaster.targets.pool_choice import PoolChoice
        codes, ran = [], []
        def handle(job):
            if job == 1:
                pid = os.fork()
                if pid == 0:
                    {ending}
                    return
                codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            ran.append(job)
            print("ran", job, flush=True)
        async def handle_in_loop(job):
            handle(job)
        handler = handle_in_loop if {kind!r} == "asyncio" else handle
        pool = make_pool(PoolChoice({kind!r}, 1), handler, time.monotonic, lambda: None)
        pool.put(Slice(1, 0, 1, [0, 1, 2]))
        end = time.monotonic() + 20
        while len(ran) < 3 and time.monotonic() < end:
            time.sleep(0.01)
        print(codes)
        """) == ["ran 0", "ran 1", "ran 2", f"[{code}]"]


def test_children_get_the_signal_handlers_that_were_there_before_ours() -> None:
    assert output_of("""
        import os, signal
        from taskmaster.cli.entry import on_signals
        from taskmaster.core.interrupts import Interrupts
        interrupts = Interrupts()
        interrupts.pass_on_to(lambda: print("interrupt", flush=True))
        on_signals(interrupts)
        pid = os.fork()
        if pid == 0:
            signal.pause()
        os.kill(pid, signal.SIGTERM)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        os.kill(os.getpid(), signal.SIGTERM)
        """) == [str(-signal.SIGTERM), "interrupt"]


def test_what_is_not_open_is_not_noted() -> None:
    read, write = os.pipe()
    os.close(read)
    os.close(write)
    close_in_children(read)
    keep_in_children(read)

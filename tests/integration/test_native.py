"""Our threads and locks are the system's, whatever the user's module has patched."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from taskmaster.native import Condition, Flag, Thread

SECONDS = 10.0


def test_a_thread_runs_by_its_name_and_is_joined() -> None:
    names: list[str] = []
    go = Flag()
    thread = Thread(lambda: (names.append(threading.current_thread().name), go.wait(SECONDS)), "worker")
    assert not thread.is_alive()
    thread.join()
    thread.start()
    thread.join(0.01)
    assert thread.is_alive()
    go.set()
    thread.join(SECONDS)
    assert names == ["worker"] and not thread.is_alive()


def test_a_flag_is_awaited_once_it_is_set_and_not_after_it_is_cleared() -> None:
    flag = Flag()
    assert not flag.wait(0.01)
    flag.set()
    flag.set()
    assert flag.is_set() and flag.wait() and flag.wait(0)
    flag.clear()
    flag.clear()
    assert not flag.is_set() and not flag.wait(0.01)


def test_a_condition_lets_its_waiters_look_again() -> None:
    changed, value, seen = Condition(), [0], Flag()

    def wait() -> None:
        with changed:
            if changed.wait_for(lambda: value[0] == 2, SECONDS):
                seen.set()

    thread = Thread(wait, "waiter")
    thread.start()
    for number in (1, 2):
        time.sleep(0.02)
        with changed:
            value[0] = number
            changed.notify()
    assert seen.wait(SECONDS)
    thread.join(SECONDS)
    with changed:
        assert not changed.wait_for(lambda: False, 0.01)


@pytest.mark.parametrize("order", ["before", "after"])
def test_they_stay_native_when_gevent_patches_the_standard_library(order: str) -> None:
    patch, ours = "from gevent import monkey; monkey.patch_all()", "from taskmaster import native"
    first, second = (patch, ours) if order == "before" else (ours, patch)
    program = f"""
{first}
{second}
import time
flag = native.Flag()
thread = native.Thread(lambda: (flag.set()), "native")
thread.start()
end = time.monotonic() + 20
while not flag.is_set() and time.monotonic() < end:
    pass  # never yields to the hub, so that a greenlet would not run
assert flag.is_set()
thread.join(20)
assert not thread.is_alive()
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)

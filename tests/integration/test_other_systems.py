"""What can be tried here of other systems: the code with all taken away that they do not have.

The libraries below are imported first, for they were made for this system. What is left untried is what the other
system does; that the types are right for it too, `scripts/lint` sees.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

LOSE = '''
import asyncio, concurrent.futures, getpass, importlib, multiprocessing, os, pathlib, shutil, signal, socket, sys
import subprocess, tempfile, threading, types
import click, gevent, gevent.threadpool, progressbar, zmq, zmq.utils.monitor, zmq.utils.z85
import zmq.auth

def lose(platform, modules, names):
    sys.platform = platform
    for module in modules:
        sys.modules[module] = None
    for name in names:
        owner, _, attribute = name.partition(".")
        if hasattr(globals()[owner], attribute):
            delattr(globals()[owner], attribute)

LINUX_ONLY = ["os.eventfd", "os.memfd_create", "os.pidfd_open", "os.sched_setaffinity", "os.sched_getaffinity",
              "os.splice", "os.posix_fadvise", "os.setresuid", "socket.SO_PEERCRED", "signal.sigtimedwait",
              "os.O_TMPFILE", "os.O_PATH", "socket.AF_NETLINK"]
UNIX_ONLY = ["os.getuid", "os.geteuid", "os.killpg", "os.fork", "os.mkfifo", "os.chown", "os.uname",
             "os.confstr", "os.O_NOFOLLOW", "os.O_NONBLOCK", "os.O_CLOEXEC", "os.set_blocking", "os.sysconf",
             "signal.SIGKILL", "signal.SIGHUP", "signal.SIGALRM", "signal.setitimer", "socket.AF_UNIX"]
'''
MACOS = LOSE + "lose('darwin', [], LINUX_ONLY)\n"
WINDOWS = LOSE + '''
msvcrt = types.ModuleType("msvcrt")
msvcrt.LK_NBLCK, msvcrt.locking = 2, lambda file, mode, count: None
sys.modules["msvcrt"] = msvcrt
pair, family = socket.socketpair, socket.AF_UNIX
socket.socketpair = lambda: pair(family)  # Python makes one of its own there
lose("win32", ["fcntl", "resource", "pwd", "grp", "termios", "tty", "pty"], LINUX_ONLY + UNIX_ONLY)
'''

IMPORT_ALL = '''
root = pathlib.Path("taskmaster")
modules = [".".join(path.with_suffix("").parts) for path in root.rglob("*.py") if path.name != "__init__.py"]
assert len(modules) > 40
for module in modules:
    importlib.import_module(module)
print("imported")
'''

A_RUN = '''
from taskmaster.core.agent import Patience
from taskmaster.transport.keys import find, make, place
from taskmaster.master.master import Master
from taskmaster.master.workload import Identity, Options, Workload
from taskmaster.slave.slave import Slave
from taskmaster.targets.pool_choice import PoolChoice

folder = pathlib.Path(tempfile.mkdtemp())
environ = {"XDG_CONFIG_HOME": str(folder)}
keys = make(place(None, environ))
assert find(None, environ) == keys
handled = []
master = Master(Workload(lambda: [(n,) for n in range(200)], {}, Identity("t", {}, "h"), folder / "state"), Options())
master.open(ADDRESS(folder), keys if ADDRESS(folder).startswith("tcp") else None)
slave = Slave(handled.append, "h", master.address, pool=PoolChoice("threads", 2), patience=Patience(0.5, 10),
              keys=keys if ADDRESS(folder).startswith("tcp") else None)
thread = threading.Thread(target=slave.run)
thread.start()
outcome = master.run()
master.close()
thread.join(10)
assert outcome.exit_code == 0 and sorted(handled) == [(n,) for n in range(200)], outcome
print("ran")
'''


def run(text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, timeout=50)


@pytest.mark.parametrize("system", [MACOS, WINDOWS], ids=["macOS", "Windows"])
def test_every_module_can_be_imported(system: str) -> None:
    ended = run(system + IMPORT_ALL)
    assert ended.stdout == "imported\n", ended.stderr


@pytest.mark.parametrize("system, address", [
    (MACOS, "tcp://127.0.0.1:0"), (MACOS, "ipc://{}/s"), (WINDOWS, "tcp://127.0.0.1:0")])
def test_a_master_and_a_slave_run_to_the_end(system: str, address: str) -> None:
    ended = run(system + f"ADDRESS = {address!r}.format\n" + A_RUN)
    assert ended.stdout == "ran\n", ended.stderr


@pytest.mark.parametrize("what, says", [
    ("from taskmaster.fleet.local import LocalLauncher; LocalLauncher(['x'])", "tm-slave"),
    ("from taskmaster.transport import private_address as one; one.private_address().__enter__()", "tcp://HOST:PORT"),
    ("from taskmaster.transport.listener import Listener; Listener('ipc://here')", "tcp://HOST:PORT"),
])
def test_what_windows_has_not_is_told_in_a_sentence(what: str, says: str) -> None:
    ended = run(WINDOWS + what)
    assert "UsageError: " in ended.stderr and says in ended.stderr

"""Output that cannot be written is lost; whoever writes it neither fails nor waits."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator

import pytest

from taskmaster import defaults
from taskmaster.outlet import Outlet

SECONDS = 20.0


class Pipe:
    """A pipe whose end for writing is a text stream."""

    def __init__(self) -> None:
        self.reader, writer = os.pipe()
        self.stream = open(writer, "w", encoding="ascii")

    def close_reader(self) -> None:
        os.close(self.reader)
        self.reader = -1

    def close(self) -> None:
        self.stream.close()
        if self.reader >= 0:
            self.close_reader()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close()


def read_until(pipe: Pipe, end: bytes) -> bytes:
    found = b""
    while not found.endswith(end):
        found += os.read(pipe.reader, 1 << 16)
    return found


def test_what_is_written_arrives_in_order_and_in_the_streams_encoding(pipe: Pipe) -> None:
    outlet = Outlet(pipe.stream)
    for text in ("one\n", "zw\u00f6lf\n", "end\n"):
        outlet.write(text)
    assert read_until(pipe, b"end\n") == b"one\nzw\\xf6lf\nend\n"


def test_a_reader_who_left_is_no_error(pipe: Pipe) -> None:
    outlet = Outlet(pipe.stream)
    pipe.close_reader()
    for _ in range(100):
        outlet.write("lost\n")
        outlet.finish(SECONDS)


def test_a_pipe_that_nobody_reads_does_not_block_and_says_later_what_it_lost(pipe: Pipe) -> None:
    outlet = Outlet(pipe.stream)
    line = "x" * 999 + "\n"
    for _ in range(2 * defaults.OUTPUT_WAITING_CHARACTERS // len(line)):
        outlet.write(line)
    outlet.finish(0.0)
    kept = b""
    while len(kept) < defaults.OUTPUT_WAITING_CHARACTERS - len(line):
        kept += os.read(pipe.reader, 1 << 16)
    outlet.finish(SECONDS)
    outlet.write("end\n")
    rest = read_until(pipe, b"end\n")
    assert set((kept + rest).split(b"\n")[:-3]) == {b"x" * 999}
    assert b"lines of output were dropped here: nobody read them\nend\n" in rest


def test_a_pipe_that_does_not_block_is_waited_for(pipe: Pipe) -> None:
    os.set_blocking(pipe.stream.fileno(), False)
    outlet = Outlet(pipe.stream)
    outlet.write("x" * 500_000 + "\n")
    assert len(read_until(pipe, b"\n")) == 500_001


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_disk_is_no_error() -> None:
    with open("/dev/full", "w") as full:
        outlet = Outlet(full)
        for _ in range(3):
            outlet.write("lost\n")
            outlet.finish(SECONDS)


def test_a_closed_stream_and_none_at_all_are_no_errors() -> None:
    closed = io.StringIO()
    closed.close()
    for stream in (closed, None):
        Outlet(stream).write("lost\n")


def test_a_fork_writes_too(pipe: Pipe) -> None:
    outlet = Outlet(pipe.stream)
    outlet.write("parent\n")
    read_until(pipe, b"parent\n")
    child = os.fork()
    if child == 0:
        outlet.write("child\n")
        outlet.finish(SECONDS)
        os._exit(0)
    assert read_until(pipe, b"child\n") == b"child\n"
    os.waitpid(child, 0)

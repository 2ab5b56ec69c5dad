"""SHA-256 of every regular file below a folder, to be checked with `sha256sum -c`.

It shows a source of Taskmaster's within a loop, which resumes at a path without looking at what comes before it, and
failures: a file that cannot be read raises, is retried, and then goes to the failures file.

Run:     tm-run examples/checksum_tree.py 4               (Python's own library; or root=FOLDER out=FILE)
Kill:    Ctrl-C, or kill -9 any of its processes at any moment
Resume:  the same command again; `--reset` reads every file again (remove `checksums.txt` first)
Verify:  python examples/checksum_tree.py --sums checksums.txt | sha256sum -c --quiet

Links are not followed and special files are skipped. Folders that cannot be listed are named in a warning.
Slaves on other machines must see the same files, and append to a local file: not over NFS.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from taskmaster import Job, sources

CHUNK_BYTES = 1 << 20  # large enough to spend nearly all the time hashing, which lets other threads run


def get_jobs(
    last: str | None = None, root: Path = Path(sysconfig.get_path("stdlib")), out: Path = Path("checksums.txt")
) -> Iterator[Job]:
    sums = os.path.abspath(out)
    for job in sources.files(os.path.abspath(root), last, skip_unreadable=True):
        if job.payload != sums and not os.path.islink(job.payload):  # the sums grow while they are read
            yield Job((job.payload, sums), cursor=job.cursor)


def handle_job(payload: tuple[str, str]) -> None:
    """Append one line. A job that runs twice appends two, and `--sums` keeps the later one."""
    path, out = payload
    line = sum_line(sha256_of(path), path)
    with open(out, "ab", buffering=0) as sums:
        # One write to a file opened for appending, so other threads and slaves never write into this line.
        if sums.write(line) != len(line):
            raise OSError(f"No room in {out} for the checksum of {path!r}.")


def sha256_of(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def sum_line(digest: str, path: str) -> bytes:
    """As sha256sum (of coreutils 9) writes it: a leading backslash means that the name has escapes."""
    name = os.fsencode(path)
    escaped = name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
    mark = b"" if escaped == name else b"\\"
    return b"%s%s  %s\n" % (mark, digest.encode(), escaped)


def latest_sums(lines: Iterator[bytes]) -> list[bytes]:
    """One line per file, the last one written, sorted by name."""
    by_name = {line.partition(b"  ")[2]: line for line in lines}
    return [by_name[name] for name in sorted(by_name)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Print a file for `sha256sum -c`: sorted, one line each.")
    parser.add_argument("--sums", metavar="OUT", type=Path, required=True, help="the file that tm-run wrote")
    with parser.parse_args().sums.open("rb") as written:
        sys.stdout.buffer.writelines(latest_sums(written))

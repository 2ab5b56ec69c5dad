"""Reads docs/protocol.rst: its tables, and the code that it shows."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

PATH = Path(__file__).resolve().parents[1] / "docs" / "protocol.rst"
TEXT = PATH.read_text("utf-8")

Row = dict[str, str]


def table(title: str) -> list[Row]:
    """The rows of the list-table of this title, each cell by the title of its column, without markup for code."""
    _, found, after = TEXT.partition(f".. list-table:: {title}\n")
    assert found, f"there is no table {title!r}"
    lines = re.split(r"\n(?=\S)", after)[0].splitlines()
    rows: list[list[str]] = []
    for line in lines:
        if cell := re.fullmatch(r"   (\*| ) -(.*)", line):
            if cell[1] == "*":
                rows.append([])
            rows[-1].append(cell[2].strip())
        elif rows and line.startswith("       "):
            rows[-1][-1] += " " + line.strip()
    head, *body = rows
    assert body and all(len(row) == len(head) for row in body), title
    return [dict(zip(head, row)) for row in body]


def plain(cell: str) -> str:
    return cell.replace("``", "")


def codes(cell: str) -> list[str]:
    """All that is marked as code in a cell."""
    return re.findall(r"``(.*?)``", cell)


def program() -> str:
    """The whole slave."""
    _, _, after = TEXT.partition(".. code-block:: python\n")
    return textwrap.dedent(after)


def examples() -> list[str]:
    """The frames of the example conversation: what follows `poll` and `reply`, and what stands below."""
    _, _, after = TEXT.partition("has failed::\n")
    block = re.split(r"\n(?=\S)", after)[0]
    joined = re.sub(r",\n +", ",", block)
    return [line.strip() for line in joined.splitlines() if line.strip()]

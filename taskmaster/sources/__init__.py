"""Sources that resume: each is a `get_jobs` in one line, or something to iterate in one of your own."""

from __future__ import annotations

from taskmaster.sources.base import Source
from taskmaster.sources.chunks import chunks
from taskmaster.sources.csv import csv
from taskmaster.sources.every import every
from taskmaster.sources.failures import failures
from taskmaster.sources.files import files
from taskmaster.sources.jsonl import jsonl
from taskmaster.sources.lines import lines
from taskmaster.sources.numbers import numbers
from taskmaster.sources.rows import rows
from taskmaster.sources.shard import shard
from taskmaster.sources.spool import spool

__all__ = ["Source", "chunks", "csv", "every", "failures", "files", "jsonl", "lines", "numbers", "rows", "shard",
           "spool"]

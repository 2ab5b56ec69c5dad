"""Sources that resume: each is a `get_jobs` in one line, or something to iterate in one of your own."""

from __future__ import annotations

from taskmaster.sources.base import Source
from taskmaster.sources.csv import csv
from taskmaster.sources.jsonl import jsonl
from taskmaster.sources.lines import lines

__all__ = ["Source", "csv", "jsonl", "lines"]

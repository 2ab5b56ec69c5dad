"""Decodes the results for the sinks that look into them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from taskmaster.core.results import Results
from taskmaster.errors import ResultsError


def decoded(results: Results) -> Iterator[tuple[int, Any]]:
    """The offset of each job, and its result. Raises ResultsError where that is not JSON."""
    for offset, line in enumerate(results.lines.split(b"\n")[:-1], results.first):
        try:
            yield offset, json.loads(line)
        except ValueError as error:  # of a slave in another language: those in Python encode it
            raise ResultsError(f"The result of job {offset} is not JSON ({error}). Fix the slave that reported it, "
                               "then run the same command again to resume.") from error

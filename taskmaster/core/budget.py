"""How many failures a run tolerates before it stops (`--max-failures`)."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from taskmaster import defaults
from taskmaster.core.printable import one_line
from taskmaster.errors import UsageError

_DIGITS = re.compile(r"\d[\d,]*")


@dataclass
class FailureBudget:
    """At most `most` failures, or `share` of the finished jobs once enough have finished; None means no limit."""

    most: int | None = None
    share: float | None = None
    errors: Counter[str] = field(default_factory=Counter)

    KINDS_KEPT = 1000  # distinct errors to count: one that names the job is different each time

    def observe(self, error: str, message: str) -> None:
        """Count one more failure; messages that differ only in their numbers count as the same error."""
        error, line = one_line(error), one_line(_first_line(message))
        text = f"{error}: {_DIGITS.sub('N', line[:100])}" if line else error
        self.errors[text if text in self.errors or len(self.errors) < self.KINDS_KEPT else error] += 1

    def spent(self, failed: int, finished: int) -> bool:
        """Whether more jobs failed than are tolerated."""
        if self.most is not None:
            return failed > self.most
        enough = finished >= defaults.MAX_FAILURES_SAMPLE
        return self.share is not None and enough and failed > self.share * finished

    def commonest(self) -> list[str]:
        """The three most frequent errors, with their counts."""
        return [f"{count:,} x {text}" for text, count in self.errors.most_common(3)]


def _first_line(message: str) -> str:
    return message.strip().splitlines()[0] if message.strip() else ""


def parse_budget(text: str) -> FailureBudget:
    """Parse "10%", "500" or "none". Raises UsageError."""
    if text.lower() == "none":
        return FailureBudget()
    number = text.removesuffix("%")
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if text.endswith("%") and 0 <= value <= 100:
        return FailureBudget(share=value / 100)
    if value >= 0 and number == text and value.is_integer():
        return FailureBudget(most=int(value))
    raise UsageError(f"--max-failures takes a number of jobs, a share such as 10%, or none; not {text!r}.")

"""How a run ended, for people and for programs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taskmaster.console.paths import shown_path
from taskmaster.console.text import summary_json, summary_text
from taskmaster.core.stats import Stats
from taskmaster.errors import StateUnwritable


@dataclass(frozen=True)
class Outcome:
    """`exit_code` is what a command ends with; `error` is what ended the run early, if anything did."""

    exit_code: int
    stats: Stats
    error: BaseException | None
    commonest_errors: tuple[str, ...]
    failures_file: Path | None

    def text(self, command: str | None) -> str:
        """The summary for people; `command` is the one that resumes the run."""
        return summary_text(self.stats, failures_file=self._failures, common_errors=self.commonest_errors,
                            **self._next(command))

    def json(self, command: str | None) -> dict[str, Any]:
        """The summary for programs."""
        found = summary_json(self.stats, exit_code=self.exit_code, failures_file=self._failures, **self._next(command))
        return {**found, "commonest_errors": list(self.commonest_errors)}

    def _next(self, command: str | None) -> dict[str, str | None]:
        """The command that resumes the run, or the one that tries the failed jobs of a finished one again."""
        if command is None or not self.stats.finished:
            return {"resume": command, "retry": None}
        return {"resume": None, "retry": f"{command} --retry-failed" if self.failures_file else None}

    @property
    def _failures(self) -> str | None:
        return shown_path(self.failures_file) if self.failures_file else None


def write_summary(path: Path, outcome: Outcome, command: str | None) -> None:
    """Write the summary for programs as one JSON object. Raises StateUnwritable."""
    try:
        path.write_text(json.dumps(outcome.json(command), indent=2) + "\n")
    except OSError as error:
        raise StateUnwritable(f"The summary could not be written to {path}: {error.strerror or error}.") from error

"""The format of a log line: text for people, or a JSON object for programs."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timezone
from typing import Final

from taskmaster.core.printable import entry_of

FORMATS: Final = ("text", "json")

_TEXT = "%(asctime)s %(levelname)s: %(message)s"
_TEXT_DEBUG = "%(asctime)s %(process)d %(name)s %(levelname)s: %(message)s"


def make_formatter(name: str, level: str) -> logging.Formatter:
    """The formatter of this name, one of FORMATS; its text has more detail at level "debug"."""
    return JsonFormatter() if name == "json" else TextFormatter(_TEXT_DEBUG if level == "debug" else _TEXT)


class TextFormatter(logging.Formatter):
    """A line with the local time; further lines, such as those of a traceback, are indented below it."""

    default_time_format = "%Y-%m-%d %H:%M:%S"
    default_msec_format = "%s.%03d"

    def format(self, record: logging.LogRecord) -> str:
        return entry_of(super().format(record))


class JsonFormatter(logging.Formatter):
    """One object on one line of ASCII: time (ISO 8601, UTC), level, logger, process, message and, if any, traceback."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds")
        found = {"time": time, "level": record.levelname.lower(), "logger": record.name, "process": record.process,
                 "message": record.getMessage()}
        if record.exc_info:
            found["traceback"] = self.formatException(record.exc_info)
        return json.dumps(found)

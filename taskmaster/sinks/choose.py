"""Which sink a path stands for."""
from pathlib import Path
from typing import Any


def sink_for(path: Path) -> Any:
    from taskmaster.sinks.jsonl import Jsonl
    return Jsonl(path)

"""Rates as a picture: bars next to the best peer's, one panel for each workload.

Written by hand: some sixty rectangles and texts need no library, and the smallest well-maintained one (matplotlib) is a
hundred times the size of the benchmark. The background is white, so that it looks the same on a dark page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from benchmarks.report import Bar, Report

from taskmaster.console.text import SEPARATOR, rate_text

SHOWN = ("noop", "payload5k", "sleep10ms", "mixed", "cpu")
WIDTH, LEFT, BAR, ROW, GAP = 820, 340, 14, 19, 40
ROOM = WIDTH - LEFT - 120  # for the longest bar; what is behind it is its text
OURS, BEST, OTHER, INK, PALE = "#1f6f54", "#7a869a", "#b9c1cd", "#1d2430", "#5b6472"


def svg(reports: Sequence[Report], machine: str) -> str:
    """The picture; workloads without rates are left out."""
    panels = [report for report in reports if report.name in SHOWN and report.bars]
    parts, y = [], 52
    for report in panels:
        parts += list(_panel(report, y))
        y += GAP + ROW * len(_chosen(report.bars))
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}" '
        'font-family="Helvetica, Arial, sans-serif" font-size="12" role="img">',
        "<title>Taskmaster at its defaults beside its peers at their best</title>",
        f'<rect width="{WIDTH}" height="{y}" fill="#ffffff"/>',
        _text(16, 22, "Jobs a second: taskmaster at its defaults, peers at their best", INK, "bold", size=14),
        _text(16, 38, machine, PALE, size=9), *parts, "</svg>", ""])


def _panel(report: Report, y: int) -> Iterator[str]:
    bars = _chosen(report.bars)
    top = max(bar.rate for bar in bars)
    best = max((bar.rate for bar in bars[1:]), default=0.0)
    yield _text(16, y + 14, f"{report.name}: {report.about}", INK, "bold")
    for at, bar in enumerate(bars):
        middle = y + 22 + ROW * at
        width = max(1.0, ROOM * bar.rate / top) if top else 1.0
        colour = OURS if at == 0 else BEST if bar.rate == best else OTHER
        times = f"{SEPARATOR}{bar.rate / best:.2f} x" if best else ""
        yield _text(LEFT - 8, middle + 11, bar.label, INK, "bold" if at == 0 else "normal", "end")
        yield f'<rect x="{LEFT}" y="{middle}" width="{width:.1f}" height="{BAR}" fill="{colour}"/>'
        yield _text(round(LEFT + width + 6), middle + 11, rate_text(bar.rate) + times, INK)


def _chosen(bars: Sequence[Bar]) -> list[Bar]:
    """taskmaster, then each peer at its best and, if that was worse, untuned as well: the highest first."""
    best: dict[tuple[str, bool], Bar] = {}
    for bar in bars[1:]:
        key = bar.name, bar.plain
        best[key] = max(best.get(key, bar), bar, key=lambda one: one.rate)
    kept = [bar for (name, plain), bar in best.items()
            if not plain or bar.rate > 0 and bar.rate < best.get((name, False), bar).rate or (name, False) not in best]
    return [bars[0], *sorted(kept, key=lambda bar: -bar.rate)]


def _text(x: float, y: float, text: str, colour: str, weight: str = "normal", anchor: str = "start",
          size: int = 12) -> str:
    return (f'<text x="{x}" y="{y}" fill="{colour}" font-weight="{weight}" text-anchor="{anchor}" '
            f'font-size="{size}">{escape(text)}</text>')

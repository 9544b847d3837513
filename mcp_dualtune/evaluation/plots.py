"""Plots as SVG text: bars with intervals, a calibration diagram, and spans of time.

Owns how numbers are drawn; colours are classes that the page fills in, for light and dark. Every plot says
in words what it shows, and everything in it stands in a table of the page as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from mcp_dualtune.evaluation.score import Bin, Rate

ROW, BAR, LABEL, PLOT, VALUE = 26, 12, 170, 240, 72
"""Pixels: height of a row and of its bar, width of the names, of the bars and of the numbers behind them."""
TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
SQUARE, MARGIN = 260, 56
LONGEST_NAME = 23
"""Characters of a name beside a bar."""
MOST_TICKS = 5
"""Named places on an axis of time: more would run into each other."""


@dataclass(frozen=True)
class Span:
    """A median and a 95th percentile."""

    name: str
    p50: float
    p95: float
    strong: bool = False


def bars(title: str, rows: Sequence[tuple[str, Rate, bool]]) -> str:
    """Shares with their 95 % intervals, one below the other; the bool marks the row that matters most."""
    parts = [_grid(tick, f"{tick:.0%}", len(rows)) for tick in TICKS]
    for place, (name, rate, strong) in enumerate(rows):
        middle = place * ROW + ROW / 2 + 18
        parts.append(_name(name, middle, strong))
        if rate.value is None or rate.interval is None:
            parts.append(_text(LABEL + 4, middle + 4, "not measured", "faint"))
            continue
        low, high = (LABEL + bound * PLOT for bound in rate.interval)
        width = rate.value * PLOT
        kind = "strong" if strong else "plain"
        parts.append(
            f'<rect class="{kind}" x="{LABEL}" y="{middle - BAR / 2:.1f}" width="{width:.1f}" height="{BAR}" rx="2"/>'
        )
        parts.append(
            f'<path class="whisker" d="M{low:.1f} {middle:.1f}H{high:.1f}M{low:.1f} {middle - 4:.1f}v8'
            f'M{high:.1f} {middle - 4:.1f}v8"/>'
        )
        parts.append(_text(LABEL + PLOT + 10, middle + 4, f"{rate.value:.1%}", kind))
    return _svg(title, LABEL + PLOT + VALUE, len(rows) * ROW + 24, parts)


def calibration(title: str, bins: Sequence[Bin]) -> str:
    """Confidence against the share that was right; the area of a dot grows with its cases."""
    total = sum(one.right.total for one in bins) or 1
    parts = []
    for tick in TICKS:
        x, y = MARGIN + tick * SQUARE, 10 + (1 - tick) * SQUARE
        parts.append(f'<path class="grid" d="M{x:.1f} 10V{10 + SQUARE}M{MARGIN} {y:.1f}H{MARGIN + SQUARE}"/>')
        parts.append(_text(x, SQUARE + 26, f"{tick:.0%}", "faint", "middle"))
        parts.append(_text(MARGIN - 6, y + 4, f"{tick:.0%}", "faint", "end"))
    parts.append(f'<path class="ideal" d="M{MARGIN} {10 + SQUARE}L{MARGIN + SQUARE} 10"/>')
    for one in bins:
        if one.right.value is None or one.right.interval is None:
            continue
        x, y = MARGIN + one.confidence * SQUARE, 10 + (1 - one.right.value) * SQUARE
        low, high = (10 + (1 - bound) * SQUARE for bound in one.right.interval)
        parts.append(f'<path class="whisker" d="M{x:.1f} {low:.1f}V{high:.1f}"/>')
        radius = 3 + 14 * math.sqrt(one.right.total / total)
        said = f"confidence {one.confidence:.0%}: {one.right.value:.0%} right of {one.right.total}"
        parts.append(
            f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"><title>{escape(said)}</title></circle>'
        )
    parts.append(_text(MARGIN + SQUARE / 2, SQUARE + 44, "confidence", "faint", "middle"))
    parts.append(
        f'<text class="faint" text-anchor="middle" transform="translate(10 {10 + SQUARE / 2}) rotate(-90)">right</text>'
    )
    return _svg(title, MARGIN + SQUARE + 20, SQUARE + 52, parts)


def spans(title: str, rows: Sequence[Span]) -> str:
    """From the median to the 95th percentile, on a logarithmic axis of milliseconds."""
    if not rows:
        return ""
    first = math.floor(math.log10(max(min(row.p50 for row in rows), 0.01)))
    last = max(math.ceil(math.log10(max(max(row.p95 for row in rows), 0.01))), first + 1)

    def along(ms: float) -> float:
        return (math.log10(max(ms, 10.0**first)) - first) / (last - first)

    step = math.ceil((last - first) / (MOST_TICKS - 1))
    powers = range(first, last + 1)
    named = {power: milliseconds(10.0**power) for power in powers[::step]}
    parts = [_grid(along(10.0**power), named.get(power, ""), len(rows)) for power in powers]
    for place, row in enumerate(rows):
        middle = place * ROW + ROW / 2 + 18
        start, end = LABEL + along(row.p50) * PLOT, LABEL + along(row.p95) * PLOT
        kind = "strong" if row.strong else "plain"
        parts.append(_name(row.name, middle, row.strong))
        parts.append(f'<path class="span {kind}" d="M{start:.1f} {middle:.1f}H{max(end, start + 1):.1f}"/>')
        parts.append(f'<circle class="{kind}" cx="{start:.1f}" cy="{middle:.1f}" r="5"/>')
        parts.append(_text(LABEL + PLOT + 10, middle + 4, milliseconds(row.p50), kind))
    return _svg(title, LABEL + PLOT + VALUE, len(rows) * ROW + 24, parts)


def milliseconds(ms: float) -> str:
    """A time as people say it."""
    return f"{ms / 1000:.3g} s" if ms >= 1000 else f"{ms:.3g} ms" if ms >= 1 else f"{ms:.2g} ms"


def _grid(share: float, label: str, rows: int) -> str:
    x = LABEL + share * PLOT
    line = f'<path class="grid" d="M{x:.1f} 18V{18 + rows * ROW}"/>'
    return line + _text(x, 12, label, "faint", "middle") if label else line


def _name(name: str, middle: float, strong: bool) -> str:
    short = name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
    return _text(LABEL - 8, middle + 4, short, "strong" if strong else "plain", "end")


def _text(x: float, y: float, text: str, kind: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(title: str, width: float, height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg role="img" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )

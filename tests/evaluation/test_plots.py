"""Plots as a browser draws them: no two texts of one line touch, and none leaves the picture."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from mcp_dualtune.evaluation.plots import Span, bars, calibration, milliseconds, spans
from mcp_dualtune.evaluation.score import Bin, Rate

WIDE = 7.0
"""Pixels of a character at most, at 12 pixels."""


def texts(svg: str) -> list[tuple[float, float, float, str]]:
    """(y, left, right, text) of all texts that stand upright."""
    found = []
    for x, y, anchor, text in re.findall(r'<text class="\w+" x="(.*?)" y="(.*?)" text-anchor="(\w+)">(.*?)<', svg):
        width = WIDE * len(text)
        left = float(x) - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
        found.append((float(y), left, left + width, text))
    return found


def drawn_well(svg: str, room: float = 0.0) -> bool:
    """Whether all texts are inside, right of `room`, and none of them overlap."""
    width = float(re.findall(r'viewBox="0 0 (\d+)', svg)[0])
    found = sorted(texts(svg))
    apart = all(a[0] != b[0] or a[2] <= b[1] for a, b in pairwise(found))
    return apart and all(room <= left and right <= width for _, left, right, _ in found)


@pytest.mark.parametrize("fastest", [0.0449, 0.6, 12.0, 705.0])
def test_times_from_very_short_to_very_long_fit(fastest: float) -> None:
    rows = [Span("in use", 706.0, 1170.0, True), Span("shared words", fastest, 2 * fastest), Span("x", 900.0, 41_200.0)]
    assert drawn_well(spans("Time", rows))


def test_shares_fit() -> None:
    rows = [("a server with a name that is far too long", Rate(9, 9), True), ("b", Rate(0, 0), False)]
    assert drawn_well(bars("Right", rows))


def test_the_name_of_an_upright_axis_has_room_beside_its_numbers() -> None:
    svg = calibration("Confidence", [Bin(0.5, Rate(1, 2))])
    (place,) = re.findall(r"translate\((\d+) ", svg)
    assert drawn_well(svg, room=float(place) + 4)


def test_times_are_said_in_few_characters() -> None:
    said = [milliseconds(ms) for ms in (0.0449, 0.6, 4.12, 705.3, 1170.0, 41_200.0)]
    assert said == ["0.045 ms", "0.6 ms", "4.12 ms", "705 ms", "1.17 s", "41.2 s"]

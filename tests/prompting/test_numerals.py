"""Numbers as people write them."""

from __future__ import annotations

import pytest

from mcp_dualtune.prompting.numerals import NUMBER, number_of


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("12", 12), ("-3", -3), ("1,200", 1200), ("0.5", 0.5), ("-1,000.25", -1000.25), ("twenty-five", 25),
        ("Ninety nine", 99), ("a dozen", 12), ("hundred", 100), ("zero", 0), ("two thousand", 2000),
        ("eight hundred and fifty", 850),
        ("3k", 3000), ("2 million", 2_000_000), ("one hundred five", 105), ("two hundred thousand", 200_000),
    ],
)  # fmt: skip
def test_a_number_is_read(text: str, number: float) -> None:
    found = number_of(text)
    assert found == number
    assert type(found) is type(number)


@pytest.mark.parametrize("text", ["", "twelve monkeys", "1,20", "v2", "12pm", "ten-twenty", "."])
def test_what_is_no_number_is_not_read(text: str) -> None:
    assert number_of(text) is None


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("the last 40 lines, at most 1,200 of them", [40, 1200]),
        ("two thousand and five, then 3k and 1.5", [2005, 3000, 1.5]),
        ("a dozen of v2.1 at 14:30", [12]),
        ("one or two hundred", [1, 200]),
        ("HEAD~3 of main^2, /tmp/5 and 4", [4]),
    ],
)
def test_numbers_are_found_in_texts(text: str, numbers: list[float]) -> None:
    found = [number_of(place[0]) for place in NUMBER.finditer(text)]
    assert found == numbers

"""What the tokens of a constrained choice say of the options."""

from __future__ import annotations

import math

import pytest

from mcp_dualtune.engine.choice import Written, option_chances


def written(text: str, chance: float, **others: float) -> Written:
    return Written(text.encode(), math.log(chance), tuple((t.encode(), math.log(p)) for t, p in others.items()))


def chances(options: list[str], *answer: Written) -> list[float]:
    return [round(math.exp(value), 6) for value in option_chances(options, answer)]


def test_tokens_that_cannot_become_an_option_do_not_count() -> None:
    assert chances(["read", "write"], written("read", 0.3, write=0.1, sing=0.6)) == [0.75, 0.25]


def test_an_option_in_several_tokens_has_the_product_of_its_branches() -> None:
    first = written("git_", 0.2, stop=0.2, bake=0.6)
    second = written("log", 0.3, diff=0.1, cake=0.6)
    assert chances(["git_log", "git_diff", "stop"], first, second) == [0.375, 0.125, 0.5]


def test_a_branch_not_taken_is_shared_evenly() -> None:
    assert chances(["stop", "git_log", "git_diff"], written("stop", 0.6, git_=0.4)) == [0.6, 0.2, 0.2]


def test_other_cuts_of_the_same_option_count_for_it() -> None:
    assert chances(["stop", "go"], written("stop", 0.4, st=0.2, go=0.2)) == [0.75, 0.25]


def test_what_follows_the_option_is_not_looked_at_and_unnamed_options_keep_a_little() -> None:
    found = option_chances(["a", "b"], [written("a", 0.5, x=0.5), written("<|end|>", 0.9)])
    assert math.exp(found[0]) == pytest.approx(1.0) and -25 < found[1] < -15
    assert sum(map(math.exp, found)) == pytest.approx(1.0)


def test_tokens_may_end_inside_a_character() -> None:
    first, second = "Ä".encode()[:1], "Ä".encode()[1:]
    answer = [Written(first, math.log(0.5), ((b"z", math.log(0.5)),)), Written(second + b"pfel", 0.0, ())]
    assert [round(math.exp(one), 6) for one in option_chances(["Äpfel", "zoo"], answer)] == [0.5, 0.5]


@pytest.mark.parametrize("said", ["sing", "read_al", "re"])
def test_an_answer_that_is_no_option_is_an_error(said: str) -> None:
    with pytest.raises(ValueError, match=said):
        option_chances(["read_all", "read_one"], [written(said, 1.0)])

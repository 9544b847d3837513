"""The engine that replays a script."""

from __future__ import annotations

import math
from threading import Event

import pytest

from mcp_dualtune.engine.base import GenerationRequest, RankRequest
from mcp_dualtune.engine.scripted import ScriptedEngine
from mcp_dualtune.errors import Cancelled, EngineError

RANK = RankRequest((1,), ((2,), (3,), (4,)))
GENERATE = GenerationRequest((1,), None)


def test_answers_come_in_the_given_order_and_requests_are_kept() -> None:
    engine = ScriptedEngine([2, '{"a": 1}'])
    chances = engine.rank(RANK).log_probabilities
    assert chances.index(max(chances)) == 2
    assert sum(map(math.exp, chances)) == pytest.approx(1)
    done = engine.generate(GENERATE)
    assert (done.text, engine.tokenizer.decode(done.tokens)) == ('{"a": 1}', '{"a": 1}')
    assert engine.requests == [RANK, GENERATE]


@pytest.mark.parametrize("answers", [["text"], [3], []])
def test_a_script_that_does_not_fit_is_an_error(answers: list[int | str]) -> None:
    with pytest.raises(EngineError):
        ScriptedEngine(answers).rank(RANK)


def test_a_cancelled_request_uses_no_answer() -> None:
    engine, cancel = ScriptedEngine(["text"]), Event()
    cancel.set()
    with pytest.raises(Cancelled):
        engine.generate(GENERATE, cancel)
    assert engine.generate(GENERATE).text == "text"

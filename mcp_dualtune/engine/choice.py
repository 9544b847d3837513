"""How likely each option is, told from the one that a constrained server chose.

Owns that arithmetic. A server that may write nothing but an option says, token by token, what the model thought of the
other tokens. At each token the chance is shared among the tokens that could still become an option; what goes to
another branch is shared evenly by that branch's options, whose further tokens nobody asked for. So the choice itself
and every first difference from it are the model's own (as far as the server names them), and the order within a branch
not taken is not known. An engine that scores whole options (`base.Ranking`) knows more: both agree where options
differ in one token.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

FLOOR = 1e-9
"""Chance of an option that no token spoke for: little, but a logarithm."""


@dataclass(frozen=True)
class Written:
    """One token of the server's answer, as bytes of text: a token may end inside a character."""

    text: bytes
    log_probability: float
    others: tuple[tuple[bytes, float], ...]
    """The likeliest tokens at this place with their log-probabilities; the chosen one may be among them."""


def option_chances(texts: Sequence[str], answer: Sequence[Written]) -> list[float]:
    """Natural logs of the chances of the options, no `texts` of which may begin another; exp of them sums to 1.

    Raises:
        ValueError: the tokens do not write one of the options.
    """
    options = [text.encode() for text in texts]
    chances = [0.0] * len(options)
    alive = list(range(len(options)))
    mass, done = 1.0, b""
    for token in answer:
        if len(alive) == 1 and options[alive[0]] == done:
            break
        weights = {text: math.exp(value) for text, value in token.others if text}
        weights[token.text] = max(math.exp(token.log_probability), FLOOR)
        branches = {text: _fitting(options, alive, done + text) for text in weights}
        total = sum(weight for text, weight in weights.items() if branches[text])
        if not branches[token.text]:
            raise ValueError((done + token.text).decode(errors="replace"))
        for text, members in branches.items():
            for member in members if text != token.text else ():
                chances[member] += mass * weights[text] / total / len(members)
        mass *= weights[token.text] / total
        alive, done = branches[token.text], done + token.text
    written = [option for option in alive if options[option] == done]
    if len(written) != 1:
        raise ValueError(done.decode(errors="replace"))
    chances[written[0]] += mass
    whole = sum(max(chance, FLOOR) for chance in chances)
    return [math.log(max(chance, FLOOR) / whole) for chance in chances]


def _fitting(options: Sequence[bytes], alive: Sequence[int], start: bytes) -> list[int]:
    return [option for option in alive if options[option].startswith(start)]

"""What people put around the core of a request: politeness, impatience, a story before it, a reason after it.

Owns the frames and the look of a line (capitals, full stops); it never touches the places in it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from mcp_dualtune.training.synthesis import inflection, lexicon
from mcp_dualtune.training.synthesis.wordings import Wordings

QUESTION = re.compile(
    r"^(?:what|which|who|where|when|how|is|are|do|does|can|could|any|will|would|why)\b", re.IGNORECASE
)
ME = re.compile(r"\b(?:me|let)\b|^(?:show|display|print|read out|bring up|give|tell)\b")
SPEAKER = re.compile(r"\b(?:I|I'm|I've|I'd|we|let's|me|us|let)\b(?! you)")
"""Frames in which the speaker acts: nobody wants to show something to himself."""
LONG = 100
"""Nothing follows a clause that is longer: nobody would wait for the end of the sentence."""
PLAIN, GERUND = 0.38, 0.08
BEFORE, AFTER = 0.13, 0.09


def framed(
    clause: str, rng: random.Random, wordings: Wordings, *, imperative: bool, open_end: bool, alone: bool = True
) -> str:
    """A clause as a whole request; nothing follows an open end, and no reason one that does not stand `alone`."""
    story = rng.random() < BEFORE
    text = clause
    told = bool(ME.search(clause))
    if imperative:
        roll = rng.random() if not story else 0.0
        closed = open_end or len(clause) > LONG
        if roll < PLAIN:
            text = _put(_options("plain", closed), "{c}", clause, rng, Wordings())
        elif roll < PLAIN + GERUND and not told and "," not in clause.split("{")[0] and clause.split()[0].isalpha():
            text = _put(_options("gerund", closed), "{g}", inflection.gerund(clause), rng, wordings)
        else:
            options = _options("imperative", closed)
            options = [frame for frame in options if not SPEAKER.search(frame)] if told else options
            text = _put(options, "{c}", clause, rng, wordings)
    if story:
        before = wordings.choose(lexicon.table("frames")["before"], rng)
        if rng.random() < 0.8 or QUESTION.match(text) or not imperative:
            return _look(f"{before} {text[:1].upper()}{text[1:]}", rng, open_end)
        return _look(f"{before.rstrip('.')}, so {_lower(text)}", rng, open_end)
    if alone and not open_end and rng.random() < AFTER:
        reason = wordings.choose(lexicon.table("frames")["after"], rng)
        if re.search(r"[.?!]$", text):
            text = f"{text} {reason[:1].upper()}{reason[1:]}."
        else:
            text = f"{text}{rng.choice((', ', ' - ', '. '))}{reason}"
            text = re.sub(r"\. ([a-z])", lambda found: f". {found[1].upper()}", text) if ". " + reason in text else text
    return _look(text, rng, open_end)


def passive(verb: str, obj: str, rest: str, rng: random.Random, wordings: Wordings) -> str:
    """`I want ticket 42 closed`."""
    frame = wordings.choose(lexicon.table("frames")["passive"], rng)
    text = frame.replace("{o}", obj).replace("{pp}", inflection.participle(verb)).replace("{rest}", rest)
    return _look(re.sub(r"\s+", " ", text), rng, False)


def keyword(words: str, rng: random.Random, wordings: Wordings) -> str:
    """A terse line."""
    return _put(lexicon.table("frames")["keyword"], "{k}", words, rng, wordings)


def with_details(clause: str, details: str, rng: random.Random, wordings: Wordings) -> str:
    """A request and its details in a sentence of their own."""
    frame = wordings.choose(lexicon.table("frames")["rest_sentence"], rng).replace("{r}", details)
    frame = frame[:1].upper() + frame[1:] if not frame.startswith("{") else frame
    mark = " " if clause[-1:] in ".?!:" or frame.startswith(("(", "-")) else ". "
    return clause + mark + frame


def _options(kind: str, open_end: bool) -> Sequence[str]:
    frames: Sequence[str] = lexicon.table("frames")[kind]
    return [frame for frame in frames if frame.endswith(("{c}", "{g}"))] if open_end else frames


def _put(frames: Sequence[str], place: str, text: str, rng: random.Random, wordings: Wordings) -> str:
    frame = wordings.choose(frames, rng)
    # A question is not asked about a question.
    if text[-1:] in ".?!" and not frame.endswith(place):
        text = text[:-1]
    return frame.replace(place, text)


def _look(text: str, rng: random.Random, open_end: bool) -> str:
    text = text.strip()
    if rng.random() < 0.62:
        text = text[:1].upper() + text[1:]
    if open_end or text[-1:] in ".?!:)":
        return text
    if QUESTION.match(text) and rng.random() < 0.4:
        return text + "?"
    return text + "." if rng.random() < 0.22 else text


def _lower(text: str) -> str:
    return text if re.match(r"(?:I\b|I'|[A-Z]{2}|\{)", text) else text[:1].lower() + text[1:]

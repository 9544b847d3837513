"""What only a tool's description says of its parameters: `Args:` sections of Python servers, and sentences.

Servers made of Python functions publish schemas without a word on a parameter and put all words into the description.
They are found by the parameters' names, whatever the style: clients strip and indent descriptions as they like, and
parsers of docstrings give up on that. Blocking code without state.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from textwrap import dedent

from mcp_dualtune.types import JSON

LINE = (
    r"[ \t]*(?:[-*•][ \t]+|:param[ \t]+(?:\w+[ \t]+)?)?[`*\"']*{name}[`*\"']*"
    r"[ \t]*(?:\([^)\n]*\))?[`*]*[ \t]*(?::|[-–—])(?:[ \t]+(?P<text>.*)|$)"
)
"""`name: text`, `- name (type, optional): text`, `:param name: text`, NumPy's `name : type` with its text below."""
HEADING = re.compile(
    r"\s*[#*]*(?:Args|Arguments|Param(?:eter)?s|Returns?|Raises|Yields|Examples?|Notes?)\b.{0,20}$", re.I
)
SENTENCE = re.compile(r"(?<=[.!?])(?<!e\.g\.)(?<!i\.e\.)\s+")
READ, LONGEST, MENTION = 20_000, 300, 160
"""Characters of a description that are read, of what is said of a parameter, and of a sentence that only uses its name:
a longer one is about more."""


def explained(schema: Mapping[str, JSON], description: str) -> dict[str, JSON]:
    """`schema` with a description for each property that has none and that `description` says something about."""
    properties = schema.get("properties")
    if not isinstance(properties, Mapping) or not description:
        return dict(schema)
    names, description = list(properties), description[:READ]
    found = {**_sentences(names, description), **_lines(names, description)}
    bare = {
        name: part for name, part in properties.items() if isinstance(part, Mapping) and not part.get("description")
    }
    told = {name: {**part, "description": found[name][:LONGEST]} for name, part in bare.items() if found.get(name)}
    return {**schema, "properties": {**properties, **told}}


def _lines(names: list[str], description: str) -> dict[str, str]:
    """What stands in lines that begin with a parameter's name, and in the lines that go on with those."""
    lines, heads = dedent(description).splitlines(), dict[int, tuple[str, str]]()
    for name in names:
        pattern = re.compile(LINE.format(name=re.escape(name)))
        for at, line in enumerate(lines):
            if begun := pattern.match(line):
                heads[at] = name, begun["text"] or ""
    texts: dict[str, str] = {}
    for at, (name, text) in heads.items():
        whole = " ".join([text, *_continued(lines, at, heads)]).strip()
        others = "|".join(re.escape(other) for other in names if other != name)
        texts.setdefault(name, re.split(rf"(?<=[.;])\s+(?:{others}):\s", whole)[0] if others else whole)
    return texts


def _continued(lines: list[str], at: int, heads: Mapping[int, object]) -> Iterator[str]:
    """The lines below line `at` that go on with it: indented further, or in the middle of its sentence."""
    for number in range(at + 1, len(lines)):
        line = lines[number].strip()
        deeper = _margin(lines[number]) > _margin(lines[at])
        open_end = number == at + 1 and lines[at][-1:].isalnum()
        if number in heads or not line or HEADING.match(line) or not (deeper or open_end):
            return
        yield line


def _margin(line: str) -> int:
    return len(line) - len(line.lstrip())


def _sentences(names: list[str], description: str) -> dict[str, str]:
    """What sentences say that begin with `name:`, or else the first short one that uses the name as a name."""
    sentences, texts = SENTENCE.split(" ".join(description.split())), dict[str, str]()
    clauses = [clause for one in sentences for clause in re.split(r"(?<=;)\s+", one)]
    for name in names:
        word = re.escape(name)
        begins = re.compile(rf"{word}:\s+(.+)")
        # `path` and `end=2` are names; path and end may be plain words of a sentence, save_to is none.
        plain = rf"|(?<!\w){word}(?!\w)" if re.search(r"_|[a-z][A-Z]", name) else ""
        uses = re.compile(rf"`{word}`|(?<!\w){word}={plain}")
        told = (begun[1] for one in sentences if (begun := begins.match(one)))
        mentions = (one for one in clauses if len(one) <= MENTION and uses.search(one))
        texts[name] = next(told, "") or next(mentions, "")
    return texts

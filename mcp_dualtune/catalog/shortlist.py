"""Cut a large catalog down to the tools worth showing the model, by the words they share with the request.

Owns ranking by BM25 over names, titles, descriptions and parameters. Refuses to own: choosing a tool.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mcp_dualtune.types import ServerSpec, ToolSpec

MAX_WORDS = 400
"""Words of one tool and of the request that count: descriptions can be whole manuals."""
MAX_PART_WORDS = 30
"""Words of a server's and of a parameter's description that count."""
NAME_WEIGHT = 2
"""How often the words of a tool's name count: they are chosen to tell tools apart, descriptions are not."""
_NAMED = float("inf")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+")
_STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        "your a an and are as at be by can could do does for from has have how i if in into is it its me my of on or "
        "our please so some that the their them then there these this to us was we what when which will with would you",
    )
)
_Index = tuple[Any, tuple[ToolSpec, ...]]
_indexes: dict[tuple[str, ...], _Index] = {}
_MAX_INDEXES = 8


def rank_tools(text: str, servers: Sequence[ServerSpec], limit: int) -> tuple[tuple[ToolSpec, float], ...]:
    """Give at most `limit` tools that share a word with `text`, best first, with scores; equal ones by catalog order.

    A tool whose exact name stands in `text` comes before all others, with an infinite score.
    """
    tools = tuple(tool for server in servers for tool in server.tools)
    scores = _scores(text, servers, tools)
    order = sorted(range(len(tools)), key=lambda place: -scores[place])
    return tuple((tools[place], scores[place]) for place in order[: max(limit, 0)] if scores[place] > 0)


def shortlist(text: str, servers: Sequence[ServerSpec], budget: int) -> tuple[ServerSpec, ...]:
    """Cut `servers` to their best tools, together `budget` at most, in the original order; emptied servers go.

    With fewer tools than `budget` everything stays. Places that no ranked tool takes are filled in catalog order.
    """
    tools = tuple(tool for server in servers for tool in server.tools)
    if len(tools) <= budget:
        return tuple(servers)
    scores = _scores(text, servers, tools)
    kept = set(sorted(range(len(tools)), key=lambda place: -scores[place])[: max(budget, 0)])
    cut, place = [], 0
    for server in servers:
        own = tuple(tool for offset, tool in enumerate(server.tools) if place + offset in kept)
        place += len(server.tools)
        if own:
            cut.append(server if len(own) == len(server.tools) else replace(server, tools=own))
    return tuple(cut)


def _scores(text: str, servers: Sequence[ServerSpec], tools: tuple[ToolSpec, ...]) -> list[float]:
    """One score per tool, in catalog order; 0 when nothing is shared."""
    words = _words(text)
    if not tools:
        return []
    index = _index(servers, tools)
    known = [word for word in dict.fromkeys(words) if index is not None and word in index.vocab_dict]
    scores = [float(score) for score in index.get_scores(known)] if index is not None and known else [0.0] * len(tools)
    # A name counts as named only where it stands alone, so `read` does not fire inside `already` or `read_file`.
    said = set(re.findall(r"[\w.-]*\w", text))
    plain = {word for word in said if re.search(r"[_.\-\d]|[a-z][A-Z]", word)}
    return [_NAMED if tool.name in plain else score for tool, score in zip(tools, scores, strict=True)]


def _index(servers: Sequence[ServerSpec], tools: tuple[ToolSpec, ...]) -> Any:
    """The BM25 index of these tools, built once for each catalog; None when no tool has a word."""
    key = tuple(
        part for server in servers for part in (server.fingerprint, *(tool.fingerprint for tool in server.tools))
    )
    if key not in _indexes:
        documents = [_document(server, tool) for server in servers for tool in server.tools]
        while len(_indexes) >= _MAX_INDEXES:
            del _indexes[next(iter(_indexes))]
        _indexes[key] = (_build(documents), tools)
    return _indexes[key][0]


def _build(documents: list[list[str]]) -> Any:
    # Imported here: numpy is heavy, and most catalogs never need an index.
    import bm25s  # noqa: PLC0415

    if not any(documents):
        return None
    # Long documents here are long because of boilerplate, hence the strong normalisation.
    index = bm25s.BM25(backend="numpy", k1=2.0, b=0.9)
    index.index(documents, show_progress=False)
    return index


def _document(server: ServerSpec, tool: ToolSpec) -> list[str]:
    words = _words(tool.name) * NAME_WEIGHT + _words(server.name) + _words(tool.title or "")
    words += _words(tool.description) + _words(server.description)[:MAX_PART_WORDS]
    for name, part in tool.input_schema.get("properties", {}).items():
        words += _words(name) + _words(str(part.get("description") or ""))[:MAX_PART_WORDS]
    return words


def _words(text: str) -> list[str]:
    """Lower-case stems of the words in `text`, names split at case and underscores."""
    found = (match.lower() for match in _WORD.findall(text[: MAX_WORDS * 20]))
    return [_stem(word) for word in found if word not in _STOP_WORDS][:MAX_WORDS]


def _stem(word: str) -> str:
    """Cut the commonest English endings, so that `files` meets `file` and `searching` meets `search`."""
    for ending, least in (("ing", 6), ("ies", 5), ("ed", 5), ("es", 5), ("s", 4)):
        if len(word) >= least and word.endswith(ending) and not word.endswith("ss"):
            stem = word[: -len(ending)]
            return f"{stem}y" if ending == "ies" else stem.rstrip("e") if ending in ("ed", "es") else stem
    return word.rstrip("e") if len(word) > 4 else word

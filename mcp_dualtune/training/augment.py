"""Changes that keep a case right but stop the model from remembering names.

Owns renaming, reordering, dropped descriptions and typing noise. Every function takes its own random.Random.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import replace

from mcp_dualtune.training.records import Case
from mcp_dualtune.types import FINISH, JSON, NONE, ServerSpec, ToolSpec

SYNONYMS = {
    "get": ["fetch", "read", "retrieve", "load", "show", "lookup"], "list": ["show", "enumerate", "get_all", "browse"],
    "create": ["add", "make", "new", "insert"], "delete": ["remove", "drop", "erase", "destroy"],
    "update": ["edit", "modify", "change", "set"], "search": ["find", "query", "lookup"], "find": ["search", "locate"],
    "add": ["create", "append", "insert"], "send": ["post", "deliver", "submit"], "read": ["open", "get", "view"],
    "write": ["save", "store", "put"], "run": ["execute", "start", "invoke"], "file": ["document", "path"],
    "name": ["title", "label"], "query": ["q", "text", "term", "search"], "id": ["identifier", "key", "uid"],
    "path": ["file", "location", "filename"], "url": ["link", "address", "uri"], "limit": ["max", "count", "size"],
    "message": ["text", "body", "note"], "user": ["member", "person", "account"], "content": ["text", "body", "data"],
    "directory": ["folder", "dir"], "start": ["begin", "from"], "end": ["until", "to"], "type": ["kind", "category"],
}  # fmt: skip
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def words_of(name: str) -> list[str]:
    """`getUser_id` -> [get, user, id]."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)] or [name.lower()]


def styled(words: list[str], rng: random.Random) -> str:
    """The words in one of the naming styles that servers use."""
    style = rng.randrange(5)
    if style <= 1:
        return "_".join(words)
    if style == 2:
        return "-".join(words)
    camel = "".join(word.capitalize() for word in words)
    return camel if style == 3 else camel[:1].lower() + camel[1:]


def renamed(name: str, rng: random.Random, *, prefix: str = "") -> str:
    """Another name with the same meaning."""
    words = [rng.choice(SYNONYMS[w]) if w in SYNONYMS and rng.random() < 0.6 else w for w in words_of(name)]
    if prefix and rng.random() < 0.5:
        words = [prefix, *words]
    return styled(words[:8], rng)


def shuffled_server(server: ServerSpec, keep: set[str], limit: int, rng: random.Random) -> ServerSpec:
    """At most `limit` tools in random order, those named in `keep` among them."""
    kept = [tool for tool in server.tools if tool.name in keep]
    others = [tool for tool in server.tools if tool.name not in keep]
    rng.shuffle(others)
    tools = kept + others[: max(0, limit - len(kept))]
    rng.shuffle(tools)
    return replace(server, tools=tuple(tools))


def renamed_tools(server: ServerSpec, rng: random.Random) -> tuple[ServerSpec, dict[str, str]]:
    """The server with its tools renamed in one style, and old name -> new name."""
    prefix = rng.choice(words_of(server.name)) if rng.random() < 0.5 else ""
    seed = rng.random()
    mapping: dict[str, str] = {}
    for tool in server.tools:
        style = random.Random(seed)  # one naming style for the whole server
        style_words = renamed(tool.name, rng, prefix=prefix)
        new = styled(words_of(style_words), style)
        mapping[tool.name] = new if new not in mapping.values() and new not in (NONE, FINISH) else tool.name
    tools = tuple(replace(tool, name=mapping[tool.name]) for tool in server.tools)
    return replace(server, tools=tools), mapping


def terse_tool(tool: ToolSpec, rng: random.Random) -> ToolSpec:
    """The tool with a shorter description or none."""
    sentences = re.split(r"(?<=[.!?])\s+", tool.description)
    kept = "" if rng.random() < 0.35 else rng.choice(sentences)
    return replace(tool, description=kept)


def renamed_parameters(case: Case, rng: random.Random) -> Case:
    """The case with the parameters of its tool renamed, in schema and arguments alike."""
    tool = next((tool for tool in case.server.tools if tool.name == case.tool), None)
    if tool is None or case.arguments is None:
        return case
    properties = tool.input_schema.get("properties") or {}
    mapping: dict[str, str] = {}
    for name in properties:
        new = renamed(name, rng) if rng.random() < 0.7 else random_word(rng)
        mapping[name] = new if new not in mapping.values() and new not in properties else name
    schema = {
        **tool.input_schema,
        "properties": {mapping[name]: part for name, part in properties.items()},
        "required": [mapping[name] for name in tool.input_schema.get("required") or () if name in mapping],
    }
    changed = replace(tool, input_schema=schema)
    return replace(
        case,
        server=replace(case.server, tools=tuple(changed if t is tool else t for t in case.server.tools)),
        arguments=_rename_keys(case.arguments, mapping),
        missing=tuple(mapping.get(name, name) for name in case.missing),
        fixed=_rename_keys(case.fixed, mapping),
    )


def reordered_parameters(tool: ToolSpec, rng: random.Random) -> ToolSpec:
    """The tool with its properties in random order."""
    items = list((tool.input_schema.get("properties") or {}).items())
    rng.shuffle(items)
    return replace(tool, input_schema={**tool.input_schema, "properties": dict(items)})


def random_word(rng: random.Random) -> str:
    """A meaningless name: the model must read the schema to know what it is."""
    return "".join(rng.choice(LETTERS) for _ in range(rng.randint(3, 8)))


def noisy(text: str, protected: list[str], rng: random.Random) -> str:
    """`text` with a typing habit (lower case, no final stop, a slip of a key); protected values stay as they are."""
    roll = rng.random()
    if roll < 0.45:
        return text
    pieces = (
        re.split("(" + "|".join(re.escape(p) for p in sorted(protected, key=len, reverse=True)) + ")", text)
        if (protected)
        else [text]
    )
    for index, piece in enumerate(pieces):
        if piece in protected or not piece:
            continue
        if roll < 0.65:
            piece = piece.lower()
        elif roll < 0.8:
            piece = piece.rstrip(".!?") if index == len(pieces) - 1 else piece
        else:
            at = rng.randrange(len(piece))
            if piece[at].isalpha():
                piece = rng.choice([piece[:at] + piece[at + 1 :], piece[:at] + piece[at] + piece[at:]])
        pieces[index] = piece
    return "".join(pieces)


def _rename_keys(values: Mapping[str, JSON], mapping: Mapping[str, str]) -> dict[str, JSON]:
    return {mapping.get(name, name): value for name, value in values.items()}

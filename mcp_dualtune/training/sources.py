"""Reads the data sets and the project's own phrases into records.

Owns file formats and what is kept out (held-out servers, evaluation suites). It invents nothing: `cases` and `drills`
do. `data` is the directory of third-party files named in adapters/nano/README.md.
"""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from mcp_dualtune.catalog.catalog import build_server
from mcp_dualtune.catalog.schema import validate_arguments
from mcp_dualtune.errors import TrainingError
from mcp_dualtune.training.records import Case, Chain, Entry, bucket, make_tool, parse_entry
from mcp_dualtune.training.zones import zone_values
from mcp_dualtune.types import NONE, ServerSpec, ToolSpec

TUNED = ("filesystem", "git", "memory", "sqlite", "time", "fetch", "everything", "monday", "notion")
"""Servers with phrases of our own."""
ZONE_PARAMETERS = ("timezone", "source_timezone", "target_timezone")
CHOICE_FILES = ("clinc150", "banking77", "metatool", "toolverifier", "hwu_slurp", "snips", "sgd_flat")
CALL_FILES = (
    "sgd_flat", "hwu_slurp", "snips", "home_assistant", "toolrl_sft", "glaive_demo", "seal_tools_dev",
    "nexus_vault", "gpteacher_toolformer", "restaurant8k",
)  # fmt: skip
TEXT_FILES = ("text-dialogues", "text-wiki", "text-openstax", "text-commands", "text-manuals")
SPLIT = 9
"""One request in this many is held out of training, for measuring and calibration."""
DEV_SHARE = 14
"""One authored server in this many is kept for measuring while training."""


@dataclass
class Corpus:
    """Everything that examples are made from."""

    servers: dict[str, ServerSpec] = field(default_factory=dict)
    """Servers with requests, by name (all their tools, requests or not)."""
    entries: dict[str, list[Entry]] = field(default_factory=lambda: defaultdict(list))
    """By server name."""
    chains: dict[str, list[Chain]] = field(default_factory=lambda: defaultdict(list))
    catalogue: list[ServerSpec] = field(default_factory=list)
    """Servers without requests: distractors and schemas to read."""
    prompts: list[tuple[str, ServerSpec]] = field(default_factory=list)
    """Requests that name only the right server."""
    choices: list[Case] = field(default_factory=list)
    calls: list[Case] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    refused: dict[str, list[str]] = field(default_factory=dict)
    """Requests that no tuned server serves, by the server they come near to; "" for those near none."""
    descriptions: dict[str, list[str]] = field(default_factory=dict)
    """Several wordings of a server's description; MCP servers send none, so users and configs supply them."""
    tuned: tuple[str, ...] = ()
    dev: tuple[str, ...] = ()

    @property
    def general(self) -> list[str]:
        """Servers with requests that are neither tuned nor kept for measuring."""
        kept = {*self.tuned, *self.dev}
        return [name for name in self.servers if name not in kept]


def split(corpus: Corpus, *, held_out: bool) -> Corpus:
    """The corpus with only the training requests of every tool, or only the held-out ones."""

    def part(entry: Entry) -> Entry:
        chosen = tuple(r for r in entry.requests if (bucket(r.text, SPLIT) == 0) == held_out)
        missing = tuple(m for m in entry.missing if (bucket(m[0].text, SPLIT) == 0) == held_out)
        return replace(entry, requests=chosen or entry.requests, missing=missing)

    chains = {
        name: [c for c in chains if (bucket(c.text, SPLIT) == 0) == held_out] for name, chains in corpus.chains.items()
    }
    entries = {name: [part(entry) for entry in entries] for name, entries in corpus.entries.items()}
    refused = {
        name: [text for text in texts if (bucket(text, SPLIT) == 0) == held_out] or texts
        for name, texts in corpus.refused.items()
    }
    return replace(corpus, entries=entries, chains=chains, refused=refused)


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a JSON Lines file, gzipped or not.

    Raises:
        TrainingError: the file is missing or a line is not JSON.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    yield json.loads(line)
                except ValueError as error:
                    raise TrainingError(f"{path}: line {number} is not JSON ({error}).") from error
    except FileNotFoundError as error:
        raise TrainingError(
            f"Training data {path} is missing.", hint="Give the directory of the data sets listed in the model card."
        ) from error


def held_out() -> set[str]:
    """Names of servers that no training may see (evaluation/suites/held_out_servers.json)."""
    text = resources.files("mcp_dualtune.evaluation").joinpath("suites/held_out_servers.json").read_text("utf-8")
    rows = json.loads(text)
    return {row["server"] for row in rows} | {copy["server"] for row in rows for copy in row.get("copies", ())}


def load_corpus(data: Path, *, texts: bool = True) -> Corpus:
    """Read everything: third-party files from `data`, the tuned servers from this package."""
    corpus = tuned_corpus()
    _load_authored(corpus, data)
    load_invented(corpus)
    _load_public(corpus, data)
    if texts:
        for name in TEXT_FILES:
            corpus.texts += [row["text"] for row in read_rows(data / f"{name}.jsonl.gz")]
    return corpus


def tuned_corpus() -> Corpus:
    """The tuned servers alone: all that comes with this package."""
    corpus = Corpus()
    here = resources.files("mcp_dualtune.training")
    for line in here.joinpath("phrases/none.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        corpus.refused[row["server"] or ""] = row["requests"]
    for name in TUNED:
        listing = json.loads(here.joinpath(f"servers/{name}.json").read_text("utf-8"))
        corpus.descriptions[name] = listing["descriptions"]
        # Built as in serving, so that fingerprints are those of the live tools.
        corpus.servers[name] = build_server(name, listing["descriptions"][0], listing["tools"]).spec
        corpus.tuned += (name,)
        for line in here.joinpath(f"phrases/{name}.jsonl").read_text("utf-8").splitlines():
            row = json.loads(line)
            for parameter, values in (row.get("values") or {}).items():
                if parameter in ZONE_PARAMETERS:
                    values += [list(pair) for pair in zone_values()]
            if "steps" in row:
                corpus.chains[name].append(Chain(name, row["text"], row.get("values") or {}, tuple(row["steps"])))
            else:
                corpus.entries[name].append(parse_entry(name, row["tool"], row))
    return corpus


def calibration_cases(corpus: Corpus) -> tuple[Case, ...]:
    """Everyday requests to the tuned servers that nothing is trained on: what confidence is fitted on.

    Requests that no server serves have a server without a name and the tool `none`.
    """
    return tuple(_everyday_cases("calibration", corpus))


def unseen_cases(corpus: Corpus) -> tuple[Case, ...]:
    """The same for servers that are never trained on (`Corpus.dev`), as far as the corpus has them."""
    return tuple(_everyday_cases("calibration_unseen", corpus))


def _everyday_cases(name: str, corpus: Corpus) -> Iterator[Case]:
    nobody = ServerSpec("", "", (), "")
    for row in written(name):
        server = corpus.servers.get(row["server"]) if row["server"] else nobody
        if server is not None:
            missing = tuple(row.get("missing") or ())
            yield Case(row["query"], server, row.get("tool") or NONE, row.get("arguments") or {}, missing)


def _load_authored(corpus: Corpus, data: Path) -> None:
    excluded = held_out()
    lists: dict[str, ServerSpec] = {}
    for row in read_rows(data / "mcp_catalogue.jsonl.gz"):
        spec = make_server(row["server"], row.get("description") or "", row["tools"])
        if spec is None or row["server"] in excluded or _is_tuned(row["server"]):
            continue
        corpus.catalogue.append(spec)
        if spec.name not in lists or len(lists[spec.name].tools) < len(spec.tools):
            lists[spec.name] = spec
    grouped: dict[str, list[dict[str, Any]]] = defaultdict(list)
    tools = {(spec.name, tool.name): tool for spec in corpus.catalogue for tool in spec.tools}
    for row in (*read_rows(data / "authored.jsonl.gz"), *written("catalogue")):
        if row["server"] in excluded or _is_tuned(row["server"]):
            continue
        if isinstance(row["tool"], str):
            # Our own rows name a tool of the catalogue; the others bring theirs along.
            listed_tool = tools.get((row["server"], row["tool"]))
            if listed_tool is None:
                continue
            known_tool = {"name": row["tool"], "description": listed_tool.description}
            row["tool"] = {**known_tool, "parameters": listed_tool.input_schema}
        grouped[row["server"]].append(row)
    for name, rows in grouped.items():
        own = [row["tool"] for row in rows]
        known = {tool["name"] for tool in own}
        listed = lists.get(name)
        spec = make_server(name, rows[0].get("server_description") or "", own)
        if spec is None:
            continue
        others = tuple(tool for tool in listed.tools if tool.name not in known) if listed else ()
        corpus.servers[name] = ServerSpec(name, spec.description, spec.tools + others, "")
        usable = {tool.name for tool in spec.tools}
        corpus.entries[name] = [
            parse_entry(name, row["tool"]["name"], row) for row in rows if row["tool"]["name"] in usable
        ]
    corpus.dev = tuple(name for name in grouped if bucket(name, DEV_SHARE) == 0)
    by_name = {spec.name: spec for spec in corpus.catalogue}
    for row in read_rows(data / "mcp_server_prompts.jsonl.gz"):
        spec = by_name.get(row["server"])
        if spec and row["server"] not in corpus.dev:
            corpus.prompts.append((row["query"], spec))


def load_invented(corpus: Corpus) -> None:
    """Servers that exist nowhere else, made up whole for this project."""
    for row in written("invented"):
        name = row["server"]
        spec = make_server(name, row["descriptions"][0], row["tools"])
        if spec is None:
            continue
        corpus.servers[name], corpus.descriptions[name] = spec, row["descriptions"]
        corpus.entries[name] = [parse_entry(name, tool["name"], tool) for tool in row["tools"]]
        if bucket(name, DEV_SHARE) == 0:
            corpus.dev += (name,)


def written(name: str) -> Iterator[dict[str, Any]]:
    """Rows of requests written for this project (`written/*.jsonl`)."""
    text = resources.files("mcp_dualtune.training").joinpath(f"written/{name}.jsonl").read_text("utf-8")
    return (json.loads(line) for line in text.splitlines())


def _load_public(corpus: Corpus, data: Path) -> None:
    for name in dict.fromkeys((*CHOICE_FILES, *CALL_FILES)):
        for row in read_rows(data / f"{name}.jsonl.gz"):
            if row["history"] or len(row["calls"]) > 1 or len(row["query"]) > 600:
                continue
            spec = make_server(row.get("server") or row["source"], row.get("server_description") or "", row["tools"])
            if spec is None:
                continue
            call: dict[str, Any] = row["calls"][0] if row["calls"] else {"name": NONE, "arguments": {}}
            known = row.get("arguments_known", True) and call["name"] != NONE and name in CALL_FILES
            case = Case(row["query"], spec, call["name"], call["arguments"] if known else None)
            if name in CHOICE_FILES and len(spec.tools) > 1:
                corpus.choices.append(case)
            if known and _fits(spec, call):
                corpus.calls.append(case)


def make_server(name: str, description: str, tools: list[Mapping[str, Any]]) -> ServerSpec | None:
    """A ServerSpec from a tool list with `inputSchema` or `parameters`; None when no tool can be used."""
    specs: dict[str, ToolSpec] = {}
    for tool in tools:
        schema = tool.get("inputSchema") or tool.get("parameters") or {}
        spec = _tool(name, tool["name"], tool.get("description") or "", json.dumps(schema))
        if spec is not None:
            specs.setdefault(spec.name, spec)
    return ServerSpec(name, description, tuple(specs.values()), "") if specs else None


@lru_cache(maxsize=200_000)
def _tool(server: str, name: str, description: str, schema: str) -> ToolSpec | None:
    """`make_tool`, once for each of the many records that repeat a tool."""
    return make_tool(server, name, description, json.loads(schema))


def _fits(server: ServerSpec, call: Mapping[str, Any]) -> bool:
    """Whether a labelled call has values of the right types; a grammar could never produce the others."""
    tool = next(tool for tool in server.tools if tool.name == call["name"])
    schema = {**tool.input_schema, "required": []}
    return not validate_arguments(schema, call["arguments"])


def _is_tuned(server: str) -> bool:
    """Whether a catalogue server is one of the tuned ones under another spelling."""
    words = server.lower().replace("-", " ").replace("_", " ").split()
    return any(word in words for word in ("filesystem", "git", "sqlite", "monday", "notion")) or server in TUNED

"""A synthesis as JSON lines that a person can read, edit and give back, in the format of `training/phrases/*.jsonl`.

Owns the file: one line for each tool and part (`"part": "held_out"` for what is measured on), for each chain, and one
for the requests that no tool serves.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mcp_dualtune.catalog.schema import validate_arguments
from mcp_dualtune.errors import TrainingError
from mcp_dualtune.training.records import Chain, Entry, RequestTemplate, parse_entry, said
from mcp_dualtune.training.synthesis.synthesis import Part, Synthesis
from mcp_dualtune.types import JSON, ServerSpec

PARTS = ("training", "held_out")


def write_synthesis(synthesis: Synthesis, path: Path) -> None:
    """Write all requests of a synthesis."""
    with path.open("w", encoding="utf-8") as file:
        for row in rows(synthesis):
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def rows(synthesis: Synthesis) -> Iterator[dict[str, Any]]:
    """The records of the file."""
    for name, part in (("training", synthesis.training), ("held_out", synthesis.held_out)):
        for entry in part.entries:
            yield {"part": name, "tool": entry.tool, **_entry(entry)}
        for chain in part.chains:
            yield {
                "part": name,
                "text": chain.text,
                "values": dict(chain.values),
                "steps": [dict(step) for step in chain.steps],
            }
        if part.refused:
            yield {"part": name, "server": synthesis.server.name, "requests": list(part.refused)}


def read_synthesis(path: Path, server: ServerSpec) -> Synthesis:
    """Read requests back, edited or written by hand; every line is checked against the server's tools.

    Raises:
        TrainingError: the file cannot be read, or a line does not fit: which one, and why.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingError(f"Cannot read the requests {path}: {error}.") from error
    entries: dict[str, list[Entry]] = {name: [] for name in PARTS}
    chains: dict[str, list[Chain]] = {name: [] for name in PARTS}
    refused: dict[str, list[str]] = {name: [] for name in PARTS}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            part = row.get("part", "training")
            if part not in PARTS:
                raise TrainingError(f"`part` is {part!r}.", hint=f"It is one of {', '.join(PARTS)}.")
            if "steps" in row:
                chains[part].append(Chain(server.name, row["text"], row.get("values") or {}, tuple(row["steps"])))
                _check_tools(server, [step["tool"] for step in row["steps"]])
            elif "tool" in row:
                _check_tools(server, [row["tool"]])
                entries[part].append(_checked(parse_entry(server.name, row["tool"], row), server))
            else:
                refused[part] += [str(text) for text in row["requests"]]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise TrainingError(
                f"{path}, line {number}: not a line of requests ({type(error).__name__}: {error}).",
                hint="Each line is a JSON object with `tool` and `requests`, or `text` and `steps`.",
            ) from error
        except TrainingError as error:
            raise TrainingError(f"{path}, line {number}: {error.message}", hint=error.hint) from error
    made = {name: Part(tuple(entries[name]), tuple(chains[name]), tuple(refused[name])) for name in PARTS}
    return Synthesis(server, made["training"], made["held_out"])


def _entry(entry: Entry) -> dict[str, Any]:
    used = {name for template, _ in entry.missing for name in template.places}
    used |= {name for template in entry.requests for name in template.places}
    values: Mapping[str, Any] = next((t.values for t in (*entry.requests, *(t for t, _ in entry.missing))), {})
    row: dict[str, Any] = {"requests": [_request(template) for template in entry.requests]}
    row["values"] = {name: list(found) for name, found in values.items() if name in used}
    if entry.missing:
        row["missing"] = [
            {"text": t.text, "missing": list(names), **({"args": dict(t.arguments)} if t.arguments else {})}
            for t, names in entry.missing
        ]
    if entry.results:
        row["results"] = list(entry.results)
    return row


def _request(template: RequestTemplate) -> JSON:
    return {"text": template.text, "args": dict(template.arguments)} if template.arguments else template.text


def _check_tools(server: ServerSpec, names: list[str]) -> None:
    known = {tool.name for tool in server.tools}
    for name in names:
        if name not in known:
            raise TrainingError(
                f"the server `{server.name}` has no tool `{name}`.", hint="Remove the line, or correct the name."
            )


def _checked(entry: Entry, server: ServerSpec) -> Entry:
    """An entry whose values all fit the schema.

    Raises:
        TrainingError: one does not.
    """
    schema = next(tool for tool in server.tools if tool.name == entry.tool).input_schema
    loose = {**schema, "required": []}
    templates = [*entry.requests, *(template for template, _ in entry.missing)]
    tried = [(template.text, template.arguments) for template in templates]
    seen: set[int] = set()
    for template in templates:
        for name, values in template.values.items():
            if id(values) not in seen and name in (schema.get("properties") or {}):
                seen.add(id(values))
                tried += [(f"values of {name}", {name: said(value)[1]}) for value in values]
    for where, arguments in tried:
        problems = validate_arguments(loose, arguments)
        if problems:
            raise TrainingError(
                f"a request of `{entry.tool}` does not fit its schema: {problems[0]} ({where}).",
                hint="Correct the value in `values` or `args`.",
            )
    return entry

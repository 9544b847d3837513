"""The user's own examples: `examples.jsonl`, one request and its tool a line, merged above the made-up ones.

    {"request": "close ticket 42, it was a duplicate", "tool": "close_ticket", "arguments": {"ticket_id": 42}}
    {"request": "who is on call?", "tool": "list_agents"}
    {"request": "print the ticket", "tool": "none", "server": "helpdesk"}

Owns the file's format and what an example teaches. Examples are never dropped as duplicates: the user meant them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mcp_dualtune.catalog.naming import near_names
from mcp_dualtune.catalog.schema import validate_arguments
from mcp_dualtune.errors import TrainingError
from mcp_dualtune.training.cases import wanted
from mcp_dualtune.training.records import Case, Entry, RequestTemplate, bucket
from mcp_dualtune.training.synthesis.filtering import unreadable
from mcp_dualtune.training.synthesis.synthesis import Part, Synthesis
from mcp_dualtune.types import JSON, NONE, ServerSpec, ToolSpec

FIELDS = ("request", "tool", "arguments", "server")
KEPT_FIELD = "source"
"""In the file that `gathering.corrections` keeps; it means nothing elsewhere."""
HINT = 'A line looks like {"request": "close ticket 42", "tool": "close_ticket", "arguments": {"ticket_id": 42}}.'
WORTH = 2
"""Examples that the made-up requests to a tool weigh as much as, however many they are: of the plain requests to it, k
examples are k / (k + WORTH). The same holds for requests that lack a value, and for those that no tool serves."""
JUDGED_FROM, JUDGED = 5, 3
"""From so many examples on, one in so many is never learnt from: it says which adapters are kept."""
REPORTED_FROM, REPORTED = 12, 6
"""The same for the numbers of the report."""


@dataclass(frozen=True)
class OwnExample:
    """One line: a request and what is right for it."""

    request: str
    server: str
    tool: str
    """A tool of `server`, or `none`."""
    arguments: Mapping[str, JSON] | None = None
    """None where only the tool is known."""


@dataclass(frozen=True)
class Split:
    """The examples of one server by what they are for."""

    learnt: tuple[OwnExample, ...] = ()
    judged: tuple[OwnExample, ...] = ()
    """They say which adapters are kept."""
    reported: tuple[OwnExample, ...] = ()


def read_examples(path: Path, servers: Sequence[ServerSpec]) -> list[OwnExample]:
    """Read and check examples; a line without `server` belongs to the one server that has the tool.

    Raises:
        TrainingError: the file cannot be read, or a line is wrong: which one, and what to do.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingError(f"Cannot read the examples {path}: {error}.", hint=HINT) from error
    found = []
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.lstrip().startswith("//"):
            try:
                found.append(parse_example(json.loads(line), servers))
            except ValueError as error:
                raise TrainingError(f"{path}, line {number}: this is not JSON ({error}).", hint=HINT) from error
            except TrainingError as error:
                raise TrainingError(f"{path}, line {number}: {error.message}", hint=error.hint or HINT) from error
    return found


def parse_example(row: JSON, servers: Sequence[ServerSpec]) -> OwnExample:
    """Check one example.

    Raises:
        TrainingError: it is no example of a tool of these servers.
    """
    if not isinstance(row, Mapping):
        raise TrainingError("an example is a JSON object.")
    unknown = [key for key in row if key not in (*FIELDS, KEPT_FIELD)]
    if unknown:
        raise TrainingError(f"`{unknown[0]}` is not a field.", hint=f"The fields are {', '.join(FIELDS)}.")
    request, name = row.get("request"), row.get("tool")
    if not isinstance(request, str) or not request.strip():
        raise TrainingError("`request` is missing: the words that somebody would type.")
    if not isinstance(name, str) or not name:
        raise TrainingError("`tool` is missing.", hint=f'Name a tool, or "{NONE}" where no tool fits.')
    server = _server(name, row.get("server"), servers)
    arguments = row.get("arguments")
    if name == NONE:
        return OwnExample(request.strip(), server.name, NONE)
    tool = next(one for one in server.tools if one.name == name)
    if arguments is not None:
        if not isinstance(arguments, Mapping):
            raise TrainingError("`arguments` is not a JSON object.")
        problems = validate_arguments({**tool.input_schema, "required": []}, arguments)
        if problems:
            raise TrainingError(
                f"the arguments do not fit `{name}`: {'; '.join(problems)}.",
                hint="Correct them, or leave `arguments` out.",
            )
    elif not tool.input_schema.get("properties"):
        arguments = {}
    return OwnExample(request.strip(), server.name, name, arguments)


def split_examples(examples: Sequence[OwnExample]) -> Split:
    """Deal out the examples of one server, as far as they are enough; tool by tool, so that each has a share."""
    known = {(e.request, e.tool): e for e in examples}
    dealt = sorted(known.values(), key=lambda e: (e.tool, bucket(e.request, 2**32), e.request))
    judged = dealt[1::JUDGED] if len(dealt) >= JUDGED_FROM else []
    reported = dealt[2::REPORTED] if len(dealt) >= REPORTED_FROM else []
    learnt = [e for e in known.values() if e not in judged and e not in reported]
    return Split(tuple(learnt), tuple(judged), tuple(reported))


def with_examples(synthesis: Synthesis, examples: Sequence[OwnExample]) -> Synthesis:
    """The synthesis with its user's examples added to what is learnt; those of other servers are left out."""
    known = {(e.request, e.tool): e for e in examples if e.server == synthesis.server.name}
    return replace(
        synthesis,
        training=_joined(synthesis.server, synthesis.training, list(known.values())),
        counts={**synthesis.counts, "own": len(known)},
    )


def example_case(example: OwnExample, server: ServerSpec, context: Mapping[str, str]) -> Case:
    """An example as a case to measure with."""
    if example.tool == NONE or example.arguments is None:
        return Case(example.request, server, example.tool, context=context)
    tool = next(one for one in server.tools if one.name == example.tool)
    absent = absent_from(example.arguments, tool, server.fixed_arguments)
    return Case(example.request, server, example.tool, example.arguments, absent, context=context)


def absent_from(arguments: Mapping[str, JSON], tool: ToolSpec, fixed: Mapping[str, JSON]) -> tuple[str, ...]:
    """The required parameters that an example leaves out. Nobody says what the config has `fixed`."""
    needed = tool.input_schema.get("required") or ()
    return tuple(name for name in needed if name not in arguments and name not in fixed)


def _joined(server: ServerSpec, part: Part, examples: Sequence[OwnExample]) -> Part:
    entries = {entry.tool: entry for entry in part.entries}
    tools = {tool.name: tool for tool in server.tools}
    for name in dict.fromkeys(e.tool for e in examples if e.tool != NONE):
        entry = entries.get(name) or Entry(server.name, name, ())
        mine = [e for e in examples if e.tool == name]
        entries[name] = _extended(entry, tools[name], mine, server.fixed_arguments)
    refused = tuple(e.request for e in examples if e.tool == NONE)
    return replace(part, entries=tuple(entries.values()), refused=part.refused + refused * repeated(len(part.refused)))


def repeated(made_up: int) -> int:
    """How often an example stands among so many made-up requests, where one is drawn like another."""
    return max(1, round(made_up / WORTH))


def _extended(entry: Entry, tool: ToolSpec, examples: Sequence[OwnExample], fixed: Mapping[str, JSON]) -> Entry:
    """An entry with examples as they are, and once more with their values exchanged for others.

    All examples weigh the same, those with two forms too, and whatever optional parameters they set.
    """
    values = entry.requests[0].values if entry.requests else {}
    required = set(tool.input_schema.get("required") or ())
    each = sum(wanted(template, required) for template in entry.requests) / WORTH or 1.0
    requests: list[RequestTemplate] = []
    missing, choices = [], []
    for example in examples:
        if example.arguments is None:
            choices.append(RequestTemplate(example.request, {}, {}, each))
            continue
        own = RequestTemplate(example.request, example.arguments, {})
        if absent := absent_from(example.arguments, tool, fixed):
            missing.append((own, absent))
            continue
        general = generalised(example, tool, values)
        forms = [own] if general is None else [own, general]
        requests += [replace(form, weight=each / len(forms) / wanted(form, required)) for form in forms]
    return replace(
        entry,
        requests=entry.requests + tuple(requests),
        missing=entry.missing + tuple(missing) * repeated(len(entry.missing)),
        choices=tuple(choices),
    )


def generalised(example: OwnExample, tool: ToolSpec, values: Mapping[str, Sequence[JSON]]) -> RequestTemplate | None:
    """The example with places for the values that it says once and letter by letter; None where there are none."""
    text, arguments = example.request, dict(example.arguments or {})
    hidden = {slot.path[0] for slot in unreadable(text, tool, arguments)}
    placed: dict[str, Sequence[JSON]] = {}
    for name, value in (example.arguments or {}).items():
        said = str(value)
        options = [one for one in values.get(name) or () if not isinstance(one, list) or one[0] == str(one[1])]
        if isinstance(value, bool) or not isinstance(value, str | int | float) or name in hidden or len(options) < 2:
            continue
        if len(said) > 1 and text.count(said) == 1 and "{" not in said:
            text = text.replace(said, "{" + name + "}")
            placed[name] = [value if isinstance(value, str) else [said, value], *options]
            del arguments[name]
    return RequestTemplate(text, arguments, placed) if placed else None


def _server(tool: str, name: JSON, servers: Sequence[ServerSpec]) -> ServerSpec:
    known = {server.name: server for server in servers}
    if name is not None:
        if name not in known:
            raise TrainingError(f"there is no server `{name}`.", hint=near_names(str(name), known))
        server = known[name]
        if tool != NONE and all(one.name != tool for one in server.tools):
            raise TrainingError(
                f"the server `{name}` has no tool `{tool}`.", hint=near_names(tool, {t.name: t for t in server.tools})
            )
        return server
    having = [server for server in servers if tool == NONE or any(one.name == tool for one in server.tools)]
    if not having:
        tools = {one.name: one for server in servers for one in server.tools}
        raise TrainingError(f"no server has a tool `{tool}`.", hint=near_names(tool, tools))
    if len(having) > 1:
        names = ", ".join(server.name for server in having)
        raise TrainingError(f"`{tool}` fits several servers ({names}).", hint='Add the field "server".')
    return having[0]

"""The third stage: the arguments of one tool.

Owns what the model may fill in, what the config has fixed, and whether the outcome is a call or a question. It never
repairs a value: arguments that fail the tool's schema become a question or an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Event
from time import perf_counter

from mcp_dualtune.catalog.schema import validate_arguments, value_faults
from mcp_dualtune.engine.base import GenerationRequest
from mcp_dualtune.errors import ConfigError, EngineError
from mcp_dualtune.pipeline.confidence import adapter_name, joint
from mcp_dualtune.pipeline.facts import facts_for
from mcp_dualtune.pipeline.provenance import belongs, trace_sources
from mcp_dualtune.pipeline.reading import Reader, Readings
from mcp_dualtune.pipeline.stages import Parts, shorten_history, too_long
from mcp_dualtune.pipeline.statements import actions_of, is_written, read_statement
from mcp_dualtune.types import JSON, AdapterRef, Provenance, Request, ServerSpec, StageRecord, ToolSpec, canonical

ANSWER_TOKENS = 512
"""Longest arguments: about 1,500 characters, enough for a file's text in a request; it ends a decode that loops."""
ANSWER_ROOM = 48
"""Tokens a prompt must leave free for an answer."""
INVENTED = 0.3
"""Probability of what is written beside what was read below which optional values of it that stand nowhere are left
out: nobody has said what a small model adds unsurely."""
UNSURE = 0.1
"""Default of the threshold `ask` where the reader has an adapter, whose probabilities are calibrated: on everyday
requests it makes questions of wrong calls only (`python -m benchmarks.confidence`)."""


@dataclass(frozen=True)
class Filled:
    """What the third stage came to: complete arguments, or the names that are missing."""

    record: StageRecord
    arguments: Mapping[str, JSON]
    missing: tuple[str, ...]
    question: str | None
    provenance: Mapping[str, Provenance]


@dataclass(frozen=True)
class Written:
    """What the model wrote; nothing where everything was decided before."""

    arguments: Mapping[str, JSON] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    probability: float = 1.0
    speaker: str = ""


def fill(
    parts: Parts,
    request: Request,
    server: ServerSpec,
    tool: ToolSpec,
    ask_below: float | None = None,
    reader: Reader | None = None,
) -> Filled:
    """Fill in the arguments of `tool`; `tool.input_schema` must be the one the server published.

    What the `reader` finds is taken as it is; the model of `parts` writes the rest.

    Raises:
        EngineError: the model's answer does not fit an optional parameter.
        ConfigError: a fixed argument does not fit the tool.
    """
    properties = tool.input_schema.get("properties") or {}
    fixed = {name: value for name, value in server.fixed_arguments.items() if name in properties}
    _check_fixed(tool, fixed)
    facts = facts_for(request.text, tool.input_schema, {**request.context, **server.context})
    if not properties.keys() - fixed.keys():
        record = StageRecord("arguments", canonical({}), 1.0, (), "-", 0.0)
        return Filled(record, fixed, (), None, trace_sources(fixed, tool.input_schema, request, facts, fixed))
    parts.check()
    started = perf_counter()
    names = [name for name in properties if name not in fixed]
    read = reader.read(request, tool, names, facts, parts.cancel) if reader else Readings()
    stated = _state(reader, request, tool, names, read, parts.cancel) if reader and read.adapter else None
    decided = {**fixed, **read.arguments, **dict.fromkeys(read.absent)}
    written = Written() if decided.keys() >= properties.keys() else _write(parts, request, tool, decided, facts)
    required = tool.input_schema.get("required") or ()
    if reader:
        # What repeats the value of another parameter is its copy; the rest has to stand somewhere or be likely.
        read_texts = {value for value in read.arguments.values() if isinstance(value, str)}
        kept = {
            name: value
            for name, value in written.arguments.items()
            if name in required or not (isinstance(value, str) and value in read_texts)
        }
        if written.probability < INVENTED:
            sources = trace_sources(kept, tool.input_schema, request, facts, {})
            kept = {n: value for n, value in kept.items() if n in required or not _from_model(sources, n)}
        written = replace(written, arguments=kept)
    values = {**read.arguments, **written.arguments}
    arguments = {**{name: values[name] for name in names if name in values}, **fixed}
    probability = read.probability * written.probability
    elapsed = (perf_counter() - started) * 1000
    speakers = [f"{adapter_name(read.adapter)} (reading)"] if read.adapter else []
    speakers += [f"{adapter_name(stated)} (statement)"] if stated else []
    speakers += [written.speaker] if written.speaker else []
    record = StageRecord("arguments", canonical(values), probability, (), " + ".join(speakers), elapsed)
    provenance = trace_sources(arguments, tool.input_schema, request, facts, fixed)
    missing = tuple(name for name in required if name in read.absent or name in written.missing)
    missing = missing or _unusable(tool, arguments)
    if ask_below is None:
        ask_below = UNSURE if read.adapter else 0.0
    if not missing and probability < ask_below:
        missing = _invented(tool, arguments, provenance)
    left = {name: value for name, value in arguments.items() if name not in missing}
    found = {path: source for path, source in provenance.items() if not any(belongs(path, name) for name in missing)}
    return Filled(record, left, missing, question(tool, missing) if missing else None, found)


def _state(
    reader: Reader, request: Request, tool: ToolSpec, names: Sequence[str], read: Readings, cancel: Event
) -> AdapterRef | None:
    """Put together the SQL of parameters that take some, where nobody has written it out; `read` gets it. Returns the
    adapter that spoke."""
    adapter = None
    for name in names:
        actions, said = actions_of(tool, name), read.arguments.get(name)
        wanted = name not in read.absent or name in (tool.input_schema.get("required") or ())
        if not actions or not wanted or (isinstance(said, str) and is_written(said)):
            continue
        statement = read_statement(reader, request, actions, cancel)
        read.arguments.pop(name, None)
        read.absent = [other for other in read.absent if other != name]
        if statement.query is None:
            read.absent.append(name)
        else:
            read.arguments[name] = statement.query
        read.chances[name] = statement.probability
        adapter = statement.adapter
    return adapter


def _write(
    parts: Parts, request: Request, tool: ToolSpec, decided: Mapping[str, JSON], facts: Mapping[str, str]
) -> Written:
    """Let the model write every parameter that is not `decided`."""
    adapter = parts.seat.adapters.best("arguments", tool.server, tool.name, tool.schema_fingerprint)
    prompt = parts.seat.renderer.arguments(request, tool, decided, facts)
    shown = request
    while len(prompt.tokens) + ANSWER_ROOM > parts.seat.engine.context_length:
        shorter = shorten_history(shown)
        if shorter is None:
            raise too_long(parts, f"The request and the schema of {tool.server}/{tool.name} do")
        shown = shorter
        prompt = parts.seat.renderer.arguments(shown, tool, decided, facts)
    limit = min(ANSWER_TOKENS, parts.seat.engine.context_length - len(prompt.tokens))
    asked = GenerationRequest(prompt.tokens, prompt.grammar, adapter, prompt.stable, limit, prompt.json_schema)
    completion = parts.seat.engine.generate(asked, parts.cancel)
    if completion.complete:
        parsed, probability = prompt.parse(completion.text), joint(completion.probabilities, adapter)
        return Written(parsed.arguments, parsed.missing, probability, adapter_name(adapter))
    # A model that loops has not understood the values: what is required is asked for, the rest left out.
    lost = tuple(name for name in tool.input_schema.get("required") or () if name not in decided)
    return Written({}, lost, 0.0, adapter_name(adapter))


def faults(tool: ToolSpec, arguments: Mapping[str, JSON]) -> tuple[str, ...]:
    """What is wrong with complete `arguments`, in plain words; empty when they may be sent."""
    return validate_arguments(tool.input_schema, arguments)


def question(tool: ToolSpec, missing: Sequence[str]) -> str:
    """Ask for the missing values in plain words."""
    properties = tool.input_schema.get("properties") or {}
    parts = []
    for name in missing:
        part = properties.get(name)
        about = _first_sentence(part.get("description")) if isinstance(part, Mapping) else ""
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[_\-.]+", " ", name).strip().lower()
        words = "table, columns and values" if actions_of(tool, name) else words
        parts.append((words, f"`{name}`" + (f" ({about})" if about else "")))
    if len(parts) == 1:
        return f"Which {parts[0][0]} should I use for {parts[0][1]}?"
    return "I need some more values: " + "; ".join(text for _, text in parts) + ". Which should I use?"


def _first_sentence(text: JSON) -> str:
    if not isinstance(text, str) or not text.strip():
        return ""
    sentence = re.split(r"(?<=[.!?])\s|\n", text.strip(), maxsplit=1)[0].rstrip(".!? ")
    sentence = sentence if len(sentence) <= 120 else sentence[:119] + "…"
    # A sentence in brackets starts small, unless it starts with an abbreviation or a name in capitals.
    return sentence[:1].lower() + sentence[1:] if sentence[1:2].islower() or sentence[1:2] == " " else sentence


def _check_fixed(tool: ToolSpec, fixed: Mapping[str, JSON]) -> None:
    wrong = [name for name, value in fixed.items() if value_faults(tool.input_schema, name, value)]
    if wrong:
        problem = value_faults(tool.input_schema, wrong[0], fixed[wrong[0]])[0]
        raise ConfigError(
            f"The fixed argument {wrong[0]!r} does not fit the tool {tool.server}/{tool.name}: {problem}",
            hint=f"Correct dualtune.servers.{tool.server}.arguments.{wrong[0]} in the config.",
        )


def _unusable(tool: ToolSpec, arguments: Mapping[str, JSON]) -> tuple[str, ...]:
    """Required parameters whose values are absent or wrong.

    Raises:
        EngineError: the arguments are wrong, but no required value is at fault.
    """
    problems = faults(tool, arguments)
    if not problems:
        return ()
    required = tuple(tool.input_schema.get("required") or ())
    at_fault = tuple(
        name for name in required if name not in arguments or value_faults(tool.input_schema, name, arguments[name])
    )
    if at_fault:
        return at_fault
    raise EngineError(
        f"The arguments found for {tool.server}/{tool.name} do not fit its schema: {problems[0]}",
        hint="Say the value more exactly, or call the tool directly with its arguments.",
    )


def _invented(tool: ToolSpec, arguments: Mapping[str, JSON], provenance: Mapping[str, Provenance]) -> tuple[str, ...]:
    """Required values to ask for when the answer as a whole is unsure: the ungrounded ones, else all of them."""
    required = [name for name in tool.input_schema.get("required") or () if name in arguments]
    fixed = {name for name in required if any(s.source == "fixed" for p, s in provenance.items() if belongs(p, name))}
    open_ones = [name for name in required if name not in fixed]
    return tuple(name for name in open_ones if _from_model(provenance, name)) or tuple(open_ones)


def _from_model(provenance: Mapping[str, Provenance], name: str) -> bool:
    """Whether some part of an argument stands nowhere but in the model's answer."""
    return any(found.source == "model" for path, found in provenance.items() if belongs(path, name))

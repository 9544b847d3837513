"""What a tool's results may look like, for requests that go on after one.

Owns made-up result texts. They follow the output schema where the server gives one, and common habits else.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping

from mcp_dualtune.training.synthesis import inflection
from mcp_dualtune.training.synthesis.parameters import parameter
from mcp_dualtune.training.synthesis.pools import draw
from mcp_dualtune.training.synthesis.subject import Subject
from mcp_dualtune.training.synthesis.technical import identifier
from mcp_dualtune.types import JSON

PAST = {
    "create": "created",
    "delete": "deleted",
    "update": "updated",
    "send": "sent",
    "stop": "stopped",
    "run": "started",
    "pay": "paid",
    "approve": "approved",
    "reject": "rejected",
    "share": "shared",
    "publish": "published",
    "write": "saved",
    "upload": "uploaded",
}


def outcomes(subject: Subject, rng: random.Random, count: int) -> tuple[str, ...]:
    """Several result texts of a tool; `{parameter}` stands for what the call gave."""
    return tuple(dict.fromkeys(_outcome(subject, rng) for _ in range(count)))


def record(subject: Subject, rng: random.Random, key: str, value: str) -> str:
    """A result that holds one object of the tool's kind, with `value` under `key`."""
    name = str(
        rng.choice(subject.values[title]) if (title := _title(subject)) else identifier(rng, subject.meaning.noun)
    )
    return json.dumps(
        {key: value, "name": name} if key != "name" else {"name": value, "status": "ok"}, ensure_ascii=False
    )


def _outcome(subject: Subject, rng: random.Random) -> str:
    meaning = subject.meaning
    schema = subject.tool.output_schema
    if isinstance(schema, Mapping) and schema.get("properties") and rng.random() < 0.6:
        made = draw(parameter("result", schema, True), meaning.noun, rng)
        if made is not None:
            return json.dumps(made[1], ensure_ascii=False)
    new = identifier(rng, meaning.noun)
    first = next((one.name for one in subject.required if one.kind in ("string", "enum", "integer")), "")
    if meaning.family.kin == "read":
        if meaning.family.determiner == "many":
            found: list[JSON] = [
                {"id": identifier(rng, meaning.noun), "name": _name(subject, rng)} for _ in range(rng.randint(1, 3))
            ]
            return rng.choice(
                (
                    json.dumps(found, ensure_ascii=False),
                    f"Found {len(found)} {inflection.plural(meaning.noun)}:\n"
                    + "\n".join(f"- {row['name']} ({row['id']})" for row in found),
                    f"No {inflection.plural(meaning.noun)} found.",
                )
            )
        return rng.choice(
            (
                json.dumps({"id": new, "name": _name(subject, rng)}, ensure_ascii=False),
                f"{meaning.noun}: {_name(subject, rng)}",
                f"{meaning.noun.capitalize()} {new}: {_name(subject, rng)}",
            )
        )
    done = PAST.get(meaning.family.kin, "done")
    told = f" {{{first}}}" if first and rng.random() < 0.5 else f" {new}"
    return rng.choice(
        (
            f"{meaning.noun.capitalize()}{told} {done}.",
            json.dumps({"id": new, "status": done}),
            f"Successfully {done}{told}",
            json.dumps({"success": True, "id": new}),
            f"OK: {done}{told}",
        )
    )


def _title(subject: Subject) -> str:
    return next(
        (one.name for one in subject.parameters if one.role.name == "title" and subject.values.get(one.name)), ""
    )


def _name(subject: Subject, rng: random.Random) -> str:
    from_title = subject.values.get(_title(subject))
    if from_title:
        value = rng.choice(list(from_title))
        return str(value[1] if isinstance(value, list) else value)
    return f"{subject.meaning.noun} {rng.randint(1, 99)}"

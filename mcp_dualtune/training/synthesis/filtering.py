"""Which made-up requests are kept: those that contain what they claim, can be read, and are not there already.

Owns the checks and the counts of what they drop. It changes no request.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from jsonschema import Draft202012Validator

from mcp_dualtune.prompting.reading import borders, quoted, typed
from mcp_dualtune.prompting.slots import Slot, slots_of, values_of
from mcp_dualtune.training.records import RequestTemplate, said
from mcp_dualtune.types import JSON, ToolSpec

PLACE = re.compile(r"\{([^{}\s\"':]+)\}")
FILLERS = {
    "please", "pls", "just", "the", "a", "an", "now", "my", "our", "all", "some", "thanks", "hey", "hi", "ok", "kindly",
    "can", "could", "you", "i", "to", "me", "new", "another", "with", "of", "for", "and", "one",
}  # fmt: skip
"""Words without which two requests are the same request."""
LONGEST = 560
"""Characters; longer requests do not fit the pages that are learnt from."""


@dataclass
class Sieve:
    """Keeps what is good and new, and counts the rest by reason."""

    decided: frozenset[str] = frozenset()
    """Parameters that the user's config gives to every call: no request gives them."""
    counts: Counter[str] = field(default_factory=Counter)
    _seen: set[str] = field(default_factory=set)
    _validators: dict[str, Draft202012Validator] = field(default_factory=dict)

    def keeps(
        self, template: RequestTemplate, tool: ToolSpec, rng: random.Random, missing: tuple[str, ...] = ()
    ) -> bool:
        """Whether a request is kept; `missing` are the required parameters that it leaves out."""
        self.counts["made"] += 1
        reason = self._wrong(template, tool, rng, missing)
        if reason:
            self.counts[reason] += 1
            return False
        return self.keeps_text(template.text, tool.name)

    def keeps_text(self, text: str, kind: str) -> bool:
        """Whether a text is new among those of one kind; word order, politeness and marks do not make it new."""
        exact = f"{kind}\n{text.lower().strip(' .!?')}"
        words = re.findall(r"\{[^{}]*\}|[^\W_]+", text.lower())
        near = f"{kind}\n{' '.join(sorted(word for word in words if word not in FILLERS))}"
        if exact in self._seen:
            self.counts["duplicate"] += 1
        elif near in self._seen and near.partition("\n")[2]:
            self.counts["near duplicate"] += 1
        else:
            self._seen |= {exact, near}
            self.counts["kept"] += 1
            return True
        return False

    def _wrong(self, template: RequestTemplate, tool: ToolSpec, rng: random.Random, missing: tuple[str, ...]) -> str:
        """Why a request cannot be used; empty where it can."""
        places = template.places
        if any(name not in places for name in PLACE.findall(template.text)):
            return "place without a value"
        if any(template.text.count("{" + name + "}") != 1 for name in places):
            return "value said twice"
        if len(template.text) > LONGEST:
            return "too long"
        if re.search(r"(?:^|\s)[,;:!?](?=\s|$)|\.\.|\?\?|\bNone\b", template.text):
            return "badly set"
        drawn = {name: said(rng.choice(list(template.values[name]))) for name in places}
        arguments = {**template.arguments, **{name: value for name, (_, value) in drawn.items()}}
        if set(missing) & set(arguments):
            return "says what it should leave out"
        if not self._valid(tool, {**arguments}, missing):
            return "invalid"
        text = template.text
        for name, (shown, _) in drawn.items():
            text = text.replace("{" + name + "}", shown)
        if len(text) > LONGEST:
            return "too long"
        literal = {name for name, (shown, value) in drawn.items() if says(shown, value)}
        if any(slot.path[0] in literal for slot in unreadable(text, tool, arguments)):
            return "value not on the page"
        return ""

    def _valid(self, tool: ToolSpec, arguments: Mapping[str, JSON], missing: tuple[str, ...]) -> bool:
        key = f"{tool.name} {' '.join(missing)}"
        if key not in self._validators:
            needed = [
                name
                for name in tool.input_schema.get("required") or ()
                if name not in missing and name not in self.decided
            ]
            self._validators[key] = Draft202012Validator({**tool.input_schema, "required": needed})
        return self._validators[key].is_valid(arguments)


def says(shown: str, value: JSON) -> bool:
    """Whether a text says a value letter by letter (a number in any form)."""
    if isinstance(value, list):
        return all(says(shown, item) for item in value)
    if isinstance(value, Mapping):
        return all(says(shown, item) for item in value.values())
    return value in shown if isinstance(value, str) else True


def unreadable(text: str, tool: ToolSpec, arguments: Mapping[str, JSON]) -> Iterator[Slot]:
    """The slots of a call whose values do not stand in the request where a reader would find them."""
    for name in arguments:
        for slot in slots_of(tool.input_schema, name):
            if "enum" in slot.schema or slot.schema.get("type") == "boolean":
                continue
            if not all(_stands(value, text, slot) for value in values_of(slot, arguments)):
                yield slot


def _stands(value: JSON, text: str, slot: Slot) -> bool:
    if isinstance(value, str):
        starts, ends = borders(text, numbers=False)
        at = text.find(value)
        while value and at >= 0:
            end = at + len(value)
            if at in starts and end in ends and all((at == s) == (end == e) for s, e in quoted(text)):
                return True
            at = text.find(value, at + 1)
        return False
    starts, ends = borders(text, numbers=True)
    return any(
        typed(text[start:end], slot.schema) == value for start in starts for end in ends if start < end <= start + 40
    )

"""What a remote engine needs of a model server, whichever it is.

Owns the questions and the test whether a server can be trusted with them. The wire formats are `vllm` and
`llama_server`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any, Protocol

from mcp_dualtune.engine.base import Tokens
from mcp_dualtune.engine.choice import Written
from mcp_dualtune.engine.wire import Wire
from mcp_dualtune.errors import EngineError
from mcp_dualtune.types import AdapterRef

PROBE_TEXT = 'Which tool fits? {"name": "read_file", "path": "Äpfel/naïve.md"}'
"""Cut into tokens by the server and by us: equal cuts mean the same vocabulary."""
PROBE_VALUE = "quartz-7431"
PROBE_SCHEMA = {
    "type": "object", "properties": {"check": {"const": PROBE_VALUE}}, "required": ["check"],
    "additionalProperties": False,
}  # fmt: skip
"""No model answers this by itself, so an answer that fits proves that the server constrains."""
PROBE_TOKENS = 48


@dataclass(frozen=True)
class Abilities:
    """What the probing found."""

    context_length: int
    scores: bool
    """Whether the log-probabilities of given tokens can be had; else options are chosen under a constraint."""


@dataclass(frozen=True)
class Text:
    """What the server wrote."""

    text: str
    complete: bool
    """False when the limit ended it."""
    log_probabilities: tuple[float, ...]
    """Of every token, as the model would have it without the constraint."""


class ModelServer(Protocol):
    """One kind of model server. A speaker is what `speaker` gave, and belongs into the other questions as it is."""

    wire: Wire

    def probe(self, tokenizer: Any, cancel: Event | None) -> Abilities:
        """Find out what the server can do, with real questions: servers ignore what they do not know.

        Raises:
            EngineError: it cannot be reached, or cannot do what is needed.
        """
        ...

    def speaker(self, adapter: AdapterRef | None, cancel: Event | None) -> Any:
        """Make sure that the server has the adapter; None is the base model.

        Raises:
            AdapterError: it has not, and cannot be made to load it.
        """
        ...

    def score(
        self, prompt: Tokens, options: Sequence[Tokens], speaker: Any, cancel: Event | None
    ) -> tuple[list[float], int]:
        """Log-probability of each option after the prompt, and how many prompt tokens came from a cache."""
        ...

    def choose(
        self, prompt: Tokens, options: Sequence[str], speaker: Any, cancel: Event | None
    ) -> tuple[list[Written], int]:
        """Let the model write one of the options; and how many prompt tokens came from a cache."""
        ...

    def write(self, prompt: Tokens, schema: Any, limit: int, speaker: Any, cancel: Event | None) -> tuple[Text, int]:
        """Let the model write JSON of a schema; and how many prompt tokens came from a cache."""
        ...


def check_vocabulary(wire: Wire, tokenizer: Any, theirs: Any) -> None:
    """Compare how the server cuts PROBE_TEXT with how we do.

    Raises:
        EngineError: the cuts differ, so that every prompt of ours would be nonsense to the server.
    """
    ours = tokenizer.encode(PROBE_TEXT, add_special_tokens=False)
    if not isinstance(theirs, list) or theirs != list(ours):
        raise EngineError(
            f"The model server at {wire.url} has another vocabulary than the tokenizer that the config names.",
            hint="Point dualtune.model.remote.tokenizer at the tokenizer of the very model that the server runs.",
        )


def fits_probe(text: str) -> bool:
    """Whether an answer to the probe kept to its schema."""
    try:
        return bool(json.loads(text) == {"check": PROBE_VALUE})
    except ValueError:
        return False


def unconstrained(wire: Wire) -> EngineError:
    """The error for a server that writes what it likes."""
    return EngineError(
        f"The model server at {wire.url} does not keep to a JSON schema that it is given.",
        hint="Use vLLM or the llama.cpp server in a current version; without constraints no call can be trusted.",
    )


def field(wire: Wire, value: Any, *path: str | int) -> Any:
    """One part of an answer.

    Raises:
        EngineError: the answer has no such part.
    """
    for step in path:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError) as error:
            raise wire.strange(f"without {'.'.join(map(str, path))}") from error
    return value

"""vLLM's OpenAI-compatible server: prompts as token ids, options scored exactly, adapters as model names.

Owns that wire format. An adapter is loaded while the server runs (`/v1/load_lora_adapter`, which the server must allow)
under a name that says its content, because vLLM takes equal names for equal weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from threading import Event
from typing import Any

from mcp_dualtune.engine.base import Tokens
from mcp_dualtune.engine.choice import Written
from mcp_dualtune.engine.model_server import (
    PROBE_SCHEMA,
    PROBE_TEXT,
    PROBE_TOKENS,
    Abilities,
    Text,
    check_vocabulary,
    field,
    fits_probe,
    unconstrained,
)
from mcp_dualtune.engine.wire import NotOffered, Wire
from mcp_dualtune.errors import AdapterError, EngineError
from mcp_dualtune.types import AdapterRef

PLAIN = {"temperature": 0, "top_p": 1, "repetition_penalty": 1, "presence_penalty": 0, "frequency_penalty": 0}
"""Said every time: a model's own generation config would change the defaults."""
BATCH_TOKENS = 65_536
"""Prompt tokens of one scoring request: what a cancelled request may still cost."""
LIKELIEST = 20
"""Tokens named at each place of a choice: what vLLM allows unless told otherwise."""


class Vllm:
    """One vLLM server and the base model it serves."""

    def __init__(self, wire: Wire, model: str) -> None:
        self.wire, self.model = wire, model
        self._constraint = "structured_outputs"
        self._loaded: set[str] = set()

    def probe(self, tokenizer: Any, cancel: Event | None) -> Abilities:
        """See `ModelServer.probe`."""
        models = field(self.wire, self.wire.get("/models", cancel), "data")
        found = next((entry for entry in models if field(self.wire, entry, "id") == self.model), None)
        if found is None:
            names = ", ".join(str(entry["id"]) for entry in models[:10]) or "none"
            hint = f"Correct dualtune.model.remote.model; it serves: {names}."
            raise EngineError(f"The model server at {self.wire.url} does not serve {self.model!r}.", hint=hint)
        asked = {"model": self.model, "prompt": PROBE_TEXT, "add_special_tokens": False}
        cut = self.wire.post("/tokenize", asked, cancel, root=True)
        check_vocabulary(self.wire, tokenizer, field(self.wire, cut, "tokens"))
        length = found.get("max_model_len") or cut.get("max_model_len")
        if not isinstance(length, int):
            raise self.wire.strange("no max_model_len in /models")
        prompt = tuple(tokenizer.encode(PROBE_TEXT, add_special_tokens=False))
        # The older spelling is only tried where the newer one has no effect: unknown keys are ignored, not refused.
        for self._constraint in ("structured_outputs", "guided"):
            try:
                said, _ = self.write(prompt, PROBE_SCHEMA, PROBE_TOKENS, self.model, cancel)
            except NotOffered:
                continue
            if fits_probe(said.text):
                return Abilities(length, self._scores(prompt, cancel))
        raise unconstrained(self.wire)

    def speaker(self, adapter: AdapterRef | None, cancel: Event | None) -> str:
        """See `ModelServer.speaker`."""
        if adapter is None or adapter.served_name in self._loaded:
            return self.model if adapter is None else adapter.served_name
        name = adapter.served_name
        served = field(self.wire, self.wire.get("/models", cancel), "data")
        if not any(field(self.wire, entry, "id") == name for entry in served):
            try:
                # Said twice it does no harm: the name stands for exactly these weights.
                asked = {"lora_name": name, "lora_path": str(adapter.path)}
                self.wire.post("/load_lora_adapter", asked, cancel, text=True)
            except NotOffered as error:
                raise AdapterError(
                    f"The model server does not have the adapter {adapter.name}. {error.message}",
                    hint=f"Start it with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True and --enable-lora, where it can read "
                    f"{adapter.path}; or with --lora-modules {name}={adapter.path}.",
                ) from error
        self._loaded.add(name)
        return name

    def score(
        self, prompt: Tokens, options: Sequence[Tokens], speaker: str, cancel: Event | None
    ) -> tuple[list[float], int]:
        """See `ModelServer.score`: the sum over an option's tokens of the model's own log-probabilities."""
        scores: list[float] = []
        cached = 0
        size = max(1, BATCH_TOKENS // (len(prompt) + max(map(len, options))))
        for start in range(0, len(options), size):
            group = options[start : start + size]
            body = {"model": speaker, "prompt": [[*prompt, *option] for option in group], "max_tokens": 1, **PLAIN}
            answer = self.wire.post("/completions", {**body, "prompt_logprobs": 0}, cancel)
            choices = {field(self.wire, one, "index"): one for one in field(self.wire, answer, "choices")}
            for place, option in enumerate(group):
                found = field(self.wire, choices, place, "prompt_logprobs")
                scores.append(self._sum(found, len(prompt), option))
            cached += _cached(answer)
        return scores, cached

    def choose(
        self, prompt: Tokens, options: Sequence[str], speaker: str, cancel: Event | None
    ) -> tuple[list[Written], int]:
        """See `ModelServer.choose`."""
        limit = max(len(option) for option in options) + 8
        answer = self._complete(prompt, ("choice", list(options)), limit, speaker, LIKELIEST, cancel)
        said = field(self.wire, answer, "choices", 0, "logprobs")
        tokens, own = field(self.wire, said, "tokens"), field(self.wire, said, "token_logprobs")
        others = field(self.wire, said, "top_logprobs")
        if not len(tokens) == len(own) == len(others):
            raise self.wire.strange("log-probabilities of different lengths")
        written = [
            Written(token.encode(), float(value), tuple((text.encode(), float(v)) for text, v in (top or {}).items()))
            for token, value, top in zip(tokens, own, others, strict=True)
        ]
        return written, _cached(answer)

    def write(self, prompt: Tokens, schema: Any, limit: int, speaker: str, cancel: Event | None) -> tuple[Text, int]:
        """See `ModelServer.write`."""
        answer = self._complete(prompt, ("json", schema), limit, speaker, 0, cancel)
        choice = field(self.wire, answer, "choices", 0)
        values = field(self.wire, choice, "logprobs", "token_logprobs")
        complete = field(self.wire, choice, "finish_reason") != "length"
        return Text(str(field(self.wire, choice, "text")), complete, tuple(map(float, values))), _cached(answer)

    def _complete(
        self,
        prompt: Tokens,
        constraint: tuple[str, Any],
        limit: int,
        speaker: str,
        likeliest: int,
        cancel: Event | None,
    ) -> Any:
        kind, value = constraint
        bound = (
            {"structured_outputs": {kind: value}}
            if self._constraint == "structured_outputs"
            else {f"guided_{kind}": value}
        )
        body = {"model": speaker, "prompt": list(prompt), "max_tokens": limit, "logprobs": likeliest, **PLAIN, **bound}
        return self.wire.post("/completions", body, cancel)

    def _scores(self, prompt: Tokens, cancel: Event | None) -> bool:
        try:
            self.score(prompt[:-1], [prompt[-1:]], self.model, cancel)
        except EngineError as error:
            if error.retryable:
                raise
            return False
        return True

    def _sum(self, found: Any, start: int, option: Tokens) -> float:
        """Log-probability of the option's tokens, which stand from `start` on."""
        values = [field(self.wire, found, start + at, str(token), "logprob") for at, token in enumerate(option)]
        total = math.fsum(float(value) for value in values)
        if not math.isfinite(total):
            raise self.wire.strange("log-probabilities that are no numbers")
        return total


def _cached(answer: Any) -> int:
    details = (answer.get("usage") or {}).get("prompt_tokens_details") if isinstance(answer, dict) else None
    return int((details or {}).get("cached_tokens") or 0)

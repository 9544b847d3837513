"""The llama.cpp server: prompts as token ids, options chosen under a grammar, adapters by their place in its list.

Owns that wire format. The server cannot load adapters while it runs; those it was started with are known by their file
names. It takes the keys and values of one adapter for those of another, because its cache of prompts is looked up by
tokens alone (with the cache on, tests/engine/test_llama_server.py sees log-probabilities that are off by 1.7). So with
adapters on the server nothing is taken from its cache.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import PurePath
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

LIKELIEST = 128
"""Tokens named at each place of a choice."""
Loras = list[dict[str, float]]


class LlamaServer:
    """One llama.cpp server."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self._adapters: dict[str, int] = {}

    def probe(self, tokenizer: Any, cancel: Event | None) -> Abilities:
        """See `ModelServer.probe`."""
        settings = field(self.wire, self.wire.get("/props", cancel, root=True), "default_generation_settings")
        length = field(self.wire, settings, "n_ctx")
        cut = self.wire.post("/tokenize", {"content": PROBE_TEXT, "add_special": False}, cancel, root=True)
        check_vocabulary(self.wire, tokenizer, field(self.wire, cut, "tokens"))
        self._list_adapters(cancel)
        prompt = tuple(tokenizer.encode(PROBE_TEXT, add_special_tokens=False))
        try:
            said, _ = self.write(prompt, PROBE_SCHEMA, PROBE_TOKENS, self.speaker(None, cancel), cancel)
        except NotOffered as error:
            raise unconstrained(self.wire) from error
        if not fits_probe(said.text):
            raise unconstrained(self.wire)
        return Abilities(int(length), scores=False)

    def speaker(self, adapter: AdapterRef | None, cancel: Event | None) -> Loras:
        """See `ModelServer.speaker`: the scale of every adapter, for those left out would keep the server's own."""
        if adapter is not None and adapter.served_name not in self._adapters:
            self._list_adapters(cancel)
            if adapter.served_name not in self._adapters:
                file = f"{adapter.served_name}.gguf"
                raise AdapterError(
                    f"The model server at {self.wire.url} was not started with the adapter {adapter.name}.",
                    hint=f"Convert {adapter.path} with llama.cpp's convert_lora_to_gguf.py into {file}, and start the "
                    f"server with --lora {file}.",
                )
        chosen = None if adapter is None else self._adapters[adapter.served_name]
        return [{"id": place, "scale": 1.0 if place == chosen else 0.0} for place in self._adapters.values()]

    def score(
        self, prompt: Tokens, options: Sequence[Tokens], speaker: Loras, cancel: Event | None
    ) -> tuple[list[float], int]:
        """Not here.

        Raises:
            EngineError: always.
        """
        raise EngineError("The llama.cpp server does not score given tokens.", hint="Let it choose instead.")

    def choose(
        self, prompt: Tokens, options: Sequence[str], speaker: Loras, cancel: Event | None
    ) -> tuple[list[Written], int]:
        """See `ModelServer.choose`."""
        grammar = "root ::= " + " | ".join(json.dumps(option, ensure_ascii=False) for option in options)
        limit = max(len(option.encode()) for option in options) + 8
        answer = self._complete(prompt, {"grammar": grammar}, limit, speaker, LIKELIEST, cancel)
        return [self._written(one) for one in self._probabilities(answer)], _cached(answer)

    def write(self, prompt: Tokens, schema: Any, limit: int, speaker: Loras, cancel: Event | None) -> tuple[Text, int]:
        """See `ModelServer.write`."""
        answer = self._complete(prompt, {"json_schema": schema}, limit, speaker, 1, cancel)
        values = tuple(float(field(self.wire, one, "logprob")) for one in self._probabilities(answer))
        complete = field(self.wire, answer, "stop_type") != "limit"
        return Text(str(field(self.wire, answer, "content")), complete, values), _cached(answer)

    def _complete(
        self, prompt: Tokens, bound: dict[str, Any], limit: int, speaker: Loras, likeliest: int, cancel: Event | None
    ) -> Any:
        body = {
            "prompt": list(prompt), "n_predict": limit, "temperature": 0, "samplers": ["temperature"],
            "repeat_penalty": 1, "n_probs": likeliest, "post_sampling_probs": False, "cache_prompt": not speaker,
            "lora": speaker, **bound,
        }  # fmt: skip
        return self.wire.post("/completion", body, cancel, root=True)

    def _probabilities(self, answer: Any) -> list[Any]:
        found = field(self.wire, answer, "completion_probabilities")
        if not isinstance(found, list):
            raise self.wire.strange("without a list of probabilities")
        return found

    def _written(self, token: Any) -> Written:
        others = tuple(self._token(other) for other in field(self.wire, token, "top_logprobs"))
        text, value = self._token(token)
        return Written(text, value, others)

    def _token(self, token: Any) -> tuple[bytes, float]:
        return bytes(field(self.wire, token, "bytes") or ()), float(field(self.wire, token, "logprob"))

    def _list_adapters(self, cancel: Event | None) -> None:
        found = self.wire.get("/lora-adapters", cancel, root=True)
        places = [(field(self.wire, one, "path"), field(self.wire, one, "id")) for one in found]
        self._adapters = {PurePath(path.replace("\\", "/")).stem: int(place) for path, place in places}


def _cached(answer: Any) -> int:
    return int(answer.get("tokens_cached") or 0) if isinstance(answer, dict) else 0

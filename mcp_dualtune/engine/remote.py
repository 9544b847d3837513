"""An engine whose model runs on a server that the user named: vLLM or llama.cpp, over HTTP.

Owns how ranking and generating become questions to such a server. The prompts are token ids, made here by the same
renderer as for a local model; the tokenizer is local, and compared with the server's. What the probabilities mean:

- *ranking, scored* (vLLM): the model's own probability of every whole option, shared among the options: what a local
  engine computes, so the temperatures of adapters hold.
- *ranking, chosen* (llama.cpp): see `choice`.
- *generation*: the model's own probability of every token, before the constraint. Tokens that the schema forces count
  too, so the product is a lower bound of what a local engine says.
"""

from __future__ import annotations

import logging
import math
from threading import Event
from time import perf_counter
from typing import Any, Literal

from mcp_dualtune.engine.base import Completion, GenerationRequest, Ranking, RankRequest
from mcp_dualtune.engine.choice import option_chances
from mcp_dualtune.engine.llama_server import LlamaServer
from mcp_dualtune.engine.model_server import Abilities, ModelServer, field
from mcp_dualtune.engine.vllm import Vllm
from mcp_dualtune.engine.wire import Wire
from mcp_dualtune.errors import AdapterError, EngineError, PromptTooLong
from mcp_dualtune.types import AdapterRef

logger = logging.getLogger(__name__)


Kind = Literal["auto", "vllm", "llama.cpp"]


def connect(wire: Wire, kind: Kind, model: str, cancel: Event | None) -> ModelServer:
    """The server behind `wire`; `auto` asks it who it is.

    Raises:
        EngineError: it is none that we know, or cannot be asked.
    """
    if kind == "auto":
        served = field(wire, wire.get("/models", cancel), "data")
        owners = {str(entry.get("owned_by")) for entry in served if isinstance(entry, dict)}
        if "llamacpp" in owners:
            kind = "llama.cpp"
        elif "vllm" in owners:
            kind = "vllm"
        else:
            raise EngineError(
                f"The server at {wire.url} is neither vLLM nor llama.cpp (its models belong to {sorted(owners)}).",
                hint='Use one of these; or, if it speaks like one, set dualtune.model.remote.server to "vllm".',
            )
    return LlamaServer(wire) if kind == "llama.cpp" else Vllm(wire, model)


class RemoteEngine:
    """A model behind a server as an `Engine`. Not thread-safe."""

    def __init__(self, wire: Wire, kind: Kind, model: str, tokenizer: Any, digest: str) -> None:
        """Nothing is asked until `check`, or the first question."""
        self.tokenizer, self.digest = tokenizer, digest
        self._wire, self._kind, self._model = wire, kind, model
        self._found: tuple[ModelServer, Abilities] | None = None

    def check(self) -> None:
        """Find out now what the server can do; one that is not there yet is asked again by the first request.

        Raises:
            EngineError: it is there, and cannot do what is needed.
        """
        try:
            self._ask(None)
        except EngineError as error:
            if not error.retryable:
                raise
            logger.warning("%s Requests will try again. %s", error.message, error.hint)

    @property
    def context_length(self) -> int:
        """Longest prompt plus answer, in tokens, as the server says.

        Raises:
            EngineError: it does not say.
        """
        return self._ask(None)[1].context_length

    def rank(self, request: RankRequest, cancel: Event | None = None) -> Ranking:
        """Score all options; see `Engine.rank`, and the module for what the numbers mean.

        Raises:
            PromptTooLong, AdapterError, Cancelled: as `Engine.rank`.
            EngineError: the server did not do its part.
        """
        started = perf_counter()
        server, able = self._ask(cancel)
        # Scoring servers write one token more, which nobody reads.
        self._check_room(able, len(request.prompt), max(map(len, request.options)) + 1)
        speaker = server.speaker(_alone(request.adapter), cancel)
        if able.scores:
            scores, cached = server.score(request.prompt, request.options, speaker, cancel)
        else:
            texts = [self._text(option) for option in request.options]
            answer, cached = server.choose(request.prompt, texts, speaker, cancel)
            try:
                scores = option_chances(texts, answer)
            except ValueError as error:
                raise self._wire.strange(f"none of the options, but {str(error)[:80]!r}") from error
        top = max(scores)
        whole = top + math.log(math.fsum(math.exp(score - top) for score in scores))
        return Ranking(tuple(score - whole for score in scores), cached, (perf_counter() - started) * 1000)

    def generate(self, request: GenerationRequest, cancel: Event | None = None) -> Completion:
        """Let the server write JSON of the request's schema; see `Engine.generate`.

        Raises:
            PromptTooLong, AdapterError, Cancelled: as `Engine.generate`.
            EngineError: the answer cannot be said as a JSON schema, or the server did not do its part.
        """
        started = perf_counter()
        if request.json_schema is None:
            raise EngineError(
                "This model's answers cannot be constrained on a model server.",
                hint="Serve a chat model with its own chat template; the embedded model runs here.",
            )
        server, able = self._ask(cancel)
        self._check_room(able, len(request.prompt), 1)
        limit = min(request.max_tokens, able.context_length - len(request.prompt))
        speaker = server.speaker(_alone(request.adapter), cancel)
        said, cached = server.write(request.prompt, request.json_schema, limit, speaker, cancel)
        tokens = tuple(self.tokenizer.encode(said.text, add_special_tokens=False))
        chances = tuple(math.exp(min(value, 0.0)) for value in said.log_probabilities)
        return Completion(tokens, said.text, chances, said.complete, cached, 1, (perf_counter() - started) * 1000)

    def close(self) -> None:
        """Close the connections."""
        self._wire.close()

    def _ask(self, cancel: Event | None) -> tuple[ModelServer, Abilities]:
        """The server and what it can do: found out once, when it is there."""
        if self._found is None:
            server = connect(self._wire, self._kind, self._model, cancel)
            self._found = server, server.probe(self.tokenizer, cancel)
        return self._found

    def _check_room(self, able: Abilities, prompt: int, answer: int) -> None:
        if prompt + answer > able.context_length:
            raise PromptTooLong(
                f"The prompt has {prompt} tokens and the answer needs {answer}; the server's model reads "
                f"{able.context_length}.",
                hint="Offer fewer tools, shorten the request, or start the server with a longer context.",
            )

    def _text(self, option: tuple[int, ...]) -> str:
        """An option as text, without the token that ends an answer."""
        body = option[:-1] if option[-1] == self.tokenizer.eos_token_id else option
        return str(self.tokenizer.decode(body, skip_special_tokens=False, clean_up_tokenization_spaces=False))


def _alone(adapter: AdapterRef | None) -> AdapterRef | None:
    """An adapter that speaks by itself: model servers put on one at a time.

    Raises:
        AdapterError: it was trained on top of another one.
    """
    if adapter is not None and adapter.below is not None:
        raise AdapterError(
            f"The adapter {adapter.name} was trained on top of {adapter.below.name}; a model server speaks under one.",
            hint="Take it out of the adapters, or let the model run here.",
        )
    return adapter

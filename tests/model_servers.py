"""Model servers for tests: one that speaks vLLM's documented wire format around a real tiny model, and any other."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch

from mcp_dualtune.engine.generate import HFEngine
from mcp_dualtune.engine.grammar import GrammarCompiler
from mcp_dualtune.engine.load import load_model
from mcp_dualtune.types import AdapterRef
from tests.tiny_models import adapter_ref

Answer = tuple[int, Any]
"""Status and body: bytes as they are, anything else as JSON."""


@contextmanager
def listening(answer: Callable[[str, str, Any, dict[str, str]], Answer]) -> Iterator[str]:
    """The `/v1` address of a server whose `answer(method, path, body, headers)` is asked for every request."""

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            status, said = answer(self.command, self.path, body, {k.lower(): v for k, v in self.headers.items()})
            content = said if isinstance(said, bytes) else json.dumps(said).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _do

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


class VllmLike:
    """vLLM's `/v1/models`, `/tokenize`, `/v1/completions` and `/v1/load_lora_adapter` as its documentation has them.

    Unknown fields are ignored, as vLLM ignores them: `spelling` is the constraint's field that this version knows.
    """

    def __init__(self, folder: Path, *, spelling: str = "structured_outputs", scores: bool = True) -> None:
        self.engine = HFEngine(load_model(folder, "float32", threads=1))
        self.grammars = GrammarCompiler(self.engine.tokenizer)
        self.spelling, self.scores = spelling, scores
        self.adapters: dict[str, AdapterRef] = {}
        self.may_load = True
        self.seen: list[tuple[str, Any]] = []
        self.lock = threading.Lock()

    def __call__(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Answer:
        with self.lock:
            self.seen.append((path, body))
            return self.answer(path, body)

    def answer(self, path: str, body: Any) -> Answer:
        tokenizer = self.engine.tokenizer
        if path == "/v1/models":
            base = {"id": "tiny", "object": "model", "owned_by": "vllm", "root": "tiny", "max_model_len": 2048}
            loras = [{"id": name, "object": "model", "owned_by": "vllm", "parent": "tiny"} for name in self.adapters]
            return 200, {"object": "list", "data": [base, *loras]}
        if path == "/tokenize":
            ids = tokenizer.encode(body["prompt"], add_special_tokens=body.get("add_special_tokens", True))
            return 200, {"count": len(ids), "max_model_len": 2048, "tokens": ids, "token_strs": None}
        if path == "/v1/load_lora_adapter" and self.may_load:
            self.adapters[body["lora_name"]] = adapter_ref(Path(body["lora_path"]), body["lora_name"])
            return 200, f"Success: LoRA adapter '{body['lora_name']}' added successfully.".encode()
        if path == "/v1/completions" and body["model"] in {"tiny", *self.adapters}:
            return 200, self.complete(body)
        error = {"message": f"No such thing: {path}", "type": "NotFoundError", "param": None, "code": 404}
        return 404, {"error": error}

    def complete(self, body: Any) -> Any:
        self.engine.adapters.use(self.adapters.get(body["model"]))
        prompts = body["prompt"] if isinstance(body["prompt"][0], list) else [body["prompt"]]
        choices = []
        for index, prompt in enumerate(prompts):
            choice: dict[str, Any] = {"index": index, "prompt_logprobs": None, "stop_reason": None}
            if self.scores and body.get("prompt_logprobs") is not None:
                choice["prompt_logprobs"] = self.prompt_logprobs(prompt)
            choices.append({**choice, **self.generate(prompt, body)})
        return {"id": "cmpl-1", "object": "text_completion", "model": body["model"], "choices": choices, "usage": {}}

    def logits(self, ids: list[int]) -> Any:
        with torch.inference_mode():
            return torch.log_softmax(self.engine.model(input_ids=torch.tensor([ids])).logits[0].float(), -1)

    def prompt_logprobs(self, prompt: list[int]) -> list[Any]:
        logits = self.logits(prompt)
        tokens = enumerate(prompt[1:])
        return [
            None,
            *({str(t): {"logprob": float(logits[at, t]), "rank": 1, "decoded_token": ""}} for at, t in tokens),
        ]

    def constraint(self, body: Any) -> Any:
        bound: dict[str, Any] = {}
        if self.spelling == "structured_outputs":
            bound = body.get("structured_outputs") or {}
        elif self.spelling == "guided":
            bound = {key.removeprefix("guided_"): value for key, value in body.items() if key.startswith("guided_")}
        if "json" in bound:
            return self.grammars.matcher("start: %json " + json.dumps(bound["json"]))
        if "choice" in bound:
            return self.grammars.matcher("start: " + " | ".join(json.dumps(choice) for choice in bound["choice"]))
        return None

    def generate(self, prompt: list[int], body: Any) -> Any:
        """Greedy under the constraint; log-probabilities are those before it, as vLLM's default has them."""
        tokenizer, matcher = self.engine.tokenizer, self.constraint(body)
        ids, tokens, values, tops, reason = list(prompt), [], [], [], "length"
        while len(tokens) < body["max_tokens"]:
            raw = self.logits(ids)[-1]
            allowed = range(len(tokenizer)) if matcher is None else [int(one) for one in matcher.allowed()]
            token = max(allowed, key=lambda one: float(raw[one]))
            tokens.append(tokenizer.decode([token]))
            values.append(max(float(raw[token]), -9999.0))
            best = torch.topk(raw[: len(tokenizer)], max(body.get("logprobs") or 0, 1))
            tops.append({tokenizer.decode([int(t)]): float(v) for v, t in zip(best.values, best.indices, strict=True)})
            if token == tokenizer.eos_token_id:
                reason = "stop"
                break
            ids.append(token)
            if matcher is not None:
                matcher.commit([token])
                if matcher.is_complete:
                    reason = "stop"
                    break
        said = {"tokens": tokens, "token_logprobs": values, "top_logprobs": tops, "text_offset": []}
        text = tokenizer.decode(ids[len(prompt) :], skip_special_tokens=True)
        assert all(map(math.isfinite, values))
        return {"text": text, "logprobs": said, "finish_reason": reason}

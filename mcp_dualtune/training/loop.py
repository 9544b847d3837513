"""The optimisation loop for base model and adapters: a data stream in, checkpoints and a log out.

Same code on CPU and GPU. Resumable: the row stream is addressed by row number, and a checkpoint holds everything else.
"""

from __future__ import annotations

import json
import math
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mcp_dualtune.training.packing import Row


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train."""

    steps: int
    rows: int
    """Items a step: packed rows, or groups of choices."""
    matrix_rate: float = 4e-3
    """Peak rate of Muon, for matrices (its update is rescaled to AdamW's size)."""
    other_rate: float = 3e-3
    """Peak rate of AdamW, for embeddings and norms."""
    warmup: int = 100
    decay: float = 0.35
    """Last share of the run in which the rate falls to zero."""
    weight_decay: float = 0.02
    minutes: float = math.inf
    """Wall-clock budget: the schedule follows whichever of steps and minutes is further along."""
    save_every: int = 200
    measure_every: int = 200


def tree_mask(segment: torch.Tensor, root: torch.Tensor) -> torch.Tensor:
    """[B, T] segment and root numbers -> [B, 1, T, T] boolean mask: attend to one's segment and its root, causally."""
    length = segment.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=segment.device).tril()
    same = segment[:, :, None] == segment[:, None, :]
    prefix = root[:, :, None] == segment[:, None, :]
    return ((same | prefix) & causal)[:, None]


def batch_of(rows: Sequence[Row], device: torch.device) -> dict[str, torch.Tensor]:
    """Rows -> tensors [B, T]."""
    names = ("tokens", "segment", "root", "position", "target", "weight")
    return {n: torch.from_numpy(np.stack([getattr(row, n) for row in rows])).to(device) for n in names}


def loss_of(model: Any, body: Callable[..., Any], batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """(weighted mean loss, logits [N, V] of the weighted positions); the head runs only where there is a weight."""
    # A float mask in the compute type: SDPA's CPU kernel takes it as it is.
    mask = torch.zeros(batch["tokens"].shape[0], 1, 1, 1, dtype=torch.bfloat16, device=batch["tokens"].device)
    mask = mask.masked_fill(~tree_mask(batch["segment"], batch["root"]), torch.finfo(torch.bfloat16).min)
    hidden = body(input_ids=batch["tokens"].long(), attention_mask=mask, position_ids=batch["position"].long())[0]
    chosen = batch["weight"] > 0
    logits = model.lm_head(hidden[chosen]).float()
    losses = torch.nn.functional.cross_entropy(logits, batch["target"][chosen].long(), reduction="none")
    weights = batch["weight"][chosen]
    return (losses * weights).sum() / weights.sum(), logits


@torch.no_grad()  # type: ignore[untyped-decorator]
def measure(
    model: Any, body: Callable[..., Any], rows: Sequence[Row], size: int, device: torch.device
) -> dict[str, float]:
    """Loss and accuracy on answers: share of answer tokens, and of whole answers, that are the model's first choice."""
    tokens = right = answers = whole = 0
    size = min(size, len(rows))
    total = 0.0
    for start in range(0, len(rows) - size + 1, size):
        batch = batch_of(rows[start : start + size], device)
        batch["weight"] = (batch["weight"] >= 1.0).float()
        with torch.autocast(device.type, torch.bfloat16):
            loss, logits = loss_of(model, body, batch)
        chosen = batch["weight"] > 0
        hit = logits.argmax(-1) == batch["target"][chosen].long()
        row = torch.arange(batch["tokens"].shape[0], device=device)[:, None].expand_as(batch["tokens"])
        key = (row * 4096 + batch["segment"])[chosen]
        _, inverse = key.unique(return_inverse=True)
        count = int(inverse.max()) + 1
        missed = torch.zeros(count, device=device).index_add_(0, inverse, (~hit).float())
        tokens, right = tokens + hit.numel(), right + int(hit.sum())
        answers, whole = answers + count, whole + int((missed == 0).sum())
        total += float(loss) * hit.numel()
    return {"loss": total / max(tokens, 1), "token": right / max(tokens, 1), "answer": whole / max(answers, 1)}


class Objective(Protocol):
    """What a model is trained for; an item is whatever its data stream yields."""

    def loss(self, items: Sequence[Any]) -> torch.Tensor:
        """Mean loss of one step's items."""
        ...

    def measure(self, items: Sequence[Any], size: int) -> dict[str, float]:
        """Scores on held-out items, `size` of them at a time; `answer` is the share of right answers."""
        ...


@dataclass(frozen=True)
class Writing:
    """Next tokens of packed rows: what a causal language model learns."""

    model: Any
    body: Callable[..., Any]
    """The model without its head, compiled or not."""
    device: torch.device

    def loss(self, items: Sequence[Row]) -> torch.Tensor:
        """Weighted mean over the rows' targets."""
        return loss_of(self.model, self.body, batch_of(items, self.device))[0]

    def measure(self, items: Sequence[Row], size: int) -> dict[str, float]:
        """See `measure`."""
        return measure(self.model, self.body, items, size, self.device)


Watch = Callable[[float], None]
"""Told after every step what share of the plan is done, 0..1."""


class Trainer:
    """Trains the parameters of `model` that require gradients."""

    def __init__(
        self,
        model: Any,
        objective: Objective,
        plan: Plan,
        folder: Path,
        *,
        device: torch.device,
        watch: Watch | None = None,
    ) -> None:
        """Checkpoints and log go to `folder`. Without somebody to `watch`, a bar is drawn."""
        self.model, self.objective = model.to(device), objective
        self.plan, self.folder, self.device = plan, folder, device
        self.watch = watch
        named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
        matrices = [p for n, p in named if p.ndim == 2 and "embed" not in n and "lora" not in n]
        others = [p for n, p in named if not any(p is m for m in matrices)]
        self.optimizers: list[torch.optim.Optimizer] = []
        if matrices:
            self.optimizers.append(
                torch.optim.Muon(
                    matrices, lr=plan.matrix_rate, weight_decay=plan.weight_decay, adjust_lr_fn="match_rms_adamw"
                )
            )
        if others:
            self.optimizers.append(
                torch.optim.AdamW(others, lr=plan.other_rate, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
            )
        self.step, self.elapsed = 0, 0.0

    def run(
        self, items: Callable[[int], Iterator[Any]], held_out: Mapping[str, Sequence[Any]]
    ) -> dict[str, dict[str, float]]:
        """Train to the end of the plan; `items(n)` yields the stream from item n on. Returns the last measurements.

        Interrupting is safe: what was learnt is saved first, and another run goes on from there.
        """
        self._resume()
        scores: dict[str, dict[str, float]] = {}
        with Ahead(items(self.step * self.plan.rows), self.plan.rows) as source, self._shown() as show:
            started, previous, mean = time.monotonic(), self.elapsed, None
            while self._progress() < 1.0:
                try:
                    loss = self._step(source.next())
                except KeyboardInterrupt:
                    # Between two steps the state is whole; within one, the gradients are thrown away.
                    self._save()
                    raise
                mean = loss if mean is None else 0.97 * mean + 0.03 * loss
                self.step += 1
                self.elapsed = previous + time.monotonic() - started
                done = self._progress()
                show(mean)
                if self.step % 20 == 0 or done >= 1.0:
                    self._log({"step": self.step, "seconds": round(self.elapsed, 1), "loss": round(mean, 4)})
                if self.step % self.plan.measure_every == 0 or done >= 1.0:
                    self.model.eval()
                    scores = {name: self.objective.measure(kept, self.plan.rows) for name, kept in held_out.items()}
                    self.model.train()
                    self._log({"step": self.step, "seconds": round(self.elapsed, 1), "held_out": scores})
                if self.step % self.plan.save_every == 0 or done >= 1.0:
                    self._save()
        return scores

    @contextmanager
    def _shown(self) -> Iterator[Callable[[float], None]]:
        """What to call with the mean loss after every step."""
        if (watch := self.watch) is not None:
            yield lambda loss: watch(min(self._progress(), 1.0))
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns) as progress:
            name = self.folder.name
            task = progress.add_task(name, total=self.plan.steps, completed=self.step)
            yield lambda loss: progress.update(task, completed=self.step, description=f"{name} loss {loss:.3f}")

    def _progress(self) -> float:
        return max(self.step / self.plan.steps, self.elapsed / 60 / self.plan.minutes)

    def _step(self, items: Sequence[Any]) -> float:
        done = self._progress()
        scale = min(1.0, (self.step + 1) / self.plan.warmup, max(0.0, 1.0 - done) / self.plan.decay)
        for optimizer, peak in zip(self.optimizers, self._peaks(), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = peak * scale
        with torch.autocast(self.device.type, torch.bfloat16):
            loss = self.objective.loss(items)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in self.model.parameters() if p.requires_grad], 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())

    def _peaks(self) -> list[float]:
        return [
            self.plan.matrix_rate if isinstance(o, torch.optim.Muon) else self.plan.other_rate for o in self.optimizers
        ]

    def _log(self, record: dict[str, Any]) -> None:
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(record) + "\n")

    def _save(self) -> None:
        state = {
            "weights": {n: p.detach().cpu() for n, p in self.model.named_parameters() if p.requires_grad},
            "optimizers": [o.state_dict() for o in self.optimizers],
            "step": self.step,
            "elapsed": self.elapsed,
        }
        partial = self.folder / "checkpoint.partial"
        torch.save(state, partial)
        partial.replace(self.folder / "checkpoint.pt")

    def _resume(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            return
        state = torch.load(path, map_location="cpu", weights_only=True)
        parameters = dict(self.model.named_parameters())
        with torch.no_grad():
            for name, value in state["weights"].items():
                parameters[name].copy_(value)
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.elapsed = state["step"], state["elapsed"]


class Ahead:
    """Batches of `size` items, made in a thread while the model computes; the thread ends with the block."""

    def __init__(self, items: Iterator[Any], size: int, depth: int = 4) -> None:
        self._items, self._size = items, size
        self._made: queue.Queue[list[Any] | Exception] = queue.Queue(depth)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Ahead:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        while not self._made.empty():
            self._made.get_nowait()
        self._thread.join(timeout=10)

    def next(self) -> list[Any]:
        """The next batch; what went wrong in making it is raised here."""
        batch = self._made.get()
        if isinstance(batch, Exception):
            raise batch
        return batch

    def _work(self) -> None:
        try:
            while not self._over.is_set():
                self._put([next(self._items) for _ in range(self._size)])
        except Exception as error:
            self._put(error)

    def _put(self, batch: list[Any] | Exception) -> None:
        while not self._over.is_set():
            try:
                return self._made.put(batch, timeout=0.2)
            except queue.Full:
                continue

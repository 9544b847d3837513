"""Trains one LoRA adapter of any causal language model, with transformers' Trainer.

    python -m mcp_dualtune.training.own_servers.tuning FOLDER
    accelerate launch --num_processes 4 -m mcp_dualtune.training.own_servers.tuning FOLDER
    torchrun --nproc-per-node 4 -m mcp_dualtune.training.own_servers.tuning FOLDER

FOLDER holds `job.json` (model, recipe) and `examples.jsonl` (token ids of prompt and answer); the adapter appears in
FOLDER/adapter. Only answers carry loss. Owns the recipe. Refuses to own: requests, prompts, and the manifest. Several
GPUs are the launcher's and the Trainer's business.
"""

from __future__ import annotations

import json
import math
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import util
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
from torch.optim.lr_scheduler import LambdaLR
from transformers import (
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    DataCollatorWithFlattening,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from mcp_dualtune.errors import TrainingError

JOB, EXAMPLES, ADAPTER, CHECKPOINTS = "job.json", "examples.jsonl", "adapter", "checkpoints"
IGNORED = -100
"""Label of a token that carries no loss."""
WARMUP = 0.05
SAVE_EVERY = 20
"""Optimiser steps; an interruption loses no more."""
BILLION = 10**9

Watch = Callable[[float], None]


@dataclass(frozen=True)
class Recipe:
    """How one adapter is trained; the defaults are those of the method for 7B (arXiv 2510.00229, its code)."""

    rank: int = 32
    alpha: int = 64
    rate: float = 5e-6
    """Peak of a cosine."""
    epochs: float = 2.0
    """The method trains four and serves what came out of the second."""
    batch: int = 4
    accumulate: int = 4
    dropout: float = 0.1
    rslora: bool = True
    packing: bool = False
    """Several examples in one row, without padding; each sees itself only."""
    four_bit: bool = False
    """QLoRA: the base in 4 bits (bitsandbytes, CUDA)."""
    checkpointing: bool = False
    """Compute activations twice and keep none: for models that would not fit otherwise."""
    minutes: float | None = None
    seed: int = 0


def recipe_for(parameters: int, **wanted: Any) -> Recipe:
    """The recipe for a model of this size, with what the user wants otherwise.

    The method's rate is for 7B. A smaller model moves less for the same step and gets a higher rate and less rank: a
    rank of 32 on 0.5B is a fifth of what it is on 7B, and its adapters should be small, too.
    """
    sized: dict[str, Any] = {}
    if parameters < BILLION:
        sized = {"rank": 16, "alpha": 32, "rate": 1e-4}
    elif parameters < 5 * BILLION:
        sized = {"rank": 16, "alpha": 32, "rate": 3e-5}
    cuda = torch.cuda.is_available()
    sized |= {"packing": cuda, "checkpointing": parameters >= BILLION, "four_bit": can_quantise() and cuda}
    return Recipe(**{**sized, **{name: value for name, value in wanted.items() if value is not None}})


def can_quantise() -> bool:
    """Whether 4-bit weights can be had here."""
    return torch.cuda.is_available() and util.find_spec("bitsandbytes") is not None


def write_job(
    folder: Path, model: Path, recipe: Recipe, examples: Iterable[tuple[Sequence[int], Sequence[int]]]
) -> int:
    """Write what `tune` reads: (prompt, answer) token ids; says how many there are."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / JOB).write_text(json.dumps({"model": str(model), "recipe": asdict(recipe)}, indent=1), encoding="utf-8")
    count = 0
    with (folder / EXAMPLES).open("w", encoding="utf-8") as file:
        for prompt, answer in examples:
            file.write(json.dumps({"prompt": list(prompt), "answer": list(answer)}) + "\n")
            count += 1
    return count


def tune(folder: Path, watch: Watch = lambda share: None) -> Path:
    """Train the job in `folder`, from its last checkpoint where there is one; returns the adapter's folder.

    Raises:
        TrainingError: there is no job, or nothing to learn from.
    """
    try:
        job = json.loads((folder / JOB).read_text(encoding="utf-8"))
        examples = list(_read_examples(folder))
    except OSError as error:
        raise TrainingError(f"{folder} holds no job: {error}.", hint="`dualtune train SERVER` writes it.") from error
    if not examples:
        raise TrainingError(f"There is nothing to learn from in {folder}.")
    recipe = Recipe(**job["recipe"])
    torch.manual_seed(recipe.seed)
    arguments = _arguments(folder, recipe)
    _ = arguments.device  # each process takes its own GPU here, so that 4-bit weights are loaded where they train
    model = adapted(Path(job["model"]), recipe)
    trainer = _Timed(
        model=model,
        args=arguments,
        train_dataset=examples,
        data_collator=_collator(recipe),
        callbacks=[_Watching(watch)],
    )
    # It prints on stdout, which belongs to the caller's report.
    trainer.remove_callback(PrinterCallback)
    trainer.limit = recipe.minutes and recipe.minutes * 60
    saved = sorted((folder / CHECKPOINTS).glob("checkpoint-*"))
    trainer.train(resume_from_checkpoint=bool(saved))
    if trainer.is_world_process_zero():
        save(model, folder / ADAPTER, Path(job["model"]).name)
    return folder / ADAPTER


def adapted(folder: Path, recipe: Recipe) -> Any:
    """The base model with a new adapter on all its linear layers."""
    settings: dict[str, Any] = {"dtype": torch.bfloat16 if torch.cuda.is_available() else torch.float32}
    if recipe.four_bit:
        settings["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )  # fmt: skip
    base = AutoModelForCausalLM.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, attn_implementation="sdpa", **settings
    )
    # With a cache of keys and values, transformers takes a packed row for one long text, and says nothing.
    base.config.use_cache = False
    if recipe.four_bit:
        base = prepare_model_for_kbit_training(base, use_gradient_checkpointing=recipe.checkpointing)
    config = LoraConfig(
        r=recipe.rank, lora_alpha=recipe.alpha, lora_dropout=recipe.dropout, use_rslora=recipe.rslora,
        target_modules="all-linear", task_type="CAUSAL_LM",
    )  # fmt: skip
    with warnings.catch_warnings():
        # PEFT asks transformers by a name that is on its way out.
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing.*", FutureWarning)
        model: Any = get_peft_model(base, config)
    if recipe.checkpointing:
        model.enable_input_require_grads()
    return model


def save(model: Any, folder: Path, name: str) -> None:
    """Write the adapter as PEFT does, in the precision it is served in; the model is rounded to what is written.

    `name` is what its config calls the base: PEFT would write the folder of this machine.
    """
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.copy_(parameter.to(torch.bfloat16))
    tensors = model.state_dict()
    halved = {name: tensor.to(torch.bfloat16) for name, tensor in tensors.items() if "lora_" in name}
    model.peft_config["default"].base_model_name_or_path = name
    model.save_pretrained(folder, state_dict=halved, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)


def labelled(prompt: Sequence[int], answer: Sequence[int]) -> dict[str, list[int]]:
    """One example as the Trainer reads it: the prompt carries no loss."""
    return {"input_ids": [*prompt, *answer], "labels": [*[IGNORED] * len(prompt), *answer]}


def _read_examples(folder: Path) -> Iterator[dict[str, list[int]]]:
    with (folder / EXAMPLES).open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            yield labelled(row["prompt"], row["answer"])


def _arguments(folder: Path, recipe: Recipe) -> TrainingArguments:
    cuda = torch.cuda.is_available()
    return TrainingArguments(
        output_dir=str(folder / CHECKPOINTS),
        per_device_train_batch_size=recipe.batch,
        gradient_accumulation_steps=recipe.accumulate,
        num_train_epochs=recipe.epochs,
        learning_rate=recipe.rate,
        bf16=cuda,
        use_cpu=not cuda,
        activation_checkpointing=recipe.checkpointing,
        save_steps=SAVE_EVERY,
        save_total_limit=1,
        logging_steps=SAVE_EVERY,
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        seed=recipe.seed,
        dataloader_pin_memory=cuda,
        ddp_find_unused_parameters=False,
    )


def _collator(recipe: Recipe) -> Callable[[list[dict[str, list[int]]]], dict[str, Any]]:
    return DataCollatorWithFlattening() if recipe.packing else padded


def padded(rows: list[dict[str, list[int]]]) -> dict[str, Any]:
    """Rows of one length: padding is neither looked at nor learnt."""
    longest = max(len(row["input_ids"]) for row in rows)

    def filled(name: str, blank: int) -> torch.Tensor:
        return torch.tensor([[*row[name], *[blank] * (longest - len(row[name]))] for row in rows])

    lengths = torch.tensor([len(row["input_ids"]) for row in rows])
    mask = (torch.arange(longest)[None] < lengths[:, None]).long()
    return {"input_ids": filled("input_ids", 0), "labels": filled("labels", IGNORED), "attention_mask": mask}


def grouped() -> bool:
    """Whether this is one of several processes that train together."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


class _Clock(TrainerCallback):
    """The time that training takes, the same for all processes: that of the first.

    Each with its own time would have its own rate, so that their weights drift apart, and would stop at its own step,
    so that the others wait for it for ever.
    """

    def __init__(self, limit: float | None) -> None:
        self.limit = limit
        self.gone = 0.0
        """The share 0..1 of the limit that was over when the latest step began; 0 without one."""
        self._began = time.monotonic()

    def on_step_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        if self.limit is None:
            return
        gone = torch.tensor((time.monotonic() - self._began) / self.limit, device=args.device)
        if grouped():
            torch.distributed.broadcast(gone, 0)
        self.gone = min(float(gone), 1.0)

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        if self.gone >= 1:
            control.should_training_stop = True


class _Timed(Trainer):
    """Its rate falls along a cosine to zero at the last step or the last minute, whichever comes first."""

    limit: float | None = None
    lr_scheduler: Any

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """See `transformers.Trainer`."""
        if self.lr_scheduler is None:
            clock = _Clock(self.limit)

            def scale(step: int) -> float:
                done = min(max(step / max(num_training_steps, 1), clock.gone), 1.0)
                return done / WARMUP if done < WARMUP else 0.5 * (1 + math.cos(math.pi * done))

            self.lr_scheduler = LambdaLR(optimizer or self.optimizer, scale)
            self.add_callback(clock)
        return self.lr_scheduler


class _Watching(TrainerCallback):
    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self.watch(state.global_step / max(state.max_steps, 1))


if __name__ == "__main__":
    tune(Path(sys.argv[1]))
    if grouped():
        # Threads of the group that outlive the interpreter abort the process now and then.
        torch.distributed.destroy_process_group()

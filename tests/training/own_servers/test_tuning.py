"""Any causal model is trained with transformers' Trainer: what carries loss, and what is written."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from mcp_dualtune.engine.load import load_model
from mcp_dualtune.engine.lora import AdapterStack
from mcp_dualtune.errors import TrainingError
from mcp_dualtune.prompting import Renderer
from mcp_dualtune.training.own_servers.causal import _launch
from mcp_dualtune.training.own_servers.tuning import (
    ADAPTER,
    IGNORED,
    Recipe,
    adapted,
    labelled,
    padded,
    recipe_for,
    tune,
    write_job,
)
from mcp_dualtune.types import Request, ServerSpec, ToolSpec
from tests.tiny_models import adapter_ref, tiny_qwen2

PATHS = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
TOOLS = tuple(ToolSpec("files", name, f"{name} a file", PATHS, "f") for name in ("read_text_file", "write_file"))
SERVER = ServerSpec("files", "reads and writes files", TOOLS, "f")
REQUEST = Request("read the file notes/a.md")
RECIPE = Recipe(rank=4, alpha=8, rate=2e-3, epochs=6, batch=2, accumulate=2, dropout=0.0)


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_qwen2(tmp_path_factory.mktemp("qwen"))


def call_parts(folder: Path) -> tuple[Any, Any, Any]:
    """(tokenizer, selector's prompt and answer, arguments' prompt and answer) for the same step."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    renderer = Renderer.for_tokenizer(tokenizer)
    select, arguments = renderer.select(REQUEST, SERVER), renderer.arguments(REQUEST, TOOLS[0])
    answer = renderer.template.text_answer(arguments.write({"path": "notes/a.md"}))
    return tokenizer, (select.tokens, select.option_tokens[0]), (arguments.tokens, answer)


def test_only_answers_carry_loss(qwen: Path) -> None:
    """A change of the prompt's labels changes nothing; the loss is that of the answer's tokens alone."""
    _, select, arguments = call_parts(qwen)
    model = AutoModelForCausalLM.from_pretrained(qwen, dtype=torch.float32)
    batch = padded([labelled(*select), labelled(*arguments)])
    assert [int((row != IGNORED).sum()) for row in batch["labels"]] == [len(select[1]), len(arguments[1])]
    with torch.no_grad():
        loss = model(**batch).loss
        total, count = 0.0, 0
        for prompt, answer in (select, arguments):
            logits = model(input_ids=torch.tensor([[*prompt, *answer]])).logits[0, len(prompt) - 1 : -1]
            total += float(torch.nn.functional.cross_entropy(logits, torch.tensor(answer), reduction="sum"))
            count += len(answer)
    assert float(loss) == pytest.approx(total / count, rel=1e-4)


def test_the_masks_of_selector_and_arguments_are_disjoint_and_cover_the_whole_call(qwen: Path) -> None:
    """What a model would write of the call is learnt by exactly one of the two; the rest is the form, never decided."""
    tokenizer, select, arguments = call_parts(qwen)
    name, values = (tokenizer.decode(part[1], skip_special_tokens=True) for part in (select, arguments))
    assert (name, json.loads(values)) == ('read_text_file"', {"path": "notes/a.md"})
    opened = tokenizer.decode(select[0]).rpartition("\n")[2]
    filled = tokenizer.decode(arguments[0]).rpartition("\n")[2]
    assert (opened, filled) == ('Tool: "', "Arguments: ")
    # The selector's answer is no part of what the arguments' adapter answers, nor the other way round.
    assert name not in values
    assert values not in name
    assert tokenizer.decode(arguments[0]).count(f"Tool {name[:-1]}") == 1  # to the second it is given


def test_a_saved_adapter_reloads_to_identical_logits_and_is_plain_peft(qwen: Path, tmp_path: Path) -> None:
    _, select, arguments = call_parts(qwen)
    write_job(tmp_path / "job", qwen, RECIPE, [select, arguments] * 4)
    shares: list[float] = []
    folder = tune(tmp_path / "job", shares.append)
    assert shares[-1] == 1.0
    assert {path.name for path in folder.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    config = json.loads((folder / "adapter_config.json").read_text())
    assert (config["peft_type"], config["use_rslora"], config["base_model_name_or_path"]) == ("LORA", True, qwen.name)
    assert set(config["target_modules"]) == {
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    }  # fmt: skip
    tokens = torch.tensor([[*select[0], *select[1]]])
    with torch.no_grad():
        base = AutoModelForCausalLM.from_pretrained(qwen, dtype=torch.float32)
        plain = base(input_ids=tokens).logits
        first = PeftModel.from_pretrained(base, folder).eval()(input_ids=tokens).logits
        again = AutoModelForCausalLM.from_pretrained(qwen, dtype=torch.float32)
        assert torch.equal(PeftModel.from_pretrained(again, folder).eval()(input_ids=tokens).logits, first)
        served = load_model(qwen, "float32").model
        AdapterStack(served).use(adapter_ref(folder))
        torch.testing.assert_close(served(input_ids=tokens).logits, first, atol=1e-4, rtol=1e-4)
    assert (first - plain).abs().max() > 0.01


def test_what_is_trained_is_learnt(qwen: Path, tmp_path: Path) -> None:
    _, select, _ = call_parts(qwen)
    write_job(tmp_path / "job", qwen, RECIPE, [select] * 16)
    model = AutoModelForCausalLM.from_pretrained(qwen, dtype=torch.float32)
    batch = padded([labelled(*select)])
    folder = tune(tmp_path / "job")
    with torch.no_grad():
        before = float(model(**batch).loss)
        after = float(PeftModel.from_pretrained(model, folder).eval()(**batch).loss)
    assert after < 0.7 * before


def test_packed_examples_do_not_see_each_other(qwen: Path) -> None:
    from transformers import DataCollatorWithFlattening  # noqa: PLC0415

    _, select, arguments = call_parts(qwen)
    rows = [labelled(*select), labelled(*arguments)]
    model = adapted(qwen, RECIPE).eval()
    with torch.no_grad():
        apart, together = model(**padded(rows)), model(**DataCollatorWithFlattening()(rows))
    joined = torch.cat([apart.logits[n, : len(row["input_ids"])] for n, row in enumerate(rows)])
    torch.testing.assert_close(together.logits[0], joined, atol=1e-3, rtol=1e-3)


def test_sizes_have_recipes_and_what_is_asked_for_wins() -> None:
    large = recipe_for(7 * 10**9)
    assert (large.rank, large.alpha, large.rate, large.dropout, large.rslora) == (32, 64, 5e-6, 0.1, True)
    assert (large.batch, large.accumulate) == (4, 4)
    small = recipe_for(500_000_000, rank=8, alpha=None)
    assert (small.rank, small.alpha, small.rate) == (8, 32, 1e-4)


def test_a_folder_without_a_job_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="holds no job"):
        tune(tmp_path)


@pytest.mark.timeout(600)  # processes that load torch, on a machine that may be busy with something else
def test_two_processes_under_torchrun_train_what_one_does(
    qwen: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Also with a limit of time, for which all processes have to have the same clock."""
    _, select, arguments = call_parts(qwen)
    examples = [part for number in range(6) for part in (select, ([*arguments[0], number], arguments[1]))]
    one, two = (replace(RECIPE, epochs=1, accumulate=count, minutes=30.0) for count in (2, 1))
    write_job(tmp_path / "one", qwen, one, examples)
    write_job(tmp_path / "two", qwen, two, examples)
    tune(tmp_path / "one")
    capfd.readouterr()
    _launch("torchrun --standalone --nproc-per-node 2", tmp_path / "two")
    assert capfd.readouterr().out == ""
    state = json.loads((tmp_path / "two" / "checkpoints" / "checkpoint-3" / "trainer_state.json").read_text())
    assert state["max_steps"] == 3
    alone, together = (load_file(tmp_path / name / ADAPTER / "adapter_model.safetensors") for name in ("one", "two"))
    assert alone.keys() == together.keys()
    for name, tensor in alone.items():
        # One step apart would be 2e-3; the difference is what adding up in another order comes to.
        torch.testing.assert_close(together[name], tensor, atol=2e-4, rtol=2e-2)


def test_a_launcher_that_fails_is_an_error_that_shows_the_command(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="launcher failed") as raised:
        _launch(shlex.join([sys.executable, "-c", "raise SystemExit(3)"]), tmp_path)
    assert "tuning" in raised.value.hint
    with pytest.raises(TrainingError, match="launcher failed"):
        _launch("no-such-launcher --here", tmp_path)

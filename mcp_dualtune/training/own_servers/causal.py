"""Trains the adapters of one server on a causal language model of the user's own: choosing and arguments alike.

Owns which examples a job gets. The prompts are the renderer's, the training is `tuning`'s: in this process, or under a
launcher for several GPUs.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from safetensors import safe_open
from transformers import AutoConfig, AutoTokenizer

from mcp_dualtune.adapter_registry.manifest import Manifest, TrainingData, save_manifest
from mcp_dualtune.errors import TrainingError
from mcp_dualtune.prompting import Renderer
from mcp_dualtune.training.cases import CaseMaker
from mcp_dualtune.training.encoder_adapters import groups
from mcp_dualtune.training.examples import Example, ExampleMaker
from mcp_dualtune.training.loop import Watch
from mcp_dualtune.training.lora import Job
from mcp_dualtune.training.own_servers.makers import NONE_SHARE, PAGES, with_fixed
from mcp_dualtune.training.own_servers.material import Material
from mcp_dualtune.training.own_servers.tuning import ADAPTER, recipe_for, tune, write_job

SELECT_EXAMPLES, TOOL_EXAMPLES = 1200, 400
"""Examples of a choosing adapter, and of one tool's arguments."""
STDERR = 2
"""File descriptor."""
MODULE = "mcp_dualtune.training.own_servers.tuning"


class CausalMaker:
    """`select/<server>` and `arguments/<server>/<tool>` on one causal model."""

    def __init__(
        self, base: Path, digest: str, material: Material, wanted: dict[str, Any], launcher: str | None = None
    ) -> None:
        self.base, self.digest, self.material = base, digest, material
        self.wanted, self.launcher = wanted, launcher
        tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True)
        self.longest = int(AutoConfig.from_pretrained(base, local_files_only=True).max_position_embeddings)
        self.parameters = count_parameters(base)
        self.examples = ExampleMaker(Renderer.for_tokenizer(tokenizer), CaseMaker(material.corpus()), branches=PAGES)
        written = self.examples.write
        self.examples.write = lambda case, tool: written(with_fixed(case, tool), tool)

    def train(self, job: Job, seed: int, runs: Path, output: Path, watch: Watch) -> Manifest:
        """Train one adapter into the folder `output`.

        Raises:
            TrainingError: the launcher failed.
        """
        minutes = None if job.plan.minutes == float("inf") else job.plan.minutes
        recipe = recipe_for(self.parameters, **{**self.wanted, "minutes": minutes, "seed": seed})
        count = TOOL_EXAMPLES if job.tool else SELECT_EXAMPLES
        examples = [(one.tokens, one.answer) for one in islice(self.stream(job, seed), count)]
        write_job(runs, self.base, recipe, examples)
        if self.launcher is None:
            tune(runs, watch)
        else:
            _launch(self.launcher, runs)
        manifest = Manifest(
            stage=job.stage, server=job.server, tool=job.tool, schema_fingerprint=job.fingerprint,
            base_digest=self.digest, rank=recipe.rank,
            data=TrainingData(self.material.digest, len(examples), self.material.sources_of(job.tool)),
        )  # fmt: skip
        output.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(runs / ADAPTER, output)
        # The manifest comes last: without it a folder is no adapter.
        save_manifest(manifest, output)
        return manifest

    def stream(self, job: Job, seed: int) -> Iterator[Example]:
        """Examples of the job, endless; those too long for the model are left out."""
        name = self.material.server.name
        make: Any = partial(self.examples.arguments, targets=[name], rename=0.0, tool=job.tool)
        if job.tool is None:
            make = partial(self.examples.select, targets=[name], rename=0.0, none=NONE_SHARE)
        for group in groups(make, f"{seed} {job.folder}", 0):
            yield from (one for one in group if len(one.tokens) + len(one.answer) <= self.longest)


def count_parameters(folder: Path) -> int:
    """How many weights a model folder holds."""
    total = 0
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="numpy") as weights:
            for name in weights.keys():  # noqa: SIM118  # a handle of safetensors is no mapping
                size = 1
                for length in weights.get_slice(name).get_shape():
                    size *= length
                total += size
    return total


def _launch(launcher: str, folder: Path) -> None:
    command = [*shlex.split(launcher), "-m", MODULE, str(folder)]
    if command[0] in ("accelerate", "torchrun"):
        found = shutil.which(command[0], path=str(Path(sys.executable).parent)) or shutil.which(command[0])
        command[0] = found or command[0]
    try:
        # The user's own command line. What it prints is no part of our report on stdout.
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=STDERR)
    except (OSError, subprocess.CalledProcessError) as error:
        raise TrainingError(
            f"The launcher failed: {error}.", hint=f"Try it by itself: {shlex.join(command)}"
        ) from error

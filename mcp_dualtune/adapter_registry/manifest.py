"""What an adapter says of itself: `manifest.json` beside PEFT's own files.

Owns the record and its file format. Refuses to own: weights, and the question which adapter should speak.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast, get_args

from mcp_dualtune.errors import AdapterError
from mcp_dualtune.types import Stage

FILE_NAME = "manifest.json"
CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PARTS = (FILE_NAME, CONFIG, WEIGHTS)
"""All that an adapter is."""


@dataclass(frozen=True)
class TrainingData:
    """What the adapter was trained on."""

    digest: str
    """sha256 hex of the training examples."""
    size: int
    """Number of examples."""
    sources: Mapping[str, int] = field(default_factory=dict)
    """Requests by where they came from (`synthesis`, `correction`, `own`, `trace`, `writer`), and true results
    (`executed`); empty where nobody wrote it down."""


@dataclass(frozen=True)
class Scores:
    """Accuracy 0..1 on the held-out split, without and with the adapter; None where it was not measured."""

    before: float | None = None
    after: float | None = None


@dataclass(frozen=True)
class Manifest:
    """One adapter: what it is for, what it belongs to, and how good it is."""

    stage: Stage
    base_digest: str
    rank: int
    data: TrainingData
    server: str | None = None
    """None: for every server (generic)."""
    tool: str | None = None
    """None: for every tool of the server; only the arguments stage knows adapters for one tool."""
    schema_fingerprint: str | None = None
    """Fingerprint of the server (select) or tool (arguments) it was trained for; None for generic adapters."""
    scores: Scores = Scores()
    temperature: float = 1.0
    licence: str | None = None
    weights_digest: str | None = None
    """sha256 hex of the weights that this manifest was saved beside; None where it was saved before them."""
    stacked_on: str | None = None
    """`AdapterRef.content` of the generic adapter that this one was trained on top of: it speaks with that one only."""

    @property
    def name(self) -> str:
        """`route`, `select`, `select/git`, `arguments`, `arguments/filesystem/move_file`."""
        return "/".join(part for part in (self.stage, self.server, self.tool) if part is not None)


def save_manifest(manifest: Manifest, folder: Path) -> Path:
    """Write `manifest.json` into the adapter folder, with the digest of the weights that lie there; return its path.

    Raises:
        AdapterError: the record contradicts itself.
    """
    _check(manifest, folder)
    if (folder / WEIGHTS).is_file():
        manifest = replace(manifest, weights_digest=file_digest(folder / WEIGHTS))
    path = folder / FILE_NAME
    path.write_text(json.dumps(asdict(manifest), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def load_manifest(folder: Path) -> Manifest:
    """Read the manifest of an adapter folder; keys it does not know are left alone.

    Raises:
        AdapterError: the file is missing, is not a manifest, or contradicts itself.
    """
    path = folder / FILE_NAME
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise AdapterError(
            f"The adapter manifest {path} cannot be read: {error.strerror}.", hint="Train the adapter again."
        ) from error
    except ValueError as error:
        raise _bad(path, f"it is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise _bad(path, "it is not a JSON object")
    data, scores = _part(value, "data", path), _part(value, "scores", path, optional=True)
    sources = _part(data, "sources", path, optional=True)
    manifest = Manifest(
        stage=cast(Stage, _field(value, "stage", str, path)),
        base_digest=_field(value, "base_digest", str, path),
        rank=_field(value, "rank", int, path),
        data=TrainingData(
            _field(data, "digest", str, path, "data."),
            _field(data, "size", int, path, "data."),
            {name: _field(sources, name, int, path, "data.sources.") for name in sources},
        ),
        server=_field(value, "server", str, path, optional=True),
        tool=_field(value, "tool", str, path, optional=True),
        schema_fingerprint=_field(value, "schema_fingerprint", str, path, optional=True),
        scores=Scores(
            _field(scores, "before", float, path, "scores.", optional=True),
            _field(scores, "after", float, path, "scores.", optional=True),
        ),
        temperature=_field(value, "temperature", float, path) if "temperature" in value else 1.0,
        licence=_field(value, "licence", str, path, optional=True),
        weights_digest=_field(value, "weights_digest", str, path, optional=True),
        stacked_on=_field(value, "stacked_on", str, path, optional=True),
    )
    _check(manifest, folder)
    return manifest


def adapters_in(folder: Path) -> list[Path]:
    """The folders of all adapters in a folder, itself included; hidden folders hold what is not in use."""
    found = (
        path for path in folder.rglob(FILE_NAME) if not any(p.startswith(".") for p in path.relative_to(folder).parts)
    )
    return sorted(path.parent for path in found)


def file_digest(path: Path) -> str:
    """sha256 hex of a file.

    Raises:
        AdapterError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise AdapterError(f"{path} cannot be read: {error.strerror}.", hint="Check the file's permissions.") from error


def _field(
    value: Mapping[str, Any], key: str, kind: type, path: Path, prefix: str = "", *, optional: bool = False
) -> Any:
    found = value.get(key)
    if found is None and optional:
        return None
    accepted = (int, float) if kind is float else (kind,)
    if not isinstance(found, accepted) or isinstance(found, bool):
        raise _bad(path, f"`{prefix}{key}` must be a {kind.__name__}, not {json.dumps(found)}")
    return kind(found)


def _part(value: Mapping[str, Any], key: str, path: Path, *, optional: bool = False) -> Mapping[str, Any]:
    found = value.get(key, {} if optional else None)
    if not isinstance(found, dict):
        raise _bad(path, f"`{key}` must be an object, not {json.dumps(found)}")
    return found


def _check(manifest: Manifest, folder: Path) -> None:
    problem = None
    if manifest.stage not in get_args(Stage):
        problem = f"`stage` must be one of {', '.join(get_args(Stage))}, not {manifest.stage!r}"
    elif manifest.stage == "route" and (manifest.server or manifest.tool):
        problem = "a route adapter serves all servers: `server` and `tool` must be null"
    elif manifest.stage == "select" and manifest.tool is not None:
        problem = "a select adapter serves all tools of a server: `tool` must be null"
    elif manifest.stage == "arguments" and (manifest.server is None) != (manifest.tool is None):
        problem = "an arguments adapter names both `server` and `tool`, or neither"
    elif (manifest.server is None) != (manifest.schema_fingerprint is None):
        problem = "`schema_fingerprint` belongs to adapters of one server or tool, and only to them"
    elif manifest.stacked_on is not None and manifest.server is None:
        problem = "a generic adapter cannot be stacked on another: `stacked_on` must be null"
    elif not (math.isfinite(manifest.temperature) and manifest.temperature > 0):
        problem = f"`temperature` must be above 0, not {manifest.temperature}"
    elif manifest.rank < 1:
        problem = f"`rank` must be at least 1, not {manifest.rank}"
    if problem:
        raise _bad(folder / FILE_NAME, problem)


def _bad(path: Path, problem: str) -> AdapterError:
    return AdapterError(
        f"The adapter manifest {path} is not usable: {problem}.", hint="Correct it, or train the adapter again."
    )

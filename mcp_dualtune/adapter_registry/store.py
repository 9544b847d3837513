"""Finds the adapters in folders and says which one should speak.

Owns scanning, refusing and retiring. Refuses to own: loading weights onto the model (`engine.lora`).
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from mcp_dualtune.adapter_registry.manifest import FILE_NAME, Manifest, load_manifest
from mcp_dualtune.errors import AdapterError
from mcp_dualtune.types import AdapterRef, Stage

logger = logging.getLogger(__name__)

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"


@dataclass(frozen=True)
class StoredAdapter:
    """An adapter that fits the base model."""

    ref: AdapterRef
    manifest: Manifest


class AdapterStore:
    """The adapters of some folders that belong to one base model; earlier folders win over later ones."""

    def __init__(self, folders: Iterable[Path], base_digest: str, others: Collection[str] = ()) -> None:
        """Scan `folders` and everything below them; adapters of the base models `others` are somebody else's business.

        Raises:
            AdapterError: a folder does not exist. Unusable adapters are kept in `refused` instead.
        """
        self._base_digest = base_digest
        self._others = others
        self._adapters: list[StoredAdapter] = []
        self.refused: dict[Path, str] = {}
        """Adapter folders that are not used, with the reason."""
        self.retired: dict[Path, str] = {}
        """Adapter folders whose server or tool has changed since they were trained, with the reason."""
        self._announced: set[tuple[Path, str]] = set()
        for folder in folders:
            if not folder.is_dir():
                raise AdapterError(
                    f"The adapter folder {folder} does not exist.", hint="Create it, or take it out of the config."
                )
            for path in sorted(folder.rglob(FILE_NAME)):
                self._take(path.parent)

    @property
    def adapters(self) -> tuple[StoredAdapter, ...]:
        """All usable adapters in look-up order."""
        return tuple(self._adapters)

    def best(
        self, stage: Stage, server: str | None = None, tool: str | None = None, fingerprint: str | None = None
    ) -> AdapterRef | None:
        """The adapter that should speak; None means the base model.

        The adapter of the very tool or server comes first, then the generic one of the stage. `fingerprint` is that of
        the live tool (arguments) or server (select); an adapter trained for another one is retired. None skips that
        check, for callers that have no live tool.
        """
        specific = {"route": False, "select": server is not None, "arguments": server is not None and tool is not None}
        if specific[stage]:
            wanted = (stage, server, tool if stage == "arguments" else None)
            for stored in self._matching(wanted):
                if fingerprint is None or stored.manifest.schema_fingerprint == fingerprint:
                    self.retired.pop(stored.ref.path, None)
                    return stored.ref
                self._retire(stored, fingerprint)
        return next((stored.ref for stored in self._matching((stage, None, None))), None)

    def _matching(self, wanted: tuple[Stage, str | None, str | None]) -> Iterable[StoredAdapter]:
        for stored in self._adapters:
            if (stored.manifest.stage, stored.manifest.server, stored.manifest.tool) == wanted:
                yield stored

    def _take(self, folder: Path) -> None:
        if folder in self.refused or any(stored.ref.path == folder for stored in self._adapters):
            return
        try:
            manifest = load_manifest(folder)
            if manifest.base_digest in self._others:
                return
            digest = self._check(folder, manifest)
        except AdapterError as error:
            self.refused[folder] = str(error)
            logger.warning("The adapter %s is not used: %s", folder, error)
            return
        ref = AdapterRef(manifest.name, folder, digest, manifest.temperature)
        self._adapters.append(StoredAdapter(ref, manifest))

    def _check(self, folder: Path, manifest: Manifest) -> str:
        """Digest of the weights of an adapter that belongs to our base model."""
        if manifest.base_digest != self._base_digest:
            raise AdapterError(
                f"It was trained on another base model ({manifest.base_digest[:12]}, not {self._base_digest[:12]}).",
                hint="Train it again on this model, or point the config at the other one.",
            )
        for name in (CONFIG, WEIGHTS):
            if not (folder / name).is_file():
                raise AdapterError(
                    f"It has no {name}.", hint="Only PEFT folders with safetensors weights are read; save it again."
                )
        try:
            with (folder / WEIGHTS).open("rb") as weights:
                return hashlib.file_digest(weights, "sha256").hexdigest()
        except OSError as error:
            raise AdapterError(
                f"Its weights cannot be read: {error.strerror}.", hint="Check the file's permissions."
            ) from error

    def _retire(self, stored: StoredAdapter, fingerprint: str) -> None:
        path, name = stored.ref.path, stored.ref.name
        what = "tool" if stored.manifest.tool else "server"
        self.retired[path] = (
            f"The {what} has changed since the adapter was trained; the generic adapter or the base model speaks. "
            "Train it again."
        )
        if (path, fingerprint) not in self._announced:
            self._announced.add((path, fingerprint))
            logger.warning("The adapter %s is retired: %s", name, self.retired[path])

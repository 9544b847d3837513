"""Finds the adapters in folders and says which one should speak.

Owns scanning, refusing, retiring, and noticing that a folder has changed. Refuses to own: loading weights onto the
model (`engine.lora`), and writing into the folders (`shelf`).
"""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from mcp_dualtune.adapter_registry.manifest import (
    CONFIG,
    FILE_NAME,
    PARTS,
    WEIGHTS,
    Manifest,
    file_digest,
    load_manifest,
)
from mcp_dualtune.errors import AdapterError
from mcp_dualtune.types import AdapterRef, Stage

logger = logging.getLogger(__name__)

FileStamp = tuple[int, int, int, int]
"""When a file or folder was changed, its size, its place on the disk, and how many links (inner folders) it has."""
Stamp = tuple[FileStamp | None, ...]
"""Of an adapter's three files; None for a missing one."""


@dataclass(frozen=True)
class StoredAdapter:
    """An adapter that fits the base model."""

    ref: AdapterRef
    manifest: Manifest


@dataclass(frozen=True)
class Refusal:
    """Why an adapter folder is not used."""

    reason: str
    elsewhere: bool = False
    """It belongs to another base model, which is no fault in a folder that all base models share."""


class AdapterStore:
    """The adapters of some folders that belong to one base model; earlier folders win over later ones."""

    def __init__(
        self, folders: Iterable[Path], base_digest: str, others: Collection[str] = (), user: Path | None = None
    ) -> None:
        """Scan `folders` and everything below them; adapters of the base models `others` are somebody else's business.

        `user` is the one of `folders` where a user's adapters of any base model lie together; it may not be there yet.

        Raises:
            AdapterError: a folder does not exist. Unusable adapters are kept in `refused` instead.
        """
        self.base_digest = base_digest
        self.user = user
        self._folders = tuple(folders)
        self._others = others
        self._watched: dict[str, FileStamp | None] = {}
        self._seen: dict[str, Stamp] = {}
        self._known: dict[Path, tuple[Stamp, StoredAdapter | Refusal]] = {}
        self._adapters: tuple[StoredAdapter, ...] = ()
        self.retired: dict[Path, str] = {}
        """Adapter folders whose server or tool has changed since they were trained, with the reason."""
        self._announced: set[tuple[Path, str]] = set()
        for folder in self._folders:
            if folder != user and not folder.is_dir():
                raise AdapterError(
                    f"The adapter folder {folder} does not exist.", hint="Create it, or take it out of the config."
                )
        self.refresh()

    @property
    def adapters(self) -> tuple[StoredAdapter, ...]:
        """All usable adapters in look-up order, those too whose adapter below is not here (see `foundless`)."""
        return self._adapters

    @property
    def refused(self) -> dict[Path, str]:
        """Adapter folders that cannot be used, with the reason."""
        return {path: refusal.reason for path, refusal in self.refusals.items() if not refusal.elsewhere}

    @property
    def refusals(self) -> dict[Path, Refusal]:
        """All adapter folders that are not used, those of other base models too."""
        return {path: found for path, (_, found) in self._known.items() if isinstance(found, Refusal)}

    def refresh(self, *, closely: bool = False) -> bool:
        """Look whether the folders have changed, and if so, scan what is new; says whether anything had changed.

        A look costs one system call for each file and folder that is known: cheap enough for every request. It can miss
        what changes twice within a tick of the file system's clock; to look `closely` reads the folders anew.
        """
        if not closely and self._watched and all(_stamp(path) == stamp for path, stamp in self._watched.items()):
            return False
        seen = self._look()
        if seen == self._seen:
            return False
        known, self._seen, self._known = self._known, seen, {}
        for place, stamp in seen.items():
            path = Path(place)
            old = known.pop(path, None)
            self._known[path] = old if old is not None and old[0] == stamp else (stamp, self._take(path))
            if self._known[path] is not old:
                self.retired.pop(path, None)
        for path in known:
            self.retired.pop(path, None)
        self._stack()
        return True

    def _stack(self) -> None:
        """Give every adapter that was trained on top of another one that other one, wherever it lies now."""
        found = [stored for _, stored in self._known.values() if isinstance(stored, StoredAdapter)]
        below = {stored.ref.content: stored.ref for stored in reversed(found) if stored.manifest.stacked_on is None}
        self._adapters = tuple(
            replace(stored, ref=replace(stored.ref, below=below.get(stored.manifest.stacked_on)))
            if stored.manifest.stacked_on is not None
            else stored
            for stored in found
        )

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
                if fingerprint is not None and stored.manifest.schema_fingerprint != fingerprint:
                    self._retire(stored, fingerprint, drifted(stored.manifest))
                elif foundless(stored):
                    self._retire(stored, stored.manifest.stacked_on or "", outlived(stored.manifest))
                else:
                    self.retired.pop(stored.ref.path, None)
                    return stored.ref
        return next((stored.ref for stored in self._matching((stage, None, None))), None)

    def _matching(self, wanted: tuple[Stage, str | None, str | None]) -> Iterable[StoredAdapter]:
        for stored in self.adapters:
            if (stored.manifest.stage, stored.manifest.server, stored.manifest.tool) == wanted:
                yield stored

    def _look(self) -> dict[str, Stamp]:
        """Every adapter folder as it is now, in look-up order; hidden folders hold what is not in use."""
        found: dict[str, Stamp] = {}
        # Stamps are taken before anything is read: what changes meanwhile shows at the next look.
        self._watched = {str(folder): _stamp(str(folder)) for folder in self._folders}
        for folder in self._folders:
            for place, inner, files in os.walk(folder, topdown=True):
                inner[:] = sorted(name for name in inner if not name.startswith("."))
                self._watched |= {path: _stamp(path) for path in (f"{place}{os.sep}{name}" for name in inner)}
                if FILE_NAME in files and place not in found:
                    stamps = {path: _stamp(path) for path in (f"{place}{os.sep}{name}" for name in PARTS)}
                    self._watched |= stamps
                    found[place] = tuple(stamps.values())
        return found

    def _take(self, folder: Path) -> StoredAdapter | Refusal:
        try:
            manifest = load_manifest(folder)
            if manifest.base_digest in self._others:
                return Refusal("It belongs to another model in use.", elsewhere=True)
            if manifest.base_digest != self.base_digest and self.user in folder.parents:
                return Refusal(str(other_base(manifest, self.base_digest)), elsewhere=True)
            digest, settings = check_adapter(folder, manifest, self.base_digest)
        except AdapterError as error:
            logger.warning("The adapter %s is not used: %s", folder, error)
            return Refusal(str(error))
        return StoredAdapter(AdapterRef(manifest.name, folder, digest, manifest.temperature, settings), manifest)

    def _retire(self, stored: StoredAdapter, cause: str, reason: str) -> None:
        path, name = stored.ref.path, stored.ref.name
        self.retired[path] = reason
        if (path, cause) not in self._announced:
            self._announced.add((path, cause))
            logger.warning("The adapter %s is retired: %s", name, self.retired[path])


def check_adapter(folder: Path, manifest: Manifest, base_digest: str) -> tuple[str, str]:
    """Digests of weights and settings of the adapter in `folder`, which must belong to our base model.

    Raises:
        AdapterError: it belongs to another one, a file is missing, or the weights are not those of the manifest.
    """
    if manifest.base_digest != base_digest:
        raise other_base(manifest, base_digest)
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise AdapterError(
                f"It has no {name}.", hint="Only PEFT folders with safetensors weights are read; save it again."
            )
    digest = file_digest(folder / WEIGHTS)
    if manifest.weights_digest not in (None, digest):
        raise AdapterError(
            "Its weights are not the ones its manifest was written for.", hint="Train it again, or install it again."
        )
    return digest, file_digest(folder / CONFIG)


def other_base(manifest: Manifest, base_digest: str) -> AdapterError:
    """The error for an adapter of another base model."""
    return AdapterError(
        f"It was trained on another base model ({manifest.base_digest[:12]}, not {base_digest[:12]}).",
        hint="Train it again on this model, or point the config at the other one.",
    )


def drifted(manifest: Manifest) -> str:
    """What is said of an adapter whose server or tool has changed."""
    what = "tool" if manifest.tool else "server"
    return (
        f"The {what} has changed since the adapter was trained; the generic adapter or the base model speaks. "
        f"{retrain(manifest)}"
    )


def foundless(stored: StoredAdapter) -> bool:
    """Whether an adapter was trained on top of one that is not here."""
    return stored.manifest.stacked_on is not None and stored.ref.below is None


def check_below(manifest: Manifest, store: AdapterStore) -> None:
    """See whether the adapter that `manifest` was trained on top of is here, if it was trained on top of one.

    Raises:
        AdapterError: it is not.
    """
    here = {stored.ref.content for stored in store.adapters}
    if manifest.stacked_on is not None and manifest.stacked_on not in here:
        raise AdapterError(
            "The generic adapter that it was trained on top of is not here; it is for another version of the model.",
            hint=retrain(manifest),
        )


def outlived(manifest: Manifest) -> str:
    """What is said of an adapter whose adapter below is gone."""
    return (
        "The generic adapter that it was trained on top of is not here (another version of the model brings another "
        f"one); the generic adapter or the base model speaks. {retrain(manifest)}"
    )


def retrain(manifest: Manifest) -> str:
    """What to do about an adapter of a server that has changed."""
    return f"Train it again: `dualtune train {shlex.quote(manifest.server or '')}`."


def _stamp(path: str) -> FileStamp | None:
    try:
        # Looked at for every request: making a Path of each first would double the cost.
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_nlink

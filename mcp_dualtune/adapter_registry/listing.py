"""Every adapter there is and how it stands: in use, or why not.

Owns that judgement. Refuses to own: asking servers for their tools (the caller brings fingerprints) and the look.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mcp_dualtune.adapter_registry.manifest import WEIGHTS, Manifest, load_manifest
from mcp_dualtune.adapter_registry.store import AdapterStore, StoredAdapter, drifted, foundless, outlived
from mcp_dualtune.errors import AdapterError
from mcp_dualtune.types import Stage

State = Literal["in use", "shadowed", "retired", "refused", "idle", "unchecked"]
"""`idle`: nothing that is configured asks for it. `unchecked`: it would be used if its server is as it was."""
Origin = Literal["user", "config", "model"]
"""Installed by the user, named in the config, or brought along by the model."""
Live = Mapping[tuple[str, str | None], str]
"""Fingerprints of the servers (tool None) and tools as they are now."""


@dataclass(frozen=True)
class Seated:
    """The adapters of one model, and the stages that it sits in."""

    store: AdapterStore
    stages: Collection[Stage]


@dataclass(frozen=True)
class Listed:
    """One adapter folder."""

    folder: Path
    origin: Origin
    state: State
    reason: str = ""
    manifest: Manifest | None = None
    """None where it cannot be read."""
    digest: str | None = None
    """sha256 hex of the weights; None for a refused adapter."""
    served_as: str | None = None
    """What a model server calls it."""

    @property
    def name(self) -> str:
        """The adapter's name, or its folder's where it cannot say its own."""
        return self.manifest.name if self.manifest else self.folder.name

    @property
    def megabytes(self) -> float:
        """Size of the weights."""
        weights = self.folder / WEIGHTS
        return weights.stat().st_size / 1e6 if weights.is_file() else 0.0

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        known = self.manifest
        return {
            "name": self.name,
            "stage": known and known.stage,
            "server": known and known.server,
            "tool": known and known.tool,
            "base": known and known.base_digest,
            "rank": known and known.rank,
            "stacked_on": known and known.stacked_on,
            "megabytes": round(self.megabytes, 2),
            "before": known and known.scores.before,
            "after": known and known.scores.after,
            "examples": known and known.data.size,
            "sources": known and dict(known.data.sources),
            "licence": known and known.licence,
            "state": self.state,
            "reason": self.reason,
            "origin": self.origin,
            "digest": self.digest,
            "served_as": self.served_as,
            "folder": str(self.folder),
        }


def list_adapters(
    seats: Sequence[Seated], live: Live, configured: Collection[str], model_folders: Collection[Path]
) -> tuple[Listed, ...]:
    """Every adapter in the folders of `seats`, by name.

    Args:
        seats: the stores of the models in use.
        live: what the servers offer now; a server without an entry could not be asked.
        configured: names of the servers in the config.
        model_folders: folders that come with a model.
    """
    used: dict[Path, Listed] = {}
    refused: dict[Path, Listed] = {}
    for seat in seats:
        store = seat.store
        for stored in store.adapters:
            path, manifest = stored.ref.path, stored.manifest
            state, reason = _state(seat, stored, live, configured)
            origin, ref = _origin(path, store, model_folders), stored.ref
            used[path] = Listed(path, origin, state, reason, manifest, ref.digest, ref.served_name)
        for path, refusal in store.refusals.items():
            # A fault counts more than belonging to a neighbour.
            if path not in refused or not refusal.elsewhere:
                origin = _origin(path, store, model_folders)
                refused[path] = Listed(path, origin, "refused", refusal.reason, _readable(path))
    found = {**refused, **used}.values()
    return tuple(sorted(found, key=_order))


def _order(one: Listed) -> tuple[str, str, bool, Path]:
    """By name and base model, the one in use first."""
    return one.name, one.manifest.base_digest if one.manifest else "", one.state != "in use", one.folder


def _state(seat: Seated, stored: StoredAdapter, live: Live, configured: Collection[str]) -> tuple[State, str]:
    manifest, store = stored.manifest, seat.store
    if manifest.stage not in seat.stages:
        return "idle", f"Another model sits in the {manifest.stage} stage."
    fingerprint = None
    if manifest.server is not None:
        if manifest.server not in configured:
            return "idle", f"The config has no server {manifest.server!r}."
        fingerprint = live.get((manifest.server, manifest.tool))
        if fingerprint is None and (manifest.server, None) in live:
            return "retired", f"The server no longer offers the tool {manifest.tool!r}."
        if fingerprint not in (None, manifest.schema_fingerprint):
            return "retired", drifted(manifest)
    if foundless(stored):
        return "retired", outlived(manifest)
    speaker = store.best(manifest.stage, manifest.server, manifest.tool, fingerprint)
    if speaker is not None and speaker.path != stored.ref.path:
        return "shadowed", f"The adapter in {speaker.path} comes first."
    if manifest.server is not None and fingerprint is None:
        return "unchecked", f"The server {manifest.server!r} was not asked for its tools."
    return "in use", ""


def _origin(path: Path, store: AdapterStore, model_folders: Collection[Path]) -> Origin:
    if store.user is not None and store.user in path.parents:
        return "user"
    return "model" if any(folder == path or folder in path.parents for folder in model_folders) else "config"


def _readable(folder: Path) -> Manifest | None:
    try:
        return load_manifest(folder)
    except AdapterError:
        return None

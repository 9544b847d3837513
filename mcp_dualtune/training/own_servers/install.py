"""Puts the adapters that a run has kept among the user's own, each in the place of the one it is better than."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcp_dualtune.adapter_registry.manifest import WEIGHTS, adapters_in, file_digest, load_manifest
from mcp_dualtune.adapter_registry.package import staged
from mcp_dualtune.adapter_registry.user import UserAdapters
from mcp_dualtune.training.own_servers.outcome import Made

REPLACING, NEW, BEFORE = STATES = "installed, replacing one", "installed", "installed before"
"""What became of the adapters of one training; the first that is true of some of them."""


@dataclass(frozen=True)
class Installed:
    """What one training came to, in use now."""

    name: str
    kind: str
    state: str

    @property
    def name_and_kind(self) -> tuple[str, str]:
        """What tells it from the others of a run."""
        return self.name, self.kind

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {"name": self.name, "kind": self.kind, "state": self.state}


def install(kept: Sequence[Made], place: Path) -> tuple[Installed, ...]:
    """Install all of `kept`; one that is there already is left alone, so that what it replaced stays for undo.

    Raises:
        AdapterError: the folder of the user's adapters cannot be changed.
    """
    known = {_identity(path) for path in adapters_in(place)}
    done = []
    for made in kept:
        states = set()
        for adapter in made.adapters:
            if _identity(adapter) in known:
                states.add(BEFORE)
                continue
            with staged(adapter, place) as found:
                replaced = UserAdapters(place).put(found)
            states.add(REPLACING if replaced else NEW)
        done.append(Installed(made.name, made.kind, min(states, key=STATES.index)))
    return tuple(done)


def _identity(folder: Path) -> tuple[str, str]:
    """What an adapter is for, and its weights: those of one training may serve several tools."""
    return load_manifest(folder).name, file_digest(folder / WEIGHTS)

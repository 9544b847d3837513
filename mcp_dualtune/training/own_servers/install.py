"""Puts the adapters that a run has kept among the user's own, each in the place of the one it is better than."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcp_dualtune.adapter_registry.manifest import WEIGHTS, file_digest
from mcp_dualtune.adapter_registry.package import staged
from mcp_dualtune.adapter_registry.user import UserAdapters
from mcp_dualtune.training.own_servers.outcome import Made


@dataclass(frozen=True)
class Installed:
    """One adapter that is in use now."""

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
    known = {file_digest(path) for path in place.rglob(WEIGHTS) if ".replaced" not in path.parts}
    done = []
    for made in kept:
        assert made.folder is not None
        if file_digest(made.folder / WEIGHTS) in known:
            done.append(Installed(made.name, made.kind, "installed before"))
            continue
        with staged(made.folder, place) as found:
            replaced = UserAdapters(place).put(found)
        done.append(Installed(made.name, made.kind, "installed, replacing one" if replaced else "installed"))
    return tuple(done)

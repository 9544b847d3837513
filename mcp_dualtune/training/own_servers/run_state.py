"""What a run has done so far, so that the same command goes on after an interruption.

Owns the folder of one run and its `state.json`. The folder's name is a hash of all that the result depends on: another
server, another seed, other examples or another model is another run.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mcp_dualtune.state import read_private, write_private
from mcp_dualtune.types import JSON, canonical

FILE = "state.json"
RECIPE = 4
"""Raised with every change that makes other adapters of the same material."""


@dataclass
class RunState:
    """One run's folder and record."""

    folder: Path
    record: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def open(cls, root: Path, server: str, content: Mapping[str, JSON], *, again: bool = False) -> RunState:
        """The run of exactly this content: where it stopped, or at its beginning (always so with `again`)."""
        key = hashlib.sha256(canonical({"recipe": RECIPE, **content}).encode()).hexdigest()[:12]
        words = "".join(character if character.isalnum() else "-" for character in server)
        folder = root / f"{words}-{key}"
        if again:
            shutil.rmtree(folder, ignore_errors=True)
        state = cls(folder, json.loads(read_private(folder / FILE) or "{}"))
        (folder / "adapters").mkdir(parents=True, exist_ok=True)
        return state

    @property
    def adapters(self) -> Path:
        """The adapters of this run that are better than what they would replace."""
        return self.folder / "adapters"

    @property
    def refitted(self) -> Path:
        """Those of them that were trained once more on everything; what `adapters` has is what was measured."""
        return self.folder / "refitted"

    @property
    def seconds(self) -> float:
        """Time that was spent before this start."""
        return float(self.record.get("seconds", 0.0))

    def get(self, *keys: str) -> Any:
        """What was kept under `keys`, None where nothing was."""
        found: Any = self.record
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        return found

    def put(self, value: JSON, *keys: str, seconds: float | None = None) -> None:
        """Keep `value` under `keys`, and the time spent so far."""
        at = self.record
        for key in keys[:-1]:
            at = at.setdefault(key, {})
        at[keys[-1]] = value
        if seconds is not None:
            self.record["seconds"] = seconds
        write_private(self.folder / FILE, json.dumps(self.record, indent=1))

    def tidy(self) -> None:
        """Throw the checkpoints away: nothing is left to go on with."""
        shutil.rmtree(self.folder / "checkpoints", ignore_errors=True)

"""What a run came to: before and after, adapter by adapter and as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mcp_dualtune.adapter_registry.manifest import WEIGHTS, adapters_in
from mcp_dualtune.training.own_servers.measuring import CONFUSIONS, Tally, Whole


@dataclass(frozen=True)
class Made:
    """What one training came to: one adapter, or one for each tool."""

    name: str
    kind: str
    before: float | None
    """Share of right answers of its stage on the gate's requests under the adapter in use, as `judging` weighs them."""
    after: float | None
    cases: int
    kept: bool
    reason: str = ""
    """Why it was not kept."""
    folder: Path | None = None
    """Where what is kept lies, see `adapters`."""
    megabytes: float = 0.0
    seconds: float = 0.0
    gathered: int = 0
    """How many of the cases were not made up, and how many of these were right."""
    gathered_before: int = 0
    gathered_after: int = 0
    refitted: bool = False
    """Whether what lies in `folder` has learnt from all that was gathered; the shares are those of the first one."""

    @property
    def adapters(self) -> list[Path]:
        """The folders of the adapters that are kept."""
        return adapters_in(self.folder) if self.folder else []

    def to_json(self) -> dict[str, Any]:
        """For programs, and for the run's record."""
        return {
            "name": self.name, "kind": self.kind, "before": rounded(self.before), "after": rounded(self.after),
            "cases": self.cases, "kept": self.kept, "reason": self.reason, "megabytes": round(self.megabytes, 3),
            "seconds": round(self.seconds, 1), "folder": str(self.folder) if self.folder else None,
            "gathered": self.gathered, "gathered_before": self.gathered_before, "gathered_after": self.gathered_after,
            "refitted": self.refitted,
        }  # fmt: skip

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Made:
        """The inverse of `to_json`."""
        return cls(**{**row, "folder": Path(row["folder"]) if row["folder"] else None})


@dataclass(frozen=True)
class Outcome:
    """One server's run."""

    server: str
    made: tuple[Made, ...]
    before: Mapping[str, Any]
    """`summary` of whole decisions on the report's requests, under the adapters in use."""
    after: Mapping[str, Any]
    sources: Mapping[str, int]
    skipped: Mapping[str, str]
    seconds: float
    folder: Path
    resumed: bool = False
    unreached: tuple[str, ...] = field(default=())
    """Adapters that the time did not reach."""
    not_refitted: tuple[str, ...] = field(default=())
    """Kept adapters that the time did not reach once more: they are as measured, and have not learnt from all."""

    @property
    def kept(self) -> tuple[Made, ...]:
        """Adapters that are better than what they replace."""
        return tuple(made for made in self.made if made.kept)

    @property
    def megabytes(self) -> float:
        """Of the adapters that are kept."""
        return sum(made.megabytes for made in self.kept)

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "server": self.server, "before": self.before, "after": self.after,
            "adapters": [made.to_json() for made in self.made], "unreached": list(self.unreached),
            "not_refitted": list(self.not_refitted),
            "megabytes": round(self.megabytes, 2), "requests": dict(self.sources), "skipped": dict(self.skipped),
            "seconds": round(self.seconds, 1), "resumed": self.resumed, "folder": str(self.folder),
        }  # fmt: skip


def summary(whole: Whole) -> dict[str, Any]:
    """The shares of whole decisions and what was most often taken for what."""

    def share(tally: Tally) -> dict[str, Any]:
        return {"value": rounded(tally.share), "right": tally.right, "total": tally.total}

    confusions = [
        {"right": right, "decided": decided, "times": times}
        for (right, decided), times in whole.tool.confusions.most_common(CONFUSIONS)
    ]
    return {
        "tool": share(whole.tool), "full_call": share(whole.call), "decision": share(whole.decision),
        "confusions": confusions,
    }  # fmt: skip


def megabytes(folder: Path) -> float:
    """Size of the weights of all adapters in a folder."""
    return sum((adapter / WEIGHTS).stat().st_size for adapter in adapters_in(folder)) / 1e6


def rounded(share: float | None) -> float | None:
    """Four places, as everywhere in our JSON."""
    return None if share is None else round(share, 4)

"""Results of two ways to the same server side by side, as a table for people and a verdict for machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tests.conformance.suites import Outcome

NOT_RUN = Outcome(0, ("not run",))


@dataclass(frozen=True)
class Comparison:
    """One run of a suite in several ways: the second is measured against the first, further ones are only shown."""

    title: str
    ways: Mapping[str, Mapping[str, Outcome]]
    """By the name of the way: outcomes by scenario."""
    scored: frozenset[str] | None = None
    """The scenarios that count; None when all do."""

    @property
    def scenarios(self) -> list[str]:
        """All scenarios; those that count come first."""
        first = next(iter(self.ways.values()))
        return sorted(first, key=lambda name: (not self.counts(name), list(first).index(name)))

    def counts(self, scenario: str) -> bool:
        """Whether a scenario is scored."""
        return self.scored is None or scenario in self.scored

    def lost(self) -> dict[str, tuple[str, ...]]:
        """The scored scenarios that pass the first way and not the second, with the problems."""
        reference, judged, *_ = self.ways.values()
        return {
            name: judged.get(name, NOT_RUN).problems
            for name, outcome in reference.items()
            if self.counts(name) and outcome.good and not judged.get(name, NOT_RUN).good
        }

    def table(self) -> str:
        """A table in Markdown, and a list that counts."""
        rows = [["scenario", *self.ways]]
        for name in self.scenarios:
            shown = name if self.counts(name) else f"{name} (not scored)"
            rows.append([shown, *(str(way.get(name, NOT_RUN)) for way in self.ways.values())])
        widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
        rows.insert(1, ["-" * width for width in widths])
        padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
        lines = [f"| {' | '.join(row)} |" for row in padded]
        return "\n".join([f"### {self.title}", "", *lines, "", self.count()])

    def count(self) -> str:
        """How many scored scenarios and checks each way passes."""
        said = []
        for way, outcomes in self.ways.items():
            counted = [outcome for name, outcome in outcomes.items() if self.counts(name)]
            checks = sum(outcome.passed + len(outcome.problems) for outcome in counted)
            passed = sum(outcome.passed for outcome in counted)
            good = sum(outcome.good for outcome in counted)
            said.append(f"- {way}: {good} of {len(counted)} scored scenarios, {passed} of {checks} checks.")
        return "\n".join(said)

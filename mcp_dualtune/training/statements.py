"""Trains the adapter that reads the parts of a statement (`pipeline/statements.py`), for any server that takes SQL.

Requests with their SQL come from `written/statements.jsonl`, the phrases for the sqlite server, and `training/sql.py`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer

from mcp_dualtune.pipeline.statements import ACTIONS, ADAPTER, FINGERPRINT, SERVER, SKETCHES, choose_action
from mcp_dualtune.prompting.reading import PAGE_TOKENS, ReadingTemplate
from mcp_dualtune.training.augment import noisy
from mcp_dualtune.training.cases import CaseMaker
from mcp_dualtune.training.encoder_adapters import ToolReadingTrainer, groups
from mcp_dualtune.training.loop import Plan
from mcp_dualtune.training.lora import Job
from mcp_dualtune.training.reading import Reading, readings
from mcp_dualtune.training.records import Case
from mcp_dualtune.training.sketches import as_said, taken_apart
from mcp_dualtune.training.sources import Corpus, written
from mcp_dualtune.training.sql import STATEMENTS
from mcp_dualtune.types import AdapterRef, ServerSpec, ToolSpec

ASKED_OF = "sqlite"
"""The server with phrases."""
MADE_UP, PHRASES = 0.25, 0.25
"""Shares of requests that are made up, and that are phrases; the rest were written for this."""
ACTION, ANY_ACTION, NOISY = 0.6, 0.3, 0.1
"""Shares of requests that also teach which action is asked for, of these among all five, and of those with slips."""
WRITTEN_OUT = 0.3
"""Share that is kept of the phrases that have the statement written out."""
CHANGES_ROWS = ("insert", "update", "delete")
RANK, HELD_OUT = 8, 150


class StatementPages:
    """Pages of requests with their SQL."""

    def __init__(self, template: ReadingTemplate, cases: CaseMaker) -> None:
        self._template, self._cases = template, cases
        self._server = ServerSpec(SERVER, "", tuple(SKETCHES.values()), "")
        self._rows = [(row["text"], row["query"]) for row in written("statements")]
        self._phrased = [entry for entry in cases.corpus.entries[ASKED_OF] if entry.tool in STATEMENTS]

    def drawn(self, rng: random.Random) -> list[Reading]:
        """What is learnt from one request; nothing where no sketch can say its statement."""
        roll = rng.random()
        if roll < MADE_UP:
            return self._learnt(*STATEMENTS[rng.choice(sorted(STATEMENTS))](rng), rng)
        if roll < MADE_UP + PHRASES:
            return self.phrase(rng)
        text, query = rng.choice(self._rows)
        return self._learnt(noisy(text, [], rng) if rng.random() < NOISY else text, query, rng)

    def phrase(self, rng: random.Random) -> list[Reading]:
        """The same of a request to the sqlite server, which may have the statement written out."""
        case = self._cases.single(ASKED_OF, rng.choice(self._phrased), rng)
        query = str((case.arguments or {}).get("query", ""))
        if query:
            kept = query not in case.query or rng.random() < WRITTEN_OUT
            return self._learnt(case.query, query, rng) if kept else []
        return self._page(case.query, SKETCHES["show" if case.tool == "read_query" else "create"], {})

    def _learnt(self, text: str, query: str, rng: random.Random) -> list[Reading]:
        found = taken_apart(query)
        if found is None:
            return []
        action, parts = found
        if not all(name in text for name in (parts["table"], *parts.get("columns", ()))):
            return []  # a slip in a name
        pages = self._page(text, SKETCHES[action], as_said(parts, text))
        actions = tuple(SKETCHES) if rng.random() < ANY_ACTION else CHANGES_ROWS
        if action in actions and rng.random() < ACTION:
            pages += self._page(text, choose_action(actions), {"action": ACTIONS[action]})
        return pages

    def _page(self, text: str, sketch: ToolSpec, parts: dict[str, Any]) -> list[Reading]:
        return readings(self._template, Case(text, self._server, sketch.name, parts), sketch, PAGE_TOKENS)


class StatementTrainer(ToolReadingTrainer):
    """One adapter for all sketches, on top of the generic reading adapter."""

    rank = RANK

    def __init__(
        self, base: Path, corpus: Corpus, runs: Path, output: Path, device: torch.device, below: AdapterRef
    ) -> None:
        super().__init__(base, corpus, runs, output, device, below)
        template = ReadingTemplate(AutoTokenizer.from_pretrained(base))
        self._learnt, self._kept = (StatementPages(template, maker.cases) for maker in (self.maker, self.judge))

    @staticmethod
    def job(plan: Plan) -> Job:
        """The one there is."""
        return Job("arguments", plan, SERVER, ADAPTER, FINGERPRINT, f"reading/{SERVER}")

    def items(self, job: Job, at: int) -> Iterator[Any]:
        """Pages of one request each."""
        return groups(self._learnt.drawn, job.folder, at)

    def held_out(self, job: Job) -> Mapping[str, Sequence[Any]]:
        """Held-out requests to the sqlite server."""
        source = groups(self._kept.phrase, f"judge/{job.folder}", 0)
        return {"own": [next(source) for _ in range(HELD_OUT)]}

    def _unlearnt(self, job: Job) -> Sequence[Any]:
        return self.held_out(job)["own"]

"""One decision: the three stages in order.

Owns which stage runs next, how many servers are asked for a tool, and the thresholds. Blocking code without
state between requests: it runs inside the engine's worker thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from threading import Event
from time import perf_counter

from mcp_dualtune.adapter_registry.store import AdapterStore
from mcp_dualtune.catalog.catalog import Catalog
from mcp_dualtune.config import ThresholdSettings
from mcp_dualtune.engine.base import Engine
from mcp_dualtune.errors import AdapterError
from mcp_dualtune.pipeline.arguments import Filled, fill
from mcp_dualtune.pipeline.confidence import ASKED, RUNNER_UP, declined, product
from mcp_dualtune.pipeline.reading import Reader
from mcp_dualtune.pipeline.route import route
from mcp_dualtune.pipeline.select import select
from mcp_dualtune.pipeline.stages import Choice, Parts, Seat
from mcp_dualtune.security.untrusted import clean_server
from mcp_dualtune.types import FINISH, NONE, Decision, Outcome, Request, ServerSpec, StageRecord, ToolCall

CHANGES = 4
"""How often the adapters may change under one decision before it is given up."""


class Pipeline:
    """Decides requests with the models that sit in its stages. Not thread-safe: it runs where its engines run."""

    def __init__(
        self,
        filling: Seat,
        choosing: Seat | None = None,
        thresholds: ThresholdSettings | None = None,
        reader: Reader | None = None,
        routing: Seat | None = None,
    ) -> None:
        """`filling` writes the arguments; `choosing` ranks servers and tools, and is the same model when left out.

        The `reader` is asked for arguments first, `filling` for what it left open. `routing` ranks the servers instead
        of `choosing`.
        """
        self.filling, self.choosing, self.reader = filling, choosing or filling, reader
        self.routing = routing or self.choosing
        self._thresholds = thresholds or ThresholdSettings()
        tokenizers = (self.filling.engine.tokenizer, self.choosing.engine.tokenizer, self.routing.engine.tokenizer)
        self._special = tuple({token for tokenizer in tokenizers for token in tokenizer.all_special_tokens})
        self._clean: dict[str, tuple[ServerSpec, ServerSpec]] = {}

    @classmethod
    def for_engine(
        cls, engine: Engine, adapters: AdapterStore, thresholds: ThresholdSettings | None = None
    ) -> Pipeline:
        """One model in all stages.

        Raises:
            EngineError: the model's tokenizer has no template we can prompt it with.
        """
        return cls(Seat.of(engine, adapters), thresholds=thresholds)

    def decide(self, request: Request, catalog: Catalog, cancel: Event) -> Decision:
        """Decide what to do next for `request`.

        Raises:
            CatalogError: the request names a server that is not in the catalog.
            EngineError: the model cannot answer (too long, no grammar).
            Cancelled: `cancel` was set.
        """
        started = perf_counter()
        offered = catalog.restrict(request.servers) if request.servers is not None else catalog
        self.refresh()
        for left in reversed(range(CHANGES)):
            try:
                decision = self._run(request, offered, cancel).decide()
                break
            except AdapterError:
                # It may have been replaced or removed between the look and the loading, and be back by now.
                if not left:
                    raise
                self.refresh(closely=True)
        return replace(decision, ms=(perf_counter() - started) * 1000)

    def refresh(self, *, closely: bool = False) -> bool:
        """Take notice of adapters that came, went or changed since the last decision, and of exemplars; says whether
        any did."""
        readers = (self.reader.adapters,) if self.reader else ()
        seats = (self.filling, self.choosing, self.routing)
        watched = dict.fromkeys([*(s.adapters for s in seats), *readers, *(s.exemplars for s in seats)])
        changed = [one.refresh(closely=closely) for one in watched]
        return any(changed)

    def _run(self, request: Request, offered: Catalog, cancel: Event) -> _Run:
        stages = Parts(self.routing, cancel), Parts(self.choosing, cancel), Parts(self.filling, cancel)
        return _Run(*stages, request, offered, self._thresholds, self._shown(offered), self.reader)

    def _shown(self, catalog: Catalog) -> dict[str, ServerSpec]:
        """The servers as the model may see them; cleaned once for each version of a server."""
        shown = {}
        for server in catalog.servers:
            known = self._clean.get(server.name)
            if known is None or known[0] is not server:
                known = self._clean[server.name] = (server, clean_server(server, self._special))
            shown[server.name] = known[1]
        return shown


def worth_asking(options: Sequence[tuple[str, float]]) -> list[str]:
    """The likeliest server, and others that may have the better tool: likely beside it, and likelier than no server."""
    servers = [(name, probability) for name, probability in options if name != NONE]
    least = max(RUNNER_UP * servers[0][1], dict(options).get(NONE, 0.0))
    return [servers[0][0], *(name for name, probability in servers[1:ASKED] if probability >= least)]


class _Run:
    """The stages of one decision, growing its list of records."""

    def __init__(
        self,
        routing: Parts,
        choosing: Parts,
        filling: Parts,
        request: Request,
        catalog: Catalog,
        thresholds: ThresholdSettings,
        shown: Mapping[str, ServerSpec],
        reader: Reader | None,
    ) -> None:
        self.routing, self.choosing, self.filling, self.request = routing, choosing, filling, request
        self.catalog, self.thresholds, self.shown, self.reader = catalog, thresholds, shown, reader
        self.records: list[StageRecord] = []

    def decide(self) -> Decision:
        if not self.shown:
            return self._end("none", 1.0)
        routed = route(self.routing, self.request, tuple(self.shown.values()))
        servers = dict(routed.options)
        nothing = servers.get(NONE, 0.0)
        if routed.record.choice == NONE or declined(nothing, self.thresholds.nothing, routed.record.adapter):
            self.records.append(routed.of(NONE))
            return self._end("none", nothing)
        self.records.append(routed.record)
        if routed.record.probability < self.thresholds.none:
            return self._end("none", 1.0 - routed.record.probability)
        offers = []
        for name in worth_asking(routed.options):
            chosen = select(self.choosing, self.request, self.shown[name])
            if chosen.record.choice == NONE:
                self.records.append(chosen.record)
                nothing += servers[name] * chosen.record.probability
            else:
                offers.append((servers[name] * chosen.record.probability, name, chosen))
        if offers:
            _, name, chosen = max(offers, key=lambda offer: offer[0])
            self.records.append(chosen.record)
            return self._chosen(name, servers[name], chosen)
        # Nothing fits if the route stage says so, or any server asked does: the sum over those ways.
        return self._end("none", min(nothing, 1.0))

    def _chosen(self, name: str, routed: float, chosen: Choice) -> Decision:
        """What the likeliest tool comes to; where that very call was made already, the next likely option counts."""
        server = replace(self.catalog.server(name), context=self.shown[name].context)
        done = {item.call.key for item in self.request.history}
        left = 1.0
        for option, probability in chosen.options:
            record = replace(chosen.record, choice=option, probability=probability / left)
            if option in (FINISH, NONE):
                return self._end("finish", routed * record.probability)
            if record.probability < self.thresholds.none:
                return self._end("none", 1.0 - record.probability)
            tool = next(tool for tool in self.shown[name].tools if tool.name == option)
            # The model reads the cleaned schema; the two differ in texts only, so the answer is valid for both.
            filled = fill(self.filling, self.request, server, tool, self.thresholds.ask, self.reader)
            if filled.missing or ToolCall(name, option, filled.arguments).key not in done:
                break
            left -= probability
        else:
            return self._end("finish", routed)
        self.records[-1] = record
        self.records.append(filled.record)
        return self._filled(name, tool.name, filled, routed * product([record, filled.record]))

    def _filled(self, server: str, tool: str, filled: Filled, confidence: float) -> Decision:
        outcome: Outcome = "ask" if filled.missing else "call"
        return Decision(
            outcome, server, tool, filled.arguments, filled.missing, filled.question, confidence,
            tuple(self.records), filled.provenance, 0.0,
        )  # fmt: skip

    def _end(self, outcome: Outcome, confidence: float) -> Decision:
        return Decision(outcome, None, None, {}, (), None, confidence, tuple(self.records), {}, 0.0)

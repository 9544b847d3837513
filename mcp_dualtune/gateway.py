"""The composition root: builds the parts from the config, starts and stops them, and answers the front doors.

Owns who is connected to whom, what is ready when, and the check of a request. It decides nothing and knows no wire
format.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from functools import partial
from threading import Event
from types import TracebackType

import anyio

from mcp_dualtune.agent.ambient import request_facts
from mcp_dualtune.agent.loop import Actions, Ask, Confirm, Report, call_checked, run
from mcp_dualtune.catalog.catalog import Catalog, SkippedTool
from mcp_dualtune.catalog.shortlist import rank_tools
from mcp_dualtune.config import Config, default_path
from mcp_dualtune.config.changes import Changes, compare, live_settings
from mcp_dualtune.config.watch import follow as follow_file
from mcp_dualtune.downstream.audited import Audited
from mcp_dualtune.downstream.connection import Progress
from mcp_dualtune.downstream.offers import Offers
from mcp_dualtune.downstream.pool import Pool, ServerState
from mcp_dualtune.downstream.questions import Caller, Forwarded
from mcp_dualtune.engine.worker import EngineWorker
from mcp_dualtune.errors import DualTuneError, RequestError, ServerUnavailable, leaf_error
from mcp_dualtune.live_catalog import LiveCatalog
from mcp_dualtune.models import load_pipeline
from mcp_dualtune.pipeline.decide import Pipeline
from mcp_dualtune.security.pins import Pins
from mcp_dualtune.security.policy import Policy
from mcp_dualtune.security.redact import Redactor, declared_secrets
from mcp_dualtune.tracing.events import AUDIT
from mcp_dualtune.tracing.recorder import Recorder, RequestTrace, Sink
from mcp_dualtune.tracing.sinks import JsonLinesSink, StderrSink
from mcp_dualtune.types import JSON, Decision, Request, ToolCall, ToolResult, ToolSpec, Trajectory

logger = logging.getLogger(__name__)

SETTLE_GRACE = 2.0
"""Seconds beyond the slowest server's own start limit before we go on without it."""


class Gateway:
    """Everything behind the front doors; enter it to start, exit it (in the same task) to stop.

    Args:
        config: servers and settings.
        pipeline: makes the pipeline, instead of loading the configured models; runs in the model's thread.
        catalog: decided over instead of the servers' own tools; calls are not possible then.
        verbose: also write the trace to standard error.
        follow: while running, take over every change of the file that the config came from (else of the default file).
    """

    def __init__(
        self,
        config: Config,
        *,
        pipeline: Callable[[], Pipeline] | None = None,
        catalog: Catalog | None = None,
        verbose: bool = False,
        follow: bool = False,
    ) -> None:
        self.config = config
        self.changed: list[Callable[[], None]] = []
        """Called without arguments whenever the catalog may have changed; must not block."""
        settings = config.settings
        sinks: list[Sink] = [StderrSink()] if verbose else []
        if settings.trace.file:
            sinks.append(JsonLinesSink(settings.trace.file))
        audit = settings.audit
        if audit.file:
            sinks.append(JsonLinesSink(audit.file, AUDIT, audit.max_bytes, audit.keep))
        self._secrets = set(declared_secrets(config))
        self._redactor = Redactor(self._secrets)
        self._recorder = Recorder(sinks, lambda value: self._redactor.value(value))
        self._policy = _policy(config)
        self._given = catalog
        self._pool = Pool(() if catalog else config.servers, self._on_change)
        self.offers = Offers(self._pool)
        """What the servers offer besides tools, and the requests for it."""
        self._began = 0.0
        self._worker = EngineWorker(pipeline or partial(load_pipeline, settings))
        self._live = LiveCatalog(config.servers, self._pool, Pins(settings.pins, settings.state))
        self._followed = (config.path or default_path()) if follow else None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Gateway:
        async with AsyncExitStack() as stack:
            stack.callback(self._recorder.close)
            stack.push_async_callback(self._worker.aclose)
            if self.config.settings.expose == "none":
                self._worker.start()
            await stack.enter_async_context(self._pool)
            await stack.enter_async_context(self.offers)
            self._began = anyio.current_time()
            if self._followed is not None:
                tasks = await stack.enter_async_context(anyio.create_task_group())
                stack.callback(tasks.cancel_scope.cancel)
                tasks.start_soon(follow_file, self._followed, self.reload)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        try:
            return await self._stack.__aexit__(kind, error, trace)
        except BaseExceptionGroup as group:
            if leaf_error(group) is not error:
                raise
            # The pool's task group wraps whatever was raised inside it; the caller gets its own error back.
            return False

    @property
    def catalog(self) -> Catalog:
        """The tools of all servers that are ready now, or the catalog given."""
        return self._given or self._live.catalog

    @property
    def skipped_tools(self) -> Mapping[str, tuple[SkippedTool, ...]]:
        """By server: tools it lists that cannot be used or wait for an approval, with reasons."""
        return self._live.skipped

    def server_states(self) -> tuple[ServerState, ...]:
        """How every configured server is at this moment."""
        return self._pool.states()

    def reload(self, config: Config) -> Changes:
        """Run under `config` from now on, as far as that is possible without a restart, and say what changes.

        Only servers that changed are started again, after their running calls; model, thresholds, exposure, trace and
        listening address stay as they were at the start.
        """
        changes = compare(self.config, config)
        if not changes:
            return changes
        logger.info("The config has changed: %s.", changes)
        if changes.postponed:
            logger.warning("Restart to use what changed in %s.", ", ".join(changes.postponed))
        self.config = replace(config, settings=live_settings(self.config.settings, config.settings))
        self._policy = _policy(self.config)
        # What was secret stays secret: calls of the old servers may still be running.
        self._secrets |= set(declared_secrets(config))
        self._redactor = Redactor(self._secrets)
        if self._given is None:
            self._pool.update(config.servers)
            self._live.follow(config.servers, changes)
            self.offers.follow(config.servers)
            self._announce()
        return changes

    def instructions(self, server: str) -> str | None:
        """The instructions of a server, as far as they are trusted."""
        return self._live.instructions(server)

    @property
    def held_tools(self) -> Mapping[tuple[str, str], str]:
        """By server and tool: why a tool is not offered until the user approves it (`dualtune pins`)."""
        return self._live.held

    @property
    def model_ready(self) -> bool:
        """Whether the model is loaded; requests wait for it."""
        return self._worker.ready

    async def wait_ready(self, names: tuple[str, ...] | None = None) -> None:
        """Wait until every server (of `names`) is ready or has failed once, at most their `start_timeout`."""
        waited = [server for server in self.config.servers if names is None or server.name in names]
        if not waited or self._given is not None:
            return
        if not self._live.has(waited):
            limit = max(server.options.start_timeout for server in waited) + SETTLE_GRACE
            await self._pool.wait(limit, [server.name for server in waited])
        for name in self._live.approved_since(waited):
            self._on_change(name)

    async def wait_start(self, patience: float) -> None:
        """Wait until every server is ready or has failed once, at most until `patience` seconds after the start."""
        left = self._began + patience - anyio.current_time()
        if left > 0 and self._given is None:
            await self._pool.wait(left)

    async def plan(self, request: Request) -> Decision:
        """Decide what would be done for `request`; nothing is called.

        Raises:
            RequestError: the request is empty or too long.
            CatalogError: it names a server that does not exist.
            ServerUnavailable: no server (of those named) is ready.
            EngineError: the model cannot be loaded or cannot answer.
        """
        with self._traced(request) as trace:
            decision = await self._decide(await self._prepare(request))
            trace.decision(decision)
        return decision

    async def do(
        self,
        request: Request,
        *,
        max_steps: int | None = None,
        progress: Report | None = None,
        watch: Progress | None = None,
        ask: Ask | None = None,
        confirm: Confirm | None = None,
        caller: Caller | None = None,
    ) -> Trajectory:
        """Carry out `request` in as many calls as it takes, at most `max_steps`.

        Args:
            progress: gets every step when its result is there.
            watch: gets what a server says about its progress while a call runs.
            ask: gets a decision that misses values; gives them by name, or None.
            confirm: gets a call that needs a yes, and why; gives the answer. Without it such calls are not made.
            caller: who is asked what a server asks while a call runs.

        Raises:
            DualTuneError: as `plan`, and DownstreamError when the first call fails.
        """
        limits = self.config.settings.limits
        if max_steps is not None:
            limits = replace(limits, steps=min(max_steps, limits.steps))
        with self._traced(request) as trace:
            call = partial(self._call, trace, watch=watch, caller=caller)
            actions = Actions(self._decide, call, self._tool, self._policy, ask, confirm, progress, trace)
            trajectory = await run(await self._prepare(request), actions, limits)
            trace.end(trajectory)
        return replace(trajectory, request=request)

    def find_tools(self, query: str, limit: int = 5) -> tuple[tuple[ToolSpec, float], ...]:
        """The tools that fit `query` best by their words, with scores; no model is used."""
        return rank_tools(query, self.catalog.servers, limit)

    async def call(
        self,
        server: str,
        tool: str,
        arguments: Mapping[str, JSON],
        *,
        watch: Progress | None = None,
        confirm: Confirm | None = None,
        caller: Caller | None = None,
        forwarded: Forwarded | None = None,
    ) -> ToolResult:
        """Make one call that the client names itself; arguments, progress (to `watch`) and result pass untouched.

        Args:
            confirm: as in `do`.
            caller: who is asked what the server asks while the call runs.
            forwarded: what else the client's request carries.

        Raises:
            InputRequired: the server asks for input, and the client takes that as an answer.
            CatalogError: there is no such tool.
            PolicyError: the policy or the user said no.
            DownstreamError: the server did not do its part.
        """
        await self.wait_ready((server,))
        self._check_servers((server,))
        trace = self._recorder.follow()
        made = partial(self._call, trace, watch=watch, caller=caller, forwarded=forwarded)
        actions = Actions(self._decide, made, self._tool, self._policy, confirm=confirm, trace=trace)
        return await call_checked(ToolCall(server, tool, arguments), actions)

    async def request(
        self,
        server: str,
        method: str,
        params: Mapping[str, JSON],
        *,
        watch: Progress | None = None,
        caller: Caller | None = None,
        straight: bool = False,
    ) -> Mapping[str, JSON]:
        """Send any other request that a client makes itself; see `Offers.request`.

        Raises:
            InputRequired: the server asks for input, and the client takes that as an answer (`straight`).
            DownstreamError: the server did not do its part.
        """
        trace = self._recorder.follow()
        trace.answers(server, params.get("inputResponses"))
        asked = Audited.maybe(caller, server, trace)
        work = self.offers.request(server, method, params, caller=asked, progress=watch, straight=straight)
        return await trace.access(server, method, params, work)

    async def subscribe(self, server: str, uri: str) -> None:
        """Have a client told of changes of a resource; see `Offers.subscribe`."""
        work = self.offers.subscribe(server, uri)
        await self._recorder.follow().access(server, "resources/subscribe", {"uri": uri}, work)

    def audited(self, caller: Caller, server: str) -> Audited:
        """`caller`, whose answers to what we ask about `server` are recorded."""
        return Audited(caller, server, self._recorder.follow())

    def stand_in(self, standing: Caller | None) -> None:
        """From now on `standing` answers what servers ask while no request of its user runs."""
        trace = self._recorder.follow()
        self.offers.stand_in(None if standing is None else lambda server: Audited(standing, server, trace))

    @contextmanager
    def _traced(self, request: Request) -> Iterator[RequestTrace]:
        """Check the text of a request and trace it to its end, also a bad one.

        Raises:
            RequestError: the text is empty, too long, or not text.
        """
        _check_text(request.text, self.config.settings.limits.request_chars)
        trace = self._recorder.begin(request.text, request.servers)
        try:
            yield trace
        except DualTuneError as error:
            trace.error(error)
            raise
        except anyio.get_cancelled_exc_class():
            trace.record("error", {"type": "Cancelled", "message": "The caller went away."})
            raise

    async def _prepare(self, request: Request) -> Request:
        """Wait for the servers that matter and add the ambient facts."""
        await self.wait_ready(request.servers)
        self._check_servers(request.servers)
        facts = {**request_facts(), **self.config.settings.context, **request.context}
        return replace(request, context=facts)

    def _check_servers(self, names: tuple[str, ...] | None) -> None:
        """Say now what cannot be chosen from; see `LiveCatalog.check`."""
        if self._given is None:
            self._live.check(names)
        elif names is not None:
            self._given.restrict(names)

    async def _decide(self, request: Request) -> Decision:
        catalog = self.catalog
        # Where the servers' own tools are shown, the model waits for its first request: calls need none, and importing
        # the model's libraries keeps every other thread waiting for parts of a second.
        self._worker.start()

        def work(pipeline: Pipeline, cancel: Event) -> Decision:
            return pipeline.decide(request, catalog, cancel)

        return await self._worker.run(work)

    async def _call(
        self,
        trace: RequestTrace,
        call: ToolCall,
        *,
        watch: Progress | None = None,
        caller: Caller | None = None,
        forwarded: Forwarded | None = None,
    ) -> ToolResult:
        if self._given is not None:
            raise ServerUnavailable(
                "No server stands behind this catalog.", hint="Use a config with servers.", retryable=False
            )
        if forwarded is not None:
            trace.answers(call.server, forwarded.fields.get("inputResponses"))
        asked = Audited.maybe(caller, call.server, trace)
        return await trace.call(call, self.offers.call(call, asked, watch, forwarded))

    def _tool(self, server: str, name: str) -> ToolSpec:
        return self._given.tool(server, name) if self._given else self._live.tool(server, name)

    def _on_change(self, name: str) -> None:
        if self._live.take(name):
            self.offers.note(name, self._live.prompts(name))
            self._announce()

    def _announce(self) -> None:
        self.offers.keep(server.name for server in self.catalog.servers)
        for notify in self.changed:
            notify()


def _policy(config: Config) -> Policy:
    return Policy(config.settings.policy, {server.name: server.options.policy for server in config.servers})


def _check_text(text: str, limit: int) -> None:
    if not text.strip():
        raise RequestError("The request is empty.", hint="Say in plain words what should be done.")
    if len(text) > limit:
        raise RequestError(
            f"The request has {len(text):,} characters; the limit is {limit:,}.",
            hint="Shorten it, put long text into a file and name the file, or raise dualtune.limits.request_chars.",
        )
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        hint = "Send it as UTF-8."
        raise RequestError("The request holds bytes that are not text.", hint=hint) from error

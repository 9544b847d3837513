"""Several decisions for one request: decide, check, call, observe, until done or a limit.

Owns the order of events and why a run ends. It decides nothing itself and talks to no server: both come in as
functions. The trajectory only grows; what ended the run is in its `final`, `stopped_by` and `note`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from time import perf_counter

from mcp_dualtune.agent.answers import merge_answers
from mcp_dualtune.agent.history import observe
from mcp_dualtune.agent.limits import Circle, WorkingTime
from mcp_dualtune.config import LimitSettings
from mcp_dualtune.errors import Cancelled, DualTuneError, EngineError, PolicyError
from mcp_dualtune.security.policy import Policy, may_repeat
from mcp_dualtune.tracing.recorder import RequestTrace
from mcp_dualtune.types import (
    JSON,
    Decision,
    Request,
    Step,
    ToolCall,
    ToolResult,
    ToolSpec,
    Trajectory,
)

QUESTIONS = 3
"""Questions that one run may put to its user before it gives the question back as its outcome."""

Ask = Callable[[Decision], Awaitable[Mapping[str, JSON] | None]]
"""Gets a decision with outcome `ask`; gives values for its missing parameters, or None for no answer."""
Confirm = Callable[[ToolCall, str], Awaitable[bool]]
"""Gets a call and why it needs a yes; gives the yes or no."""
Report = Callable[[Step], Awaitable[None]]
"""Gets every step when its result is there."""


@dataclass(frozen=True)
class Actions:
    """What the loop needs from the rest of the program."""

    decide: Callable[[Request], Awaitable[Decision]]
    call: Callable[[ToolCall], Awaitable[ToolResult]]
    tool: Callable[[str, str], ToolSpec]
    """Look a tool up by server and name.

    Raises:
        CatalogError: it is gone.
        PolicyError: it is there, and not trusted.
    """
    policy: Policy = field(default_factory=Policy)
    ask: Ask | None = None
    confirm: Confirm | None = None
    progress: Report | None = None
    trace: RequestTrace | None = None


async def run(request: Request, actions: Actions, limits: LimitSettings) -> Trajectory:
    """Do what `request` asks, in as many calls as it takes.

    Raises:
        DualTuneError: a decision or a call failed before any call was completed; afterwards the run ends with
            `stopped_by` "error" instead, because what was done must be told.
        Cancelled: the engine gave up on the request.
    """
    return await _Run(request, actions, limits).go()


class _Run:
    def __init__(self, request: Request, actions: Actions, limits: LimitSettings) -> None:
        self.request, self.actions, self.limits = request, actions, limits
        self.started = perf_counter()
        self.history = request.history
        self.steps: list[Step] = []
        self.last: Decision | None = None
        self.time = WorkingTime(limits.seconds)
        self.circle = Circle(limits, request.history)
        self.questions = 0

    async def go(self) -> Trajectory:
        while True:
            try:
                ended = await self.step()
            except Cancelled:
                raise
            except DualTuneError as error:
                if not self.steps or self.last is None:
                    raise
                ended = self.end(self.last, "error", str(error))
            if ended is not None:
                return ended

    async def step(self) -> Trajectory | None:
        """One round; the trajectory when it was the last."""
        decision = await self.decide()
        if decision is None:
            return self.out_of_time()
        if decision.outcome == "ask":
            decision = await self.answered(decision)
        self.last = decision
        if decision.outcome != "call":
            return self.end(decision)
        call = to_call(decision)
        if len(self.steps) >= self.limits.steps:
            # Asked once more, because a run that is finished exactly at the limit was not stopped by it.
            return self.end(decision, "steps", f"The limit of {self.limits.steps} calls is reached.")
        tool = self.actions.tool(call.server, call.tool)
        if self.circle.made_before(call) and not may_repeat(tool):
            # Its effects are there already. Making them twice (a message sent, a row added) cannot be undone.
            return self.end(decision, "repeat", f"{call.server}/{call.tool} was called with the same arguments before.")
        no = await refusal(call, tool, self.actions)
        if no is not None:
            return self.end(decision, "policy", no)
        return await self.carry_out(decision, call)

    async def decide(self) -> Decision | None:
        decision: Decision | None = None
        with self.time.scope():
            decision = await self.actions.decide(replace(self.request, history=self.history))
        if decision is not None and self.actions.trace:
            self.actions.trace.decision(decision)
        return decision

    async def answered(self, decision: Decision) -> Decision:
        """`decision` with the user's answers in it, or still a question."""
        while decision.outcome == "ask" and self.actions.ask is not None and self.questions < QUESTIONS:
            self.questions += 1
            answers = await self.actions.ask(decision)
            if self.actions.trace:
                self.actions.trace.elicitation(decision.server, decision.tool, decision.missing, bool(answers))
            if not answers:
                break
            tool = self.actions.tool(decision.server or "", decision.tool or "")
            decision = merge_answers(decision, tool, answers)
        return decision

    async def carry_out(self, decision: Decision, call: ToolCall) -> Trajectory | None:
        result: ToolResult | None = None
        began = perf_counter()
        with self.time.scope():
            result = await self.actions.call(call)
        if result is None:
            return self.out_of_time(
                f" {call.server}/{call.tool} had not answered; it may have had effects all the same."
            )
        step = Step(decision, call, result, (perf_counter() - began) * 1000)
        self.steps.append(step)
        self.history = (*self.history, observe(call, result, self.limits.result_chars))
        if self.actions.trace:
            self.actions.trace.step(step)
        if self.actions.progress is not None:
            await self.actions.progress(step)
        if self.circle.add(step):
            return self.end(decision, "repeat", f"{call.server}/{call.tool} gave the same result again.")
        return None

    def out_of_time(self, more: str = "") -> Trajectory:
        message = f"The limit of {self.limits.seconds:g} seconds is reached.{more}"
        if self.last is None:
            hint = "Raise dualtune.limits.seconds, or use a smaller model."
            raise EngineError(f"{message} Nothing was decided yet.", hint=hint, retryable=True)
        return self.end(self.last, "time", message)

    def end(self, final: Decision, stopped_by: str | None = None, note: str | None = None) -> Trajectory:
        elapsed = (perf_counter() - self.started) * 1000
        return Trajectory(self.request, tuple(self.steps), final, stopped_by, elapsed, note)


def to_call(decision: Decision) -> ToolCall:
    """The call that a decision with outcome `call` stands for."""
    return ToolCall(decision.server or "", decision.tool or "", dict(decision.arguments))


async def refusal(call: ToolCall, tool: ToolSpec, actions: Actions) -> str | None:
    """Why `call` of `tool` may not be made, in plain words; None when it may, by the policy or by a yes asked for."""
    verdict, trace = actions.policy.check(tool), actions.trace
    if verdict.action == "allow":
        return None
    if verdict.action == "deny":
        no = f"{verdict.reason} It was not called."
    elif actions.confirm is None:
        no = f"{verdict.reason} It was not called, because nobody could be asked for a yes."
    elif await actions.confirm(call, verdict.reason):
        if trace:
            trace.approval(call, verdict.reason)
        return None
    else:
        no = f"{verdict.reason} It was not called: the answer was no."
    if trace:
        trace.refusal(call, no)
    return no


async def call_checked(call: ToolCall, actions: Actions) -> ToolResult:
    """Make one call that a client named itself, under the same policy as a call that was decided here.

    Raises:
        PolicyError: the policy or the user said no, or nobody could be asked.
        CatalogError: there is no such tool.
        DownstreamError: the server did not do its part.
    """
    try:
        tool = actions.tool(call.server, call.tool)
    except PolicyError as error:
        if actions.trace:
            actions.trace.refusal(call, error.message)
        raise
    no = await refusal(call, tool, actions)
    if no is not None:
        rule = f'{{"match": "{call.server}/{call.tool}", "action": "allow"}}'
        raise PolicyError(no, hint=f"To allow it, put {rule} first in dualtune.policy.")
    return await actions.call(call)

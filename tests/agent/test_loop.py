"""A run makes the calls that were decided, in order, and ends for a stated reason."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

import anyio
import pytest

from mcp_dualtune.agent.loop import Actions, call_checked, run
from mcp_dualtune.catalog.catalog import Catalog, build_server
from mcp_dualtune.config import LimitSettings, PolicyRule
from mcp_dualtune.errors import EngineError, PolicyError, ServerUnavailable
from mcp_dualtune.security.policy import Policy
from mcp_dualtune.types import (
    JSON,
    Decision,
    HistoryItem,
    Outcome,
    Provenance,
    Request,
    Step,
    ToolCall,
    ToolResult,
)

pytestmark = pytest.mark.anyio

LIMITS = LimitSettings()
SIZE = {"type": "integer", "minimum": 1}
CATALOG = Catalog(
    (
        build_server(
            "files",
            "",
            [
                {"name": "read", "inputSchema": {"type": "object", "properties": {"path": {"type": "string"}}},
                 "annotations": {"readOnlyHint": True}},
                {"name": "write", "inputSchema": {"type": "object", "properties": {"path": {"type": "string"}}}},
                {"name": "delete", "inputSchema": {"type": "object", "properties": {"path": {"type": "string"}}},
                 "annotations": {"destructiveHint": True}},
                {"name": "head", "inputSchema": {"type": "object", "required": ["path", "lines"],
                 "properties": {"path": {"type": "string"}, "lines": SIZE}}, "annotations": {"readOnlyHint": True}},
            ],
        ).spec,
    )
)  # fmt: skip


def decision(outcome: Outcome, tool: str | None = None, missing: tuple[str, ...] = (), **arguments: JSON) -> Decision:
    server = "files" if tool else None
    question = "Which?" if missing else None
    return Decision(outcome, server, tool, arguments, missing, question, 1.0, (), {}, 0.0)


def answer(text: str, *, is_error: bool = False) -> ToolResult:
    return ToolResult(({"type": "text", "text": text},), is_error=is_error)


class Script:
    """Decisions to give one after the other, and a server that counts its calls."""

    def __init__(self, *decisions: Decision, reply: Callable[[ToolCall], ToolResult | Exception] | None = None) -> None:
        self.decisions = list(decisions)
        self.reply = reply or (lambda call: answer(f"{call.tool} done"))
        self.seen: list[Request] = []
        self.calls: list[ToolCall] = []

    async def decide(self, request: Request) -> Decision:
        self.seen.append(request)
        return self.decisions.pop(0) if len(self.decisions) > 1 else self.decisions[0]

    async def call(self, call: ToolCall) -> ToolResult:
        self.calls.append(call)
        result = self.reply(call)
        if isinstance(result, Exception):
            raise result
        return result

    def actions(self, **rest: object) -> Actions:
        return Actions(decide=self.decide, call=self.call, tool=CATALOG.tool, **rest)  # type: ignore[arg-type]


async def test_two_calls_then_finish_grow_the_history_the_model_sees() -> None:
    script = Script(decision("call", "read", path="a"), decision("call", "write", path="b"), decision("finish"))
    reported: list[Step] = []

    async def progress(step: Step) -> None:
        reported.append(step)

    trajectory = await run(Request("do it"), script.actions(progress=progress), LIMITS)
    assert [step.call.tool for step in trajectory.steps] == ["read", "write"]
    assert reported == list(trajectory.steps)
    assert (trajectory.final.outcome, trajectory.stopped_by) == ("finish", None)
    assert [len(seen.history) for seen in script.seen] == [0, 1, 2]
    assert script.seen[2].history[1] == HistoryItem(ToolCall("files", "write", {"path": "b"}), "write done")
    assert trajectory.request.history == ()


async def test_none_after_a_step_is_a_natural_end() -> None:
    script = Script(decision("call", "read", path="a"), decision("none"))
    trajectory = await run(Request("x"), script.actions(), LIMITS)
    assert (trajectory.final.outcome, trajectory.stopped_by, len(trajectory.steps)) == ("none", None, 1)


async def test_large_result_is_cut_for_the_model_and_whole_for_the_user() -> None:
    script = Script(decision("call", "read", path="a"), decision("finish"), reply=lambda _: answer("z" * 100_000))
    trajectory = await run(Request("x"), script.actions(), LimitSettings(result_chars=500))
    assert len(script.seen[1].history[0].result) <= 500
    assert len(trajectory.steps[0].result.text) == 100_000


async def test_limit_of_calls_ends_a_run_that_wants_more() -> None:
    calls = [decision("call", "read", path=str(index)) for index in range(5)]
    script = Script(*calls)
    trajectory = await run(Request("x"), script.actions(), LimitSettings(steps=3))
    assert (trajectory.stopped_by, len(trajectory.steps), len(script.calls)) == ("steps", 3, 3)
    assert trajectory.final.outcome == "call"


async def test_run_finished_exactly_at_the_limit_was_not_stopped_by_it() -> None:
    script = Script(decision("call", "read", path="a"), decision("finish"))
    trajectory = await run(Request("x"), script.actions(), LimitSettings(steps=1))
    assert (trajectory.stopped_by, trajectory.final.outcome) == (None, "finish")


async def test_same_reading_call_with_the_same_result_stops_the_run() -> None:
    script = Script(decision("call", "read", path="a"))
    trajectory = await run(Request("x"), script.actions(), LIMITS)
    assert (trajectory.stopped_by, len(script.calls)) == ("repeat", 2)


async def test_reading_call_goes_on_while_its_result_changes() -> None:
    replies = iter(["1", "2", "3"])
    read = decision("call", "read", path="a")
    script = Script(read, read, read, decision("finish"), reply=lambda _: answer(next(replies)))
    trajectory = await run(Request("x"), script.actions(), LIMITS)
    assert (trajectory.stopped_by, len(trajectory.steps)) == (None, 3)


@pytest.mark.parametrize("earlier", [True, False])
async def test_call_with_effects_is_never_made_twice(earlier: bool) -> None:
    script = Script(decision("call", "write", path="a"))
    done = HistoryItem(ToolCall("files", "write", {"path": "a"}), "done")
    trajectory = await run(Request("x", history=(done,) if earlier else ()), script.actions(), LIMITS)
    assert (trajectory.stopped_by, len(script.calls)) == ("repeat", 0 if earlier else 1)


async def test_time_limit_stops_a_call_that_hangs_and_says_so() -> None:
    script = Script(decision("call", "read", path="a"), decision("call", "write", path="a"))

    async def call(call: ToolCall) -> ToolResult:
        if call.tool == "write":
            await anyio.sleep_forever()
        return await script.call(call)

    with anyio.fail_after(30):
        trajectory = await run(Request("x"), replace(script.actions(), call=call), LimitSettings(seconds=0.3))
    assert (trajectory.stopped_by, len(trajectory.steps)) == ("time", 1)
    assert trajectory.note and "files/write" in trajectory.note


async def test_time_limit_before_any_decision_is_an_error_with_a_hint() -> None:
    async def decide(_: Request) -> Decision:
        await anyio.sleep_forever()
        raise AssertionError

    actions = replace(Script(decision("none")).actions(), decide=decide)
    with anyio.fail_after(30), pytest.raises(EngineError, match="seconds") as caught:
        await run(Request("x"), actions, LimitSettings(seconds=0.1))
    assert caught.value.hint and caught.value.retryable


async def test_thinking_time_of_a_person_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("mcp_dualtune.agent.limits.anyio.current_time", lambda: clock[0])
    script = Script(decision("ask", "head", ("lines",), path="a"), decision("finish"))

    async def ask(_: Decision) -> Mapping[str, JSON]:
        clock[0] += 10_000
        return {"lines": 3}

    trajectory = await run(Request("x"), script.actions(ask=ask), LimitSettings(seconds=60))
    assert (trajectory.stopped_by, len(trajectory.steps)) == (None, 1)


def answering(
    *replies: Mapping[str, JSON] | None,
) -> tuple[Callable[[Decision], Awaitable[Mapping[str, JSON] | None]], list[Decision]]:
    asked: list[Decision] = []

    async def ask(decision: Decision) -> Mapping[str, JSON] | None:
        asked.append(decision)
        return replies[len(asked) - 1]

    return ask, asked


async def test_answered_question_becomes_a_call() -> None:
    ask, _ = answering({"lines": "12"})
    script = Script(decision("ask", "head", ("lines",), path="a"), decision("finish"))
    trajectory = await run(Request("x"), script.actions(ask=ask), LIMITS)
    assert script.calls == [ToolCall("files", "head", {"path": "a", "lines": 12})]
    made = trajectory.steps[0].decision
    assert (made.outcome, made.missing, made.question) == ("call", (), None)
    assert made.provenance["lines"] == Provenance("request")


async def test_unusable_answer_is_asked_again_with_the_reason_then_given_up() -> None:
    ask, asked = answering({"lines": "many"}, {"lines": 0}, {"path": "unasked"})
    script = Script(decision("ask", "head", ("lines",), path="a"))
    trajectory = await run(Request("x"), script.actions(ask=ask), LIMITS)
    assert trajectory.final.outcome == "ask" and not script.calls
    assert trajectory.final.arguments == {"path": "a"}
    assert len(asked) == 3
    assert "whole number" in (asked[1].question or "") and "at least 1" in (asked[2].question or "")


@pytest.mark.parametrize("replies", [None, [None], [{}]])
async def test_unanswered_question_is_the_outcome(replies: Sequence[Mapping[str, JSON] | None] | None) -> None:
    script = Script(decision("ask", "head", ("lines",), path="a"))
    ask = answering(*replies)[0] if replies is not None else None
    trajectory = await run(Request("x"), script.actions(ask=ask), LIMITS)
    assert (trajectory.final.outcome, trajectory.stopped_by, script.calls) == ("ask", None, [])


@pytest.mark.parametrize(("says", "made"), [(True, 1), (False, 0), (None, 0)])
async def test_destructive_call_needs_a_yes(says: bool | None, made: int) -> None:
    asked: list[tuple[ToolCall, str]] = []

    async def confirm(call: ToolCall, reason: str) -> bool:
        asked.append((call, reason))
        return bool(says)

    script = Script(decision("call", "delete", path="a"), decision("finish"))
    actions = script.actions(confirm=confirm if says is not None else None)
    trajectory = await run(Request("x"), actions, LIMITS)
    assert len(script.calls) == made
    assert trajectory.stopped_by == (None if made else "policy")
    if not made:
        assert trajectory.note and "files/delete" in trajectory.note
    if says is not None:
        assert asked[0][0].arguments == {"path": "a"} and "change or delete" in asked[0][1]


async def test_denied_call_is_not_even_asked_about() -> None:
    async def confirm(call: ToolCall, reason: str) -> bool:
        raise AssertionError("nobody may be asked")

    script = Script(decision("call", "read", path="a"))
    actions = script.actions(policy=Policy([PolicyRule("files/*", "deny")]), confirm=confirm)
    trajectory = await run(Request("x"), actions, LIMITS)
    assert (trajectory.stopped_by, script.calls) == ("policy", [])


async def test_failure_before_any_call_is_raised() -> None:
    script = Script(decision("call", "read", path="a"), reply=lambda _: ServerUnavailable("gone", hint="restart"))
    with pytest.raises(ServerUnavailable):
        await run(Request("x"), script.actions(), LIMITS)


async def test_failure_after_a_call_keeps_what_was_done() -> None:
    replies = iter([answer("ok"), ServerUnavailable("files went away.", hint="Restart it.")])
    script = Script(
        decision("call", "read", path="a"), decision("call", "write", path="b"), reply=lambda _: next(replies)
    )
    trajectory = await run(Request("x"), script.actions(), LIMITS)
    assert (trajectory.stopped_by, len(trajectory.steps)) == ("error", 1)
    assert trajectory.note == "files went away. Restart it."


async def test_tool_error_is_shown_to_the_model_and_the_run_goes_on() -> None:
    replies = iter([answer("no such file", is_error=True), answer("fine")])
    script = Script(
        decision("call", "read", path="a"),
        decision("call", "read", path="b"),
        decision("finish"),
        reply=lambda _: next(replies),
    )
    trajectory = await run(Request("x"), script.actions(), LIMITS)
    assert [step.result.is_error for step in trajectory.steps] == [True, False]
    assert script.seen[1].history[0].result == "Error: no such file"


@pytest.mark.parametrize(("says", "why"), [(None, "nobody could be asked"), (False, "the answer was no"), (True, "")])
async def test_named_call_needs_the_same_yes_as_a_decided_one(says: bool | None, why: str) -> None:
    async def confirm(call: ToolCall, reason: str) -> bool:
        return bool(says)

    script = Script(decision("none"))
    call = ToolCall("files", "delete", {"path": "a"})
    for policy in (Policy(), Policy([PolicyRule("*/delete", "ask")]), Policy(servers={"files": "ask"})):
        actions = script.actions(policy=policy, confirm=None if says is None else confirm)
        if says:
            assert (await call_checked(call, actions)).text == "delete done"
            continue
        with pytest.raises(PolicyError, match=why) as caught:
            await call_checked(call, actions)
        assert '"files/delete"' in caught.value.hint and "dualtune.policy" in caught.value.hint
    assert len(script.calls) == (3 if says else 0)


async def test_named_call_is_made_or_refused_as_the_rules_say() -> None:
    script = Script(decision("none"))
    call = ToolCall("files", "delete", {"path": "a"})
    allowed = Policy([PolicyRule("files/*", "allow"), PolicyRule("*/delete", "deny")], {"files": "deny"})
    assert (await call_checked(call, script.actions(policy=allowed))).text == "delete done"
    for denied in (Policy([PolicyRule("*/*", "deny")]), Policy(servers={"files": "deny"})):
        with pytest.raises(PolicyError, match="deny"):
            await call_checked(call, script.actions(policy=denied))
    assert len(script.calls) == 1

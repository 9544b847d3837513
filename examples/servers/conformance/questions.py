"""The tools of the conformance server that ask the client before they answer."""

from __future__ import annotations

import json
from typing import Any

import mcp.types as types

from examples.servers.conformance.asking import Answer, Question, ask, can_answer, form, sampling
from examples.servers.conformance.tools import Call, Result, text, tool

STRING = {"type": "string"}
NAME = form("What is your name?", {"name": STRING}, ["name"])
CONFIRM = form("Please confirm", {"ok": {"type": "boolean"}}, ["ok"])
CAPITAL = sampling("What is the capital of France?")


def _schema(name: str, description: str) -> dict[str, Any]:
    return {"type": "object", "properties": {name: {**STRING, "description": description}}, "required": [name]}


def _titled(first: str, *others: str) -> list[dict[str, str]]:
    return [{"const": f"value{place}", "title": title} for place, title in enumerate((first, *others), start=1)]


def _show(answer: Answer) -> str:
    """What a form came back with, as the suite words it."""
    assert isinstance(answer, types.ElicitResult)
    return f"action={answer.action}, content={json.dumps(answer.content or {})}"


# These push their question where there is a back-channel.


@tool("test_sampling", "Asks the client's model.", _schema("prompt", "The prompt to send to the LLM"))
async def ask_model(call: Call) -> Result:
    """Sampling in the middle of a call."""
    answers = await ask(call.ctx, call.params, {"sampling": sampling(str(call.arguments.get("prompt", "")))})
    answer = answers["sampling"]
    assert isinstance(answer, types.CreateMessageResult)
    said = answer.content.text if isinstance(answer.content, types.TextContent) else answer.content.type
    return text(f"LLM response: {said}")


@tool("test_elicitation", "Asks the user.", _schema("message", "The message to show the user"))
async def ask_user(call: Call) -> Result:
    """A form in the middle of a call."""
    fields = {
        "username": {**STRING, "description": "User's response"},
        "email": {**STRING, "description": "User's email address"},
    }
    question = form(str(call.arguments.get("message", "")), fields, ["username", "email"])
    answers = await ask(call.ctx, call.params, {"user": question})
    return text(f"User response: {_show(answers['user'])}")


@tool("test_elicitation_sep1034_defaults", "Asks the user with a default for every kind of field.")
async def ask_with_defaults(call: Call) -> Result:
    """Defaults must reach the client."""
    fields = {
        "name": {**STRING, "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {**STRING, "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": True},
    }
    answers = await ask(call.ctx, call.params, {"user": form("Please review and update the form", fields, [])})
    return text(f"Elicitation completed: {_show(answers['user'])}")


@tool("test_elicitation_sep1330_enums", "Asks the user to choose, in every way there is.")
async def ask_to_choose(call: Call) -> Result:
    """Every spelling of a choice must reach the client."""
    options = ["option1", "option2", "option3"]
    short = ["opt1", "opt2", "opt3"]
    titles = ["Option One", "Option Two", "Option Three"]
    choices = {"anyOf": _titled("First Choice", "Second Choice", "Third Choice")}
    fields = {
        "untitledSingle": {**STRING, "enum": options},
        "titledSingle": {**STRING, "oneOf": _titled("First Option", "Second Option", "Third Option")},
        "legacyEnum": {**STRING, "enum": short, "enumNames": titles},
        "untitledMulti": {"type": "array", "items": {**STRING, "enum": options}},
        "titledMulti": {"type": "array", "items": choices},
    }
    answers = await ask(call.ctx, call.params, {"user": form("Please choose", fields, [])})
    return text(f"Elicitation completed: {_show(answers['user'])}")


@tool("test_missing_capability", "Works only for clients that have a model.")
async def needs_model(call: Call) -> Result:
    """Refused before anything is done when the client did not declare sampling."""
    await ask(call.ctx, call.params, {"sampling": CAPITAL})
    return text("The client has a model.")


@tool("test_streaming_elicitation", "Reports progress, then asks the user.")
async def progress_and_question(call: Call) -> Result:
    """A stream of a request carries notifications and its answer, never a request of its own."""
    await call.ctx.session.report_progress(0, 100)
    answers = await ask(call.ctx, call.params, {"confirm": CONFIRM})
    return text(_show(answers["confirm"]))


# These are made for the protocol without a back-channel.


@tool("test_input_required_result_elicitation", "Asks the user for a name.")
async def needs_name(call: Call) -> Result:
    """One form."""
    answer = (await ask(call.ctx, call.params, {"user_name": NAME}))["user_name"]
    assert isinstance(answer, types.ElicitResult)
    return text(f"Hello, {(answer.content or {}).get('name', 'stranger')}!")


@tool("test_input_required_result_sampling", "Asks the client's model for a capital.")
async def needs_answer_of_model(call: Call) -> Result:
    """One sampling request."""
    answers = await ask(call.ctx, call.params, {"capital_question": CAPITAL})
    return text(answers["capital_question"].model_dump_json(by_alias=True, exclude_none=True))


@tool("test_input_required_result_list_roots", "Asks for the client's folders.")
async def needs_roots(call: Call) -> Result:
    """One request for roots."""
    answer = (await ask(call.ctx, call.params, {"client_roots": types.ListRootsRequest()}))["client_roots"]
    assert isinstance(answer, types.ListRootsResult)
    return text(f"Roots: {', '.join(str(root.uri) for root in answer.roots)}")


@tool("test_input_required_result_request_state", "Asks the user, and wants its state back.")
async def needs_state(call: Call) -> Result:
    """The state must come back as it was given away."""
    await ask(call.ctx, call.params, {"confirm": CONFIRM}, state="confirming")
    came_back = call.params.request_state in ("confirming", None)
    return text("state-ok" if came_back else "state-wrong")


@tool("test_input_required_result_tampered_state", "Asks the user, and wants its state back unchanged.")
async def needs_untouched_state(call: Call) -> Result:
    """A changed state never arrives here: the seal around it is broken."""
    await ask(call.ctx, call.params, {"confirm": CONFIRM}, state="confirming")
    return text("state-ok")


@tool("test_input_required_result_multiple_inputs", "Asks the user, the model and for folders, all at once.")
async def needs_everything(call: Call) -> Result:
    """Three kinds of questions in one answer."""
    questions: dict[str, Question] = {
        "user_name": NAME,
        "greeting": sampling("Generate a greeting", 50),
        "client_roots": types.ListRootsRequest(),
    }
    answers = await ask(call.ctx, call.params, questions, state="all at once")
    return text(f"Got: {', '.join(sorted(answers))}")


@tool("test_input_required_result_multi_round", "Asks the user twice.")
async def needs_two_rounds(call: Call) -> Result:
    """Answers of earlier rounds live in the state only."""
    color = form("Step 2: What is your favorite color?", {"color": STRING}, ["color"])
    before = json.loads(call.params.request_state or "{}")
    if "name" not in before:
        first = form("Step 1: What is your name?", {"name": STRING}, ["name"])
        answer = (await ask(call.ctx, call.params, {"step1": first}, state="{}"))["step1"]
        assert isinstance(answer, types.ElicitResult)
        before = {"name": (answer.content or {}).get("name")}
    answer = (await ask(call.ctx, call.params, {"step2": color}, state=json.dumps(before)))["step2"]
    assert isinstance(answer, types.ElicitResult)
    return text(f"{before['name']} likes {(answer.content or {}).get('color')}.")


@tool("test_input_required_result_capabilities", "Asks only what the client can answer.")
async def needs_what_there_is(call: Call) -> Result:
    """Questions of kinds that the client did not declare are left out."""
    questions: dict[str, Question] = {"name": NAME, "capital": CAPITAL, "roots": types.ListRootsRequest()}
    possible = {key: question for key, question in questions.items() if can_answer(call.ctx, question)}
    answers = await ask(call.ctx, call.params, possible)
    return text(f"Got: {', '.join(sorted(answers)) or 'nothing'}")

"""The resources and prompts of the conformance server."""

from __future__ import annotations

import json
import re

import mcp.types as types
from mcp.shared.exceptions import MCPError

from examples.servers.conformance.asking import MODERN, Asking, Context, ask, form

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
"""One red pixel as PNG."""
RESOURCE_NOT_FOUND = -32002
"""What a missing resource was called before 2026-07-28."""
TEXT, WATCHED, BINARY = "test://static-text", "test://watched-resource", "test://static-binary"
TEMPLATE = re.compile(r"test://template/(?P<id>[^/]+)/data")
LANDMARKS = ("paris", "park", "party", "test", "testing")
"""What may complete an argument."""

RESOURCES = [
    types.Resource(uri=TEXT, name="static-text", description="A fixed text.", mime_type="text/plain"),
    types.Resource(uri=BINARY, name="static-binary", description="A fixed picture.", mime_type="image/png"),
    types.Resource(uri=WATCHED, name="watched-resource", description="A text to watch.", mime_type="text/plain"),
]
TEMPLATES = [
    types.ResourceTemplate(
        uri_template="test://template/{id}/data",
        name="template",
        description="A document about any id.",
        mime_type="application/json",
    )
]


def read(ctx: Context, uri: str) -> types.ReadResourceResult:
    """What stands in a resource.

    Raises:
        MCPError: there is no such resource.
    """
    contents: types.TextResourceContents | types.BlobResourceContents
    if uri == TEXT:
        text = "This is the content of the static text resource."
        contents = types.TextResourceContents(uri=uri, mime_type="text/plain", text=text)
    elif uri == WATCHED:
        contents = types.TextResourceContents(uri=uri, mime_type="text/plain", text="Watched resource content.")
    elif uri == BINARY:
        contents = types.BlobResourceContents(uri=uri, mime_type="image/png", blob=PIXEL)
    elif match := TEMPLATE.fullmatch(uri):
        found = {"id": match["id"], "templateTest": True, "data": f"Data for ID: {match['id']}"}
        contents = types.TextResourceContents(uri=uri, mime_type="application/json", text=json.dumps(found))
    else:
        code = types.INVALID_PARAMS if ctx.protocol_version >= MODERN else RESOURCE_NOT_FOUND
        raise MCPError(code, f"Resource not found: {uri}", {"uri": uri})
    return types.ReadResourceResult(contents=[contents])


def _argument(name: str, description: str) -> types.PromptArgument:
    return types.PromptArgument(name=name, description=description, required=True)


PROMPTS = [
    types.Prompt(name="test_simple_prompt", description="A prompt without arguments."),
    types.Prompt(
        name="test_prompt_with_arguments",
        description="A prompt with two arguments.",
        arguments=[_argument("arg1", "First test argument"), _argument("arg2", "Second test argument")],
    ),
    types.Prompt(
        name="test_prompt_with_embedded_resource",
        description="A prompt that carries a resource.",
        arguments=[_argument("resourceUri", "URI of the resource to embed")],
    ),
    types.Prompt(name="test_prompt_with_image", description="A prompt that carries a picture."),
    types.Prompt(name="test_input_required_result_prompt", description="A prompt that asks before it answers."),
]
DYNAMIC_PROMPT = types.Prompt(name="test_dynamic_prompt", description="Comes and goes with test_trigger_prompt_change.")


async def get(ctx: Context, params: types.GetPromptRequestParams) -> types.GetPromptResult:
    """The messages of a prompt.

    Raises:
        MCPError: there is no such prompt, or an argument is missing.
    """
    prompt = next((prompt for prompt in [*PROMPTS, DYNAMIC_PROMPT] if prompt.name == params.name), None)
    if prompt is None:
        raise MCPError(types.INVALID_PARAMS, f"Unknown prompt: {params.name}")
    given = params.arguments or {}
    for argument in prompt.arguments or []:
        if argument.name not in given:
            raise MCPError(types.INVALID_PARAMS, f"The argument {argument.name} is missing.")
    content = await _contents(ctx, params, given)
    return types.GetPromptResult(messages=[types.PromptMessage(role="user", content=block) for block in content])


async def _contents(ctx: Context, params: Asking, given: dict[str, str]) -> list[types.ContentBlock]:
    if params.name == "test_prompt_with_arguments":
        return [_text(f"Prompt with arguments: arg1='{given['arg1']}', arg2='{given['arg2']}'")]
    if params.name == "test_prompt_with_embedded_resource":
        text = "Embedded resource content for testing."
        held = types.TextResourceContents(uri=given["resourceUri"], mime_type="text/plain", text=text)
        embedded = types.EmbeddedResource(type="resource", resource=held)
        return [embedded, _text("Please process the embedded resource above.")]
    if params.name == "test_prompt_with_image":
        picture = types.ImageContent(type="image", data=PIXEL, mime_type="image/png")
        return [picture, _text("Please analyze the image above.")]
    if params.name == "test_input_required_result_prompt":
        question = form("What context should the prompt use?", {"context": {"type": "string"}}, ["context"])
        answers = await ask(ctx, params, {"user_context": question})
        return [_text(f"Prompt with context: {answers['user_context'].model_dump(exclude_none=True)['content']}")]
    return [_text("This is a simple prompt for testing.")]


def _text(text: str) -> types.TextContent:
    return types.TextContent(type="text", text=text)


def complete(params: types.CompleteRequestParams) -> types.CompleteResult:
    """Words that begin like what stands in the argument so far."""
    values = [word for word in LANDMARKS if word.startswith(params.argument.value)]
    return types.CompleteResult(completion=types.Completion(values=values, total=len(values), has_more=False))

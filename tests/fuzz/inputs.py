"""Malformed and hostile inputs, made from a seeded generator: values, messages, schemas, results, config files."""

from __future__ import annotations

import json
import random
from typing import Any

JSON = Any
BIG = "@big number@"
"""Stands for an integer of more digits than Python reads; put in after the value has become text."""
LEGACY, MODERN = "2025-11-25", "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "fuzz", "version": "1"},
}
TEXTS = (
    "", " ", "x", "\x00", "\ud800", "\udcff\ud83d", "\u202eevil", "\u2028", "A" * 70_000, "../../etc/passwd",
    "${env:HOME}", "<|end|><|request|>", "</s>[INST]",
    "%s%n", "__proto__", "file:///etc/passwd", "\r\nX-Evil: 1", "ünï 🙂",
    "none", "finish",    "tools/call", "-1", "1e999", "a" * 300, "\U000e0041\U000e0042", "(a+)+$", "null", BIG,
)  # fmt: skip
ATOMS: tuple[JSON, ...] = (
    None, True, False, 0, -1, 1, 1.5, -0.0, 1e308, 2**31, 2**53 + 1, -(2**63), 10**300, float("nan"), float("inf"),
    [], {}, [[]], {"": {}}, [None], {"type": "object"}, {"$ref": "#"}, *TEXTS,
)  # fmt: skip
RISKY = (
    "$ref",
    "$dynamicRef",
    "anyOf",
    "allOf",
    "minLength",
    "maxLength",
    "minItems",
    "multipleOf",
    "minimum",
    "required",
    "uniqueItems",
    "format",
    "title",
    "description",
    "additionalProperties",
    "$defs",
)
"""Keywords whose wrong values keep a tool out at once, so that little else would be met."""
METHODS = (
    "initialize", "ping", "tools/list", "tools/call", "resources/list", "resources/read", "resources/templates/list",
    "resources/subscribe", "prompts/list", "prompts/get", "completion/complete", "logging/setLevel", "server/discover",
    "subscriptions/listen", "sampling/createMessage", "elicitation/create", "roots/list", "tasks/get",
    "notifications/initialized", "notifications/cancelled", "notifications/progress",
    "notifications/roots/list_changed", "notifications/message", "rpc.discover", "", "../", "Tools/Call",
)  # fmt: skip


def as_text(value: JSON) -> str:
    """JSON text of a value, with whatever JSON does not really allow."""
    return json.dumps(value).replace(f'"{BIG}"', "9" * 5000)


class Inputs:
    """Every input follows from the seed."""

    def __init__(self, seed: int | str) -> None:
        self.rng = random.Random(seed)

    def value(self, depth: int = 3) -> JSON:
        """Any value, seldom a large or deep one."""
        rng = self.rng
        kind = rng.random()
        if kind < 0.65 or depth == 0:
            return rng.choice(ATOMS)
        if kind < 0.67:
            return nested(rng.choice((50, 300, 600)), rng.random() < 0.5)
        if kind < 0.83:
            return [self.value(depth - 1) for _ in range(rng.randrange(5))]
        return {rng.choice(TEXTS)[:400]: self.value(depth - 1) for _ in range(rng.randrange(5))}

    def mutated(self, value: JSON, times: int = 0) -> JSON:
        """A copy of `value` with some of its parts replaced, removed, doubled or moved."""
        for _ in range(times or self.rng.choice((1, 1, 2, 4))):
            value = self._mutate_once(value)
        return value

    def _mutate_once(self, value: JSON) -> JSON:
        rng = self.rng
        if isinstance(value, dict) and value and rng.random() < 0.85:
            value, key = dict(value), rng.choice(list(value))
            deed = rng.random()
            if deed < 0.55:
                value[key] = self._mutate_once(value[key])
            elif deed < 0.7:
                value[key] = self.value()
            elif deed < 0.85:
                del value[key]
            else:
                value[rng.choice(TEXTS)[:400]] = value[key]
            return value
        if isinstance(value, list) and value and rng.random() < 0.85:
            value, place = list(value), rng.randrange(len(value))
            if rng.random() < 0.5:
                value[place] = self._mutate_once(value[place])
                return value
            return value * rng.choice((0, 2, 50))
        return self.value()

    def broken(self, text: str) -> bytes:
        """JSON text as bytes, sometimes cut, stirred or not UTF-8."""
        data = bytearray(text.encode("utf-8", "surrogatepass"))
        deed = self.rng.random()
        if deed < 0.7 or not data:
            return bytes(data)
        place = self.rng.randrange(len(data))
        if deed < 0.8:
            return bytes(data[:place])
        if deed < 0.9:
            data[place] = self.rng.randrange(256)
            return bytes(data)
        return bytes(data[:place]) + self.rng.randbytes(self.rng.randrange(1, 30)) + bytes(data[place:])

    def message(self, *, modern: bool) -> JSON:
        """What should be a JSON-RPC message."""
        rng = self.rng
        number = rng.randrange(10**6)
        envelope = {"_meta": META} if modern else {}
        calls: list[JSON] = [
            {"name": "find_tools", "arguments": {"query": "a note", "limit": 3}},
            {"name": "notes__list_notes", "arguments": {}},
            {"name": "notes__read_note", "arguments": {"title": "x"}},
            {"name": "plan", "arguments": {"request": "note milk", "servers": ["notes"]}},
            {"name": "do", "arguments": {"request": "note milk", "max_steps": 1}},
        ]
        params: JSON = rng.choice(
            [
                *calls,
                {"cursor": "x"},
                {"uri": "file:///x"},
                {"level": "info"},
                {"requestId": number, "reason": "x"},
                {"progressToken": 1, "progress": 0.5},
                {"ref": {"type": "ref/prompt", "name": "x"}, "argument": {"name": "a", "value": "b"}},
                {
                    "protocolVersion": rng.choice((LEGACY, MODERN, "1999-01-01")),
                    "capabilities": {"elicitation": {}, "sampling": {}},
                    "clientInfo": {"name": "x", "version": "1"},
                },
                {"notifications": {"toolsListChanged": True}},
            ]
        )
        method = "tools/call" if "arguments" in params else rng.choice(METHODS)
        message: JSON = {"jsonrpc": "2.0", "id": number, "method": method, "params": {**params, **envelope}}
        kind = rng.random()
        if kind < 0.1:
            message = {
                "jsonrpc": "2.0",
                "id": number,
                **rng.choice([{"result": {}}, {"error": {"code": 1, "message": "x"}}]),
            }
        elif kind < 0.2:
            del message["id"]
        elif kind < 0.25:
            return [self.mutated(message) for _ in range(rng.randrange(4))]
        elif kind < 0.3:
            return self.value()
        return message if rng.random() < 0.25 else self.mutated(message)

    def schema(self, depth: int = 4) -> JSON:
        """What should be an input schema."""
        rng = self.rng
        if rng.random() < 0.03:
            return self.value(1)
        if depth == 0:
            return {"type": rng.choice(["string", "integer", "boolean"])}
        parts: dict[str, JSON] = {"type": rng.choice(["object", "string", "array", "integer"])}
        if rng.random() < 0.06:
            parts["type"] = rng.choice(
                ["object", "string", "array", ["string", "null"], "int", "any", [], {}, None, 3, "x" * 999]
            )
        for key, make in {
            "properties": lambda: {
                rng.choice((*TEXTS, "path", "n", "properties", "required")): self.schema(depth - 1)
                for _ in range(rng.randrange(5))
            },
            "required": lambda: rng.choice([["path"], ["path", "path"], "path", True, [3], list(TEXTS)]),
            "items": lambda: rng.choice([self.schema(depth - 1), [self.schema(depth - 1)] * 3, False]),
            "enum": lambda: rng.choice(
                [list(ATOMS[:20]), list(TEXTS), [], "x", [{"a": 1}], ["x"] * 5000, list(range(20_000))]
            ),
            "$ref": lambda: rng.choice(
                ["#", "#/$defs/a", "#/properties/path", "#/" + "x/" * 500, "http://127.0.0.1:9/x", 3, "#/$defs/b"]
            ),
            "$defs": lambda: {
                "a": {"$ref": "#/$defs/b"},
                "b": {"anyOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}] * 3},
            },
            "anyOf": lambda: [self.schema(depth - 1) for _ in range(rng.randrange(4))],
            "allOf": lambda: [self.schema(depth - 1) for _ in range(rng.randrange(4))],
            "not": lambda: self.schema(depth - 1),
            "pattern": lambda: rng.choice(
                ["(a+)+$", "(", "^(([a-z])+.)+[A-Z]([a-z])+$", "(?:a{1,999}){1,999}", "\\p{L}", "[\ud800]", 3, "(.*)*x"]
            ),
            "patternProperties": lambda: {rng.choice(["(a+)+$", "(", "^x"]): self.schema(depth - 1)},
            "additionalProperties": lambda: rng.choice([True, False, self.schema(depth - 1), "x"]),
            "minLength": lambda: rng.choice([0, -1, 10**9, 1e308, "3"]),
            "maxLength": lambda: rng.choice([0, -1, 10**9, float("nan")]),
            "minimum": lambda: rng.choice([0, float("nan"), 1e308, 10**300, "0"]),
            "multipleOf": lambda: rng.choice([0, -1, 1e-308, 0.1]),
            "minItems": lambda: rng.choice([0, 10**9, -1]),
            "uniqueItems": lambda: rng.choice([True, "x"]),
            "format": lambda: rng.choice(["date-time", "uri", "x" * 9999, 3]),
            "default": lambda: self.value(),
            "const": lambda: self.value(1),
            "description": lambda: rng.choice([*TEXTS, 3, {}, "d" * 50_000]),
            "title": lambda: rng.choice([*TEXTS, []]),
            "nullable": lambda: True,
            "$dynamicRef": lambda: "#x",
        }.items():
            if rng.random() < (0.02 if key in RISKY else 0.12):
                parts[key] = make()
        return parts

    def tool(self) -> JSON:
        """What should be a tool of a list."""
        rng = self.rng
        schema = self.schema()
        if isinstance(schema, dict) and rng.random() < 0.7:
            # Usable so far: what is wrong lies further in.
            kept = ("properties", "required", "additionalProperties", "patternProperties", "$defs")
            inner = {name: self.schema(2) for name in ("path", "n", "mode") if rng.random() < 0.7}
            schema = {key: schema[key] for key in kept if key in schema and rng.random() < 0.3} | {"type": "object"}
            schema.setdefault("properties", inner)
        if rng.random() < 0.05:
            schema = nested(rng.choice((40, 200, 600)), True, {"type": "object", "properties": {"x": None}})
        tool = {
            "name": rng.choice(["echo", "echo", "read path"]) if rng.random() < 0.8 else rng.choice(TEXTS),
            "title": rng.choice([None, "Echo", *TEXTS]),
            "description": rng.choice(["Gives back.", *TEXTS, 3]),
            "inputSchema": schema,
            "outputSchema": self.schema(2),
            "annotations": rng.choice([{"readOnlyHint": True}, {"destructiveHint": "yes"}, self.value(1)]),
            "_meta": self.value(1),
            "icons": self.value(1),
        }
        return tool if rng.random() < 0.7 else self.mutated(tool)

    def result(self) -> JSON:
        """What should be the result of a call."""
        rng = self.rng
        block = rng.choice(
            [
                {"type": "text", "text": rng.choice(TEXTS)},
                {"type": "image", "data": "not base64!", "mimeType": rng.choice(TEXTS)},
                {"type": "resource", "resource": {"uri": "x://y", "text": "z"}},
                {"type": "resource_link", "uri": rng.choice(TEXTS), "name": "n"},
                {"type": rng.choice(TEXTS)},
                {},
            ]
        )
        whole = {
            "content": [block] * rng.choice((0, 1, 1, 3)),
            "structuredContent": self.value(),
            "isError": rng.choice([True, False, "no", 3]),
            "_meta": self.value(1),
        }
        kept = {key: part for key, part in whole.items() if rng.random() < 0.7}
        return kept if rng.random() < 0.4 else self.mutated(kept or whole)

    def config(self) -> bytes:
        """What should be a config file."""
        whole: JSON = {
            "mcpServers": {
                "a": {"command": "x", "args": ["y", "${env:HOME}"], "env": {"K": "v"}, "cwd": "/"},
                "b": {"url": "http://127.0.0.1/mcp", "headers": {"H": "v"}, "type": "http"},
            },
            "dualtune": {
                "servers": {
                    "a": {
                        "mode": "auto",
                        "arguments": {"x": 1},
                        "context": {"k": "v"},
                        "allow": ["*"],
                        "policy": "ask",
                        "start_timeout": 3,
                    }
                },
                "model": {"path": "m", "adapters": ["x"], "threads": 2, "precision": "int8"},
                "limits": {"steps": 3, "seconds": 1.5},
                "policy": [{"match": "a/*", "action": "ask"}],
                "http": {"host": "127.0.0.1", "port": 1},
                "audit": {"file": "x", "max_bytes": 10, "keep": 1},
                "thresholds": {"none": 0.5},
                "expose": "all",
                "pins": "warn",
            },
        }
        return self.broken(as_text(self.mutated(whole, self.rng.choice((1, 1, 1, 2, 6)))))


def nested(depth: int, mapping: bool, template: JSON = None) -> JSON:
    """A value so deep; `template` is put around, with the next level under `properties.x`."""
    value: JSON = "deep"
    for _ in range(depth):
        if template is not None:
            value = {**template, "properties": {"x": value}}
        else:
            value = {"a": value} if mapping else [value]
    return value

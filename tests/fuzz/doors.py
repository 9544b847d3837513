"""Malformed messages at every front door of a real `dualtune serve`: it answers honest clients afterwards."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import anyio
import httpx2

from mcp_dualtune.errors import leaf_error
from tests.fuzz.inputs import LEGACY, META, MODERN, Inputs, as_text

ROOT = Path(__file__).resolve().parents[2]
NOTES = ROOT / "examples" / "servers" / "notes.py"
START_SECONDS, ANSWER_SECONDS, END_SECONDS = 180.0, 60.0, 60.0
BATCH = 40
"""Messages between two honest questions."""
HELLO = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "fuzz", "version": "1"}}
JSON_HEADERS = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
Web = Literal["http", "sse"]


@dataclass
class Serving:
    """One running server."""

    process: subprocess.Popen[bytes]
    said: list[str]
    address: str = ""


@contextmanager
def serve(transport: str, failures: list[str]) -> Iterator[Serving]:
    """Run the server; a traceback or a wrong end is a failure."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.json"
        notes = {"command": sys.executable, "args": [str(NOTES), f"{folder}/notes"]}
        # No model stands there: requests in words are answered with an error, at once.
        own = {
            "model": {"path": folder},
            "expose": "all",
            "state": folder,
            "servers": {"notes": {"start_timeout": 180}},
        }
        config.write_text(json.dumps({"mcpServers": {"notes": notes}, "dualtune": own}), encoding="utf-8")
        words = ["serve", "--config", str(config), "--transport", transport]
        words += [] if transport == "stdio" else ["--port", "0", "--no-token"]
        process = subprocess.Popen(
            [sys.executable, "-m", "mcp_dualtune", *words],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        serving = Serving(process, [])
        listening = threading.Event()
        reader = threading.Thread(target=_listen, args=(serving, listening), daemon=True)
        reader.start()
        try:
            if transport != "stdio":
                assert listening.wait(START_SECONDS), "".join(serving.said)
            yield serving
            assert process.poll() is None, f"it ended with {process.returncode}: {''.join(serving.said)[-2000:]}"
            assert process.stdin is not None
            process.stdin.close()
            if transport != "stdio":
                process.terminate()
            status = process.wait(END_SECONDS)
            assert status == (0 if transport == "stdio" else 143), f"it ended with {status}"
        except Exception as error:
            leaf = leaf_error(error)
            failures.append(f"{transport}: {type(leaf).__name__}: {str(leaf)[:2000]}")
        finally:
            process.kill()
            process.wait(END_SECONDS)
            reader.join(END_SECONDS)
            for stream in (process.stdin, process.stdout, process.stderr):
                with suppress(OSError, ValueError):
                    stream and stream.close()
            text = "".join(serving.said)
            if "Traceback" in text:
                failures.append(f"{transport}: a traceback: {text[text.index('Traceback') :][:3000]}")


def _listen(serving: Serving, listening: threading.Event) -> None:
    assert serving.process.stderr is not None
    for line in serving.process.stderr:
        text = line.decode("utf-8", "replace")
        serving.said.append(text)
        if "listening on" in text:
            serving.address = text.split("listening on")[1].strip()
            listening.set()


def stdio(seed: int, count: int, failures: list[str], *, modern: bool) -> Counter[str]:
    """Lines on standard input."""
    outcomes: Counter[str] = Counter()
    with serve("stdio", failures) as serving:
        process = serving.process
        assert process.stdin is not None and process.stdout is not None
        answered: dict[str, threading.Event] = {}

        def drain() -> None:
            for line in process.stdout or ():
                outcomes["answered"] += 1
                number = json.loads(line).get("id")
                if isinstance(number, str) and number in answered:
                    answered[number].set()

        reader = threading.Thread(target=drain, daemon=True)
        reader.start()

        def ask(name: str, method: str, params: Any) -> None:
            answered[name] = threading.Event()
            body = {"jsonrpc": "2.0", "id": name, "method": method, "params": params}
            process.stdin.write(as_text(body).encode() + b"\n")
            process.stdin.flush()
            wait = START_SECONDS if name == "hello" else ANSWER_SECONDS
            assert answered[name].wait(wait), f"no answer to {name} after {outcomes['sent']} messages"

        honest = ("tools/list", {"_meta": META}) if modern else ("ping", {})
        ask("hello", *(honest if modern else ("initialize", HELLO)))
        for place in range(count):
            inputs = Inputs(f"{seed} stdio {modern} {place}")
            line = inputs.broken(as_text(inputs.message(modern=modern))).replace(b"\n", b" ")
            process.stdin.write(line + b"\n")
            outcomes["sent"] += 1
            if place % BATCH == BATCH - 1 or place == count - 1:
                ask(f"honest {place}", *honest)
    return outcomes


async def web(transport: Web, seed: int, count: int, failures: list[str]) -> Counter[str]:
    """Bodies of POST requests, to an endpoint or to the open session of one."""
    outcomes: Counter[str] = Counter()
    with serve(transport, failures) as serving:
        async with httpx2.AsyncClient(timeout=ANSWER_SECONDS) as client, anyio.create_task_group() as tasks:
            if transport == "http":
                await _http(client, serving.address, seed, count, outcomes)
            else:
                await _sse(client, serving.address, seed, count, outcomes, tasks)
            tasks.cancel_scope.cancel()
    return outcomes


def _request(inputs: Inputs, session: str) -> tuple[dict[str, str], bytes]:
    """Headers and body that fit each other, more or less."""
    modern = inputs.rng.random() < 0.5
    body = inputs.message(modern=modern)
    headers = dict(JSON_HEADERS)
    if not modern and session and inputs.rng.random() < 0.9:
        headers |= {"Mcp-Session-Id": session, "MCP-Protocol-Version": LEGACY}
    if modern and isinstance(body, dict):
        method, params = body.get("method"), body.get("params")
        headers |= {"MCP-Protocol-Version": MODERN}
        if isinstance(method, str) and method.isprintable() and method.isascii():
            headers["Mcp-Method"] = method
        if isinstance(params, dict) and str(params.get("name", "")).isidentifier():
            headers["Mcp-Name"] = str(params["name"])
    if inputs.rng.random() < 0.15:
        name = inputs.rng.choice([*headers, "Mcp-Session-Id", "Last-Event-ID", "Origin", "Authorization"])
        headers[name] = inputs.rng.choice(["", "x", "application/json", "0", "-1", "9" * 40, "%00"])
    return headers, inputs.broken(as_text(body))


async def _raw(address: str, headers: dict[str, str], body: bytes, inputs: Inputs) -> str:
    """A request that no HTTP client would send."""
    host, port = address.split("/")[2].rsplit(":", 1)
    length = inputs.rng.choice([str(len(body)), "-1", "9" * 40, "x", "0", "5"])
    lines = [inputs.rng.choice(["POST /mcp HTTP/1.1", "POST /mcp HTTP/9", "GET", "\x00\x01", "POST " + "/" * 70_000])]
    lines += [f"Host: {host}:{port}", f"Content-Length: {length}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += inputs.rng.choice(
        [[], ["Transfer-Encoding: chunked"], ["no colon"], ["X: " + "x" * 90_000], ["Host: evil"]]
    )
    async with await anyio.connect_tcp(host, int(port)) as stream:
        await stream.send("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        with anyio.move_on_after(2):
            try:
                answer = await stream.receive()
            except anyio.EndOfStream:
                return "connection closed"
            assert b" 500 " not in answer[:20], f"HTTP 500 to {lines[0][:60]!r}"
            return f"HTTP {answer[9:12].decode('latin-1')}"
    return "left open"


async def _http(client: httpx2.AsyncClient, address: str, seed: int, count: int, outcomes: Counter[str]) -> None:
    limiter = anyio.CapacityLimiter(8)
    session = ""

    async def post(place: int) -> None:
        inputs = Inputs(f"{seed} http {place}")
        headers, body = _request(inputs, session)
        async with limiter:
            with anyio.move_on_after(5) as scope:
                try:
                    if inputs.rng.random() < 0.1:
                        outcomes[await _raw(address, headers, body, inputs)] += 1
                    else:
                        method = inputs.rng.choice(["POST"] * 20 + ["GET", "DELETE", "PUT", "OPTIONS"])
                        async with client.stream(method, address, content=body, headers=headers) as answer:
                            assert answer.status_code != 500, f"HTTP 500 to {place}: {body[:300]!r}"
                            outcomes[f"HTTP {answer.status_code}"] += 1
                            await answer.aread()
                except (httpx2.ProtocolError, httpx2.ReadError, httpx2.WriteError, OSError, anyio.BrokenResourceError):
                    outcomes["connection closed"] += 1
            # An honest GET or listen stream stays open: leaving it is the client's business.
            outcomes["left open"] += scope.cancelled_caught
            outcomes["sent"] += 1

    for start in range(0, count, BATCH):
        async with anyio.create_task_group() as tasks:
            for place in range(start, min(start + BATCH, count)):
                tasks.start_soon(post, place)
        hello = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": HELLO}
        # On a connection of its own: those that were misused may be closed.
        async with httpx2.AsyncClient(timeout=ANSWER_SECONDS) as honest:
            answer = await honest.post(address, json=hello, headers=JSON_HEADERS)
        assert answer.status_code == 200, f"no honest answer after {start}: {answer.status_code} {answer.text[:300]}"
        session = answer.headers["Mcp-Session-Id"]


async def _sse(
    client: httpx2.AsyncClient, address: str, seed: int, count: int, outcomes: Counter[str], tasks: Any
) -> None:
    send, endpoint = anyio.create_memory_object_stream[str](1)
    answered: dict[str, anyio.Event] = {}

    async def follow() -> None:
        async with client.stream("GET", address, timeout=None) as events:
            rest = b""
            async for chunk in events.aiter_bytes():
                # Not `aiter_lines`, which takes characters inside a message for ends of lines.
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    await hear(line.decode("utf-8").rstrip("\r"))

    async def hear(line: str) -> None:
        if line.startswith("data: /"):
            with send:
                await send.send(line.removeprefix("data: "))
        elif line.startswith("data: {"):
            outcomes["answered"] += 1
            number = json.loads(line.removeprefix("data: ")).get("id")
            if isinstance(number, str) and number in answered:
                answered[number].set()

    async def ask(name: str, method: str, params: Any) -> None:
        answered[name] = anyio.Event()
        body = {"jsonrpc": "2.0", "id": name, "method": method, "params": params}
        await client.post(target, json=body)
        with anyio.fail_after(ANSWER_SECONDS):
            await answered[name].wait()

    tasks.start_soon(follow)
    with anyio.fail_after(ANSWER_SECONDS), endpoint:
        target = address.removesuffix("/sse") + await endpoint.receive()
    await ask("hello", "initialize", HELLO)
    for place in range(count):
        inputs = Inputs(f"{seed} sse {place}")
        where = (
            target if inputs.rng.random() < 0.9 else target[: -inputs.rng.randrange(1, 20)] + inputs.rng.choice("gZ0%")
        )
        body = inputs.broken(as_text(inputs.message(modern=False)))
        answer = await client.post(where, content=body, headers=JSON_HEADERS)
        assert answer.status_code != 500, f"HTTP 500 to {place}"
        outcomes[f"HTTP {answer.status_code}"] += 1
        outcomes["sent"] += 1
        if place % BATCH == BATCH - 1 or place == count - 1:
            await ask(f"honest {place}", "ping", {})

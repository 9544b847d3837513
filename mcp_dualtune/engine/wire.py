"""JSON over HTTP to a model server: every wait bounded, every failure an EngineError that says what to do.

Owns the connection, limits and retries. Refuses to own: what is asked and what the answers mean (`vllm`,
`llama_server`). Nothing of the environment is read: no proxy stands between unless the URL names it.
"""

from __future__ import annotations

import ipaddress
import json
import random
from collections.abc import Callable
from concurrent.futures import Future, wait
from threading import Event, Thread
from time import monotonic, sleep
from typing import Any

import httpx2

from mcp_dualtune.errors import Cancelled, EngineError

ANSWER_LIMIT = 64 * 2**20
"""Bytes of one answer: log-probabilities of a long prompt are some megabytes."""
CONNECT_SECONDS = 5.0
LOOK_SECONDS = 0.05
"""How often who waits for an answer looks whether it is still wanted."""
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
BUSY = (429, 502, 503, 504)
"""The server did nothing and says that it may later: asking again is safe."""


class NotOffered(EngineError):
    """The server does not know this kind of question."""


class Wire:
    """One model server."""

    def __init__(
        self,
        url: str,
        key: str | None = None,
        seconds: float = 60.0,
        retries: int = 2,
        pause: Callable[..., Any] = sleep,
        setting: str = "dualtune.model.remote",
    ) -> None:
        """`url` ends with `/v1`, as clients of such servers write it; `seconds` bounds each answer as a whole.

        `setting` is where the config names the server, for hints.
        """
        self.url = url.rstrip("/")
        self._root = self.url.removesuffix("/v1")
        self._seconds, self._retries, self._pause, self._setting = seconds, retries, pause, setting
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        limits = httpx2.Timeout(seconds, connect=min(CONNECT_SECONDS, seconds))
        # A redirect would carry requests to a place that the user has not named.
        self._client = httpx2.Client(headers=headers, timeout=limits, follow_redirects=False, trust_env=False)

    def get(self, path: str, cancel: Event | None = None, *, root: bool = False) -> Any:
        """Ask for what the server says of itself.

        Raises:
            NotOffered, EngineError, Cancelled: as `post`.
        """
        return self._ask("GET", path, None, cancel, root, False)

    def post(self, path: str, body: Any, cancel: Event | None = None, *, root: bool = False, text: bool = False) -> Any:
        """Send a question that may be sent again without harm.

        `root` leaves the `/v1` of the URL out; `text` says that the answer is not JSON, and of no further interest.

        Raises:
            NotOffered: there is no such path, or the server refuses what the question holds.
            EngineError: it is down, slow, refuses us, or answers something that is not JSON.
            Cancelled: `cancel` was set before the answer was there.
        """
        return self._ask("POST", path, body, cancel, root, text)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _ask(self, method: str, path: str, body: Any, cancel: Event | None, root: bool, text: bool) -> Any:
        address = f"{self._root if root else self.url}{path}"
        ends = monotonic() + self._seconds
        for attempt in range(self._retries + 1):
            last = attempt == self._retries
            try:
                status, content = self._send(method, address, body, cancel, ends)
            except httpx2.ConnectError as error:
                if last:
                    hint = f"Start it, or correct {self._setting}.url."
                    problem = f"The model server at {self.url} cannot be reached: {error}."
                    raise EngineError(problem, hint=hint, retryable=True) from error
            # A slow server is not asked again: that would only add to its work.
            except httpx2.TimeoutException as error:
                raise self._slow() from error
            except httpx2.HTTPError as error:
                if last:
                    problem = f"The model server at {self.url} broke off: {type(error).__name__}."
                    raise EngineError(problem, hint="Look into its log.", retryable=True) from error
            else:
                if status not in BUSY or last:
                    return self._answer(status, content, path, text)
            self._wait(attempt, ends, cancel)
        raise AssertionError("unreachable")

    def _send(self, method: str, address: str, body: Any, cancel: Event | None, ends: float) -> tuple[int, bytes]:
        """Status and whole body, fetched by a thread of its own: who waits can be cancelled while nothing comes."""
        _check(cancel)
        answer: Future[tuple[int, bytes]] = Future()
        Thread(
            target=self._fetch, args=(method, address, body, ends, answer), name="dualtune-wire", daemon=True
        ).start()
        while not wait([answer], LOOK_SECONDS).done:
            _check(cancel)
            if monotonic() > ends:
                raise self._slow()
        return answer.result()

    def _fetch(self, method: str, address: str, body: Any, ends: float, answer: Future[tuple[int, bytes]]) -> None:
        """Runs in the thread; ends by itself within the limits, also when nobody waits any longer."""
        content = bytearray()
        try:
            with self._client.stream(method, address, json=body) as response:
                for part in response.iter_bytes():
                    content += part
                    # A server that sends drop by drop is as slow as one that is silent.
                    if monotonic() > ends:
                        raise self._slow()
                    if len(content) > ANSWER_LIMIT:
                        raise self.strange("more than a model has to say")
            answer.set_result((response.status_code, bytes(content)))
        # Whatever went wrong belongs to the thread that waits.
        except BaseException as error:
            answer.set_exception(error)

    def _answer(self, status: int, content: bytes, path: str, text: bool) -> Any:
        if status in (401, 403):
            hint = f"Put its key into an environment variable, and the variable's name into {self._setting}.key_env."
            raise EngineError(f"The model server at {self.url} refuses us (status {status}).", hint=hint)
        if status >= 500:
            problem = f"The model server at {self.url} failed (status {status}): {_said(content)}"
            raise EngineError(problem, hint="Look into its log.", retryable=status in BUSY)
        if status >= 300:
            problem = f"The model server at {self.url} does not do {path} (status {status}): {_said(content)}"
            raise NotOffered(problem, hint="Use vLLM or the llama.cpp server in a current version.")
        try:
            return None if text else json.loads(content)
        except ValueError as error:
            raise self.strange(f"something that is not JSON: {_said(content)}") from error

    def strange(self, what: str) -> EngineError:
        """The error for an answer that makes no sense."""
        hint = f"Check that {self._setting}.url is the address of a model server, and ends with /v1."
        return EngineError(f"The model server at {self.url} answered {what}.", hint=hint)

    def _slow(self) -> EngineError:
        problem = f"The model server at {self.url} gave no whole answer within {self._seconds:g} seconds."
        return EngineError(problem, hint=f"Raise {self._setting}.seconds, or use a faster server.", retryable=True)

    def _wait(self, attempt: int, ends: float, cancel: Event | None) -> None:
        _check(cancel)
        pause = min(FIRST_PAUSE * 2**attempt, LONGEST_PAUSE) * random.uniform(0.5, 1.5)
        if monotonic() + pause > ends:
            raise self._slow()
        self._pause(pause)


def is_loopback(url: str) -> bool:
    """Whether what is sent to `url` stays on this machine."""
    host = httpx2.URL(url).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _check(cancel: Event | None) -> None:
    if cancel is not None and cancel.is_set():
        raise Cancelled("The request was cancelled.")


def _said(content: bytes) -> str:
    """The beginning of what a server said, fit for one line of a message."""
    text = "".join(c if c.isprintable() else " " for c in content[:2000].decode("utf-8", "replace"))
    return " ".join(text.split())[:200] or "nothing"

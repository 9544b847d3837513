"""The clients of the suite's `auth/*` scenarios, with a browser that agrees to everything.

Ours is what a user has: a connection that says which login it lacks, and the login that a person then makes. Beside it
stands the SDK's own client, for comparison.
"""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

import anyio
import httpx2
from mcp.client import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.auth.extensions.client_credentials import (
    ClientCredentialsOAuthProvider,
    PrivateKeyJWTOAuthProvider,
    SignedJWTParameters,
)
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from pydantic import AnyUrl

from mcp_dualtune.config import OAuthSettings, ServerConfig, ServerOptions
from mcp_dualtune.downstream.connection import Connection
from mcp_dualtune.downstream.login import log_in
from mcp_dualtune.errors import LoginRequired, ServerUnavailable, leaf_error

LIMIT = 25.0
MOST_LOGINS = 3
"""How often the person behind this client is willing to log in."""
DOCUMENT = "https://conformance-test.local/client-metadata.json"
"""The suite's own name for a client metadata document."""
BACK = "http://127.0.0.1:3/callback"
"""Where the SDK's login comes back to; nothing listens there, as its answer is read from the redirect."""


@dataclass(frozen=True)
class Scenario:
    """One `auth/*` scenario: its server, and what it tells its client."""

    name: str
    url: str
    mode: Literal["legacy", "auto"]
    context: Mapping[str, Any]

    @property
    def machine(self) -> bool:
        """Whether no person is there."""
        return self.name.startswith("auth/client-credentials")


async def with_ours(scenario: Scenario) -> None:
    """Connect and call every tool; log in when it is asked for, with the rights that are asked for."""
    # What a user would write into the config for this scenario.
    oauth = OAuthSettings(
        grant="client_credentials" if scenario.machine else "authorization_code",
        client_id=scenario.context.get("client_id"),
        client_secret=scenario.context.get("client_secret"),
        private_key=scenario.context.get("private_key_pem"),
        signing_algorithm=scenario.context.get("signing_algorithm"),
        client_metadata_url=DOCUMENT,
    )
    options = ServerOptions(mode=scenario.mode, oauth=oauth, start_timeout=LIMIT)
    with tempfile.TemporaryDirectory() as folder:
        config = ServerConfig("peer", "http", url=scenario.url, options=options, state=Path(folder))
        for _ in range(MOST_LOGINS):
            try:
                return await _use(config)
            except Exception as error:
                leaf = leaf_error(error)
                if not isinstance(leaf, LoginRequired):
                    raise
                words = shlex.split(leaf.hint.strip("`.").removeprefix("Run `"))
                scope = words[words.index("--scope") + 1] if "--scope" in words else None
                await log_in(config, _browse, scope=scope)
        raise ServerUnavailable("It asks for one login after the other.")


async def with_sdk(scenario: Scenario) -> None:
    """The same with the SDK's client and its own login flow."""
    async with (
        httpx2.AsyncClient(auth=_provider(scenario), timeout=LIMIT) as http,
        Client(streamable_http_client(scenario.url, http_client=http), mode=scenario.mode) as client,
    ):
        for tool in (await client.list_tools()).tools:
            await client.call_tool(tool.name, {})


LOGINS: Mapping[str, Callable[[Scenario], Awaitable[None]]] = {"SDK": with_sdk, "gateway": with_ours}


async def _use(config: ServerConfig) -> None:
    connection = Connection(config)
    async with anyio.create_task_group() as group:
        group.start_soon(connection.run)
        await connection.ready.wait()
        for tool in connection.tools:
            await connection.call(str(tool["name"]), {})
        connection.stop()


async def _browse(address: str) -> None:
    """Go to the login page and back."""
    async with httpx2.AsyncClient(follow_redirects=True, timeout=LIMIT) as browser:
        await browser.get(address)


class _Memory:
    """What the SDK keeps of a login."""

    def __init__(self, client: OAuthClientInformationFull | None) -> None:
        self.client, self.tokens = client, None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


def _provider(scenario: Scenario) -> OAuthClientProvider:
    told = scenario.context
    client, secret = told.get("client_id"), told.get("client_secret")
    if key := told.get("private_key_pem"):
        assert client is not None
        signed = SignedJWTParameters(
            issuer=client, subject=client, signing_key=key, signing_algorithm=told.get("signing_algorithm", "ES256")
        )
        assertion = signed.create_assertion_provider()
        return PrivateKeyJWTOAuthProvider(scenario.url, _Memory(None), client, assertion_provider=assertion)
    if scenario.machine:
        assert client is not None and secret is not None
        return ClientCredentialsOAuthProvider(scenario.url, _Memory(None), client, secret)
    back = [AnyUrl(BACK)]
    known = None
    if client is not None:
        method = "client_secret_basic" if secret else "none"
        known = OAuthClientInformationFull(
            client_id=client, client_secret=secret, redirect_uris=back, token_endpoint_auth_method=method
        )
    answers: list[AuthorizationCodeResult] = []

    async def show(address: str) -> None:
        async with httpx2.AsyncClient(timeout=LIMIT) as browser:
            place = (await browser.get(address)).headers["location"]
        said = dict(parse_qsl(urlsplit(place).query))
        answers.append(AuthorizationCodeResult(code=said["code"], state=said.get("state"), iss=said.get("iss")))

    async def answer() -> AuthorizationCodeResult:
        return answers.pop()

    metadata = OAuthClientMetadata(client_name="conformance", redirect_uris=back)
    return OAuthClientProvider(scenario.url, metadata, _Memory(known), show, answer, client_metadata_url=DOCUMENT)

"""OAuth 2.1 at remote servers: a stored token on every request, renewed when it has run out, and getting one at first.

Owns when the SDK's flow runs and with what. The flow itself (discovery, registration, PKCE, exchange, refresh) is the
SDK's. While serving nobody is ever asked: a server that needs a person's login is unavailable and says so. Refuses to
own: where tokens are kept (`tokens`), the page that the browser comes back to (`redirect`).
"""

from __future__ import annotations

import ipaddress
import logging
import shlex
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx2
from mcp.client.auth import OAuthClientProvider, OAuthFlowError
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider, PrivateKeyJWTOAuthProvider
from mcp.client.auth.oauth2 import OAuthContext
from mcp.client.auth.utils import extract_field_from_www_auth, union_scopes
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from pydantic import AnyUrl

from mcp_dualtune.config import OAuthSettings, ServerConfig
from mcp_dualtune.downstream.assertion import signer
from mcp_dualtune.downstream.redirect import Redirect
from mcp_dualtune.downstream.tokens import Login, TokenStore
from mcp_dualtune.errors import DownstreamError, LoginRequired, ServerUnavailable

REQUEST_SECONDS = 10.0
RENEW_SECONDS = 15.0
"""Longest wait for a renewal; it is not broken off before, as the old refresh token may be spent already."""
_LONG_AGO = 1.0
_KNOCK = {"jsonrpc": "2.0", "id": 0, "method": "ping"}
"""Changes nothing at the server, whether it is let in or not."""
_SDK_LOG = logging.getLogger("mcp.client.auth.oauth2")


@dataclass(frozen=True)
class Person:
    """Somebody who can log in with a browser."""

    show: Callable[[str], Awaitable[None]]
    """Brings the address of the login page to them."""
    redirect: Redirect
    scope: str | None = None
    """Asked for instead of what config or server say."""


def takes_login(config: ServerConfig) -> bool:
    """Whether a login may be used at this server; a token that stands in its headers speaks for itself."""
    fixed = any(name.lower() == "authorization" for name in config.headers)
    return config.transport != "stdio" and (config.options.oauth is not None or not fixed)


class StoredToken(httpx2.Auth):
    """Signs the requests of one connection with what is kept of its server's login."""

    def __init__(self, config: ServerConfig) -> None:
        self.config, self.store = config, TokenStore(config)
        self.failure: DownstreamError | None = None
        """Why the server refuses us; None while it does not."""
        self.denied: LoginRequired | None = None
        """Why it refused the last request only: our rights do not reach that far."""
        self._login = Login(server=self.store.url)
        self._version: int | None = None
        self._lock = anyio.Lock()

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """Send the request signed; after a refusal once more, with a new token if one can be had."""
        token = await self._token()
        response = yield _signed(request, token)
        if response.status_code == 401:
            again = await self._token(refused=token or "")
            if again is not None:
                token = again
                response = yield _signed(request, again)
        self._judge(response, token)

    async def _token(self, refused: str | None = None) -> str | None:
        """The access token to use; `refused` is the one that was just turned down, empty when none was shown."""
        async with self._lock:
            version = self.store.version()
            if version != self._version or refused is not None:
                self._login, self._version = await self.store.read(), version
            login = self._login
            if login.access is not None and login.access != refused:
                return login.access
            if self._is_renewable(login) or (refused is not None and _is_machine(self.config)):
                return await self._renewed(refused)
            return None

    def _is_renewable(self, login: Login) -> bool:
        oauth = self.config.options.oauth
        known = login.client is not None or (oauth is not None and oauth.client_id is not None)
        return known and login.tokens is not None and login.tokens.refresh_token is not None

    async def _renewed(self, refused: str | None) -> str | None:
        name = self.config.name
        try:
            with anyio.CancelScope(shield=True), anyio.fail_after(RENEW_SECONDS):
                async with self.store.alone(RENEW_SECONDS):
                    login = await self.store.read()
                    if login.access is None or login.access == refused:
                        login = await sign_in(self.config, self.store, login)
        except LoginRequired as error:
            self.failure = error
            # What cannot be renewed is of no use any more, and would only be tried again and again.
            spent = self._login.model_copy(update={"tokens": None, "expires_at": None})
            await self.store.write(spent)
            return None
        except DownstreamError as error:
            self.failure = error
            return None
        except TimeoutError:
            self.failure = ServerUnavailable(f'The login at "{name}" could not be renewed within {RENEW_SECONDS:g} s.')
            return None
        self._login, self._version = login, self.store.version()
        return login.access

    def _judge(self, response: httpx2.Response, token: str | None) -> None:
        name, status = self.config.name, response.status_code
        self.denied = None
        if status == 403 and extract_field_from_www_auth(response, "error") == "insufficient_scope":
            granted = self._login.tokens.scope if self._login.tokens else None
            scope = union_scopes(granted, extract_field_from_www_auth(response, "scope")) or ""
            self.denied = LoginRequired(f'"{name}" wants a login with more rights for this.', hint=_how(name, scope))
        elif status == 401 and self.failure is None:
            asks = extract_field_from_www_auth(response, "resource_metadata") is not None
            if token is not None or asks or self.config.options.oauth is not None:
                self.failure = _needs_login(name, token is not None)
        elif status < 400:
            self.failure = None


async def sign_in(config: ServerConfig, store: TokenStore, login: Login, person: Person | None = None) -> Login:
    """Get new tokens and keep them: with a `person` by a new login, without one by renewal or for a machine.

    The login that comes back has no tokens when the server asks for none.

    Raises:
        LoginRequired: it takes a person, and there is none.
        ServerUnavailable: it failed otherwise.
    """
    # It writes every failure with a traceback; ours are told once.
    _SDK_LOG.setLevel(logging.CRITICAL)
    keeping = Keeping(config, store, login, person)
    provider = _provider(config, keeping, person)
    keeping.context = context = provider.context
    if person is None and login.tokens is not None:
        # The SDK keeps neither of these: without them it would ask the server itself for new tokens, or not at all.
        context.oauth_metadata, context.protected_resource_metadata = login.authorization, login.resource
        context.token_expiry_time = _LONG_AGO
    name = config.name
    try:
        status = await _knock(config, provider)
    except OAuthFlowError as error:
        raise _failed(name, str(error)) from error
    except httpx2.HTTPError as error:
        about = f'The login at "{name}" failed: {error or type(error).__name__}.'
        raise ServerUnavailable(about, hint="Is its authorization server reachable from here?") from error
    except ValueError as error:
        raise _failed(name, f"it describes its login in a wrong way: {error}") from error
    if status in (401, 403) and keeping.renewed:
        raise _failed(name, f"it answers HTTP {status} to the token that was just given for it")
    return keeping.login


class Keeping:
    """The SDK's view of what is kept, for one run of its flow."""

    context: OAuthContext

    def __init__(self, config: ServerConfig, store: TokenStore, login: Login, person: Person | None = None) -> None:
        self.store, self.login, self.person = store, login, person
        self.uri = person.redirect.uri if person else "http://127.0.0.1/callback"
        self.renewed = False
        oauth = config.options.oauth
        self.known = None if oauth is None or oauth.client_id is None else _registered(oauth, oauth.client_id, self.uri)

    async def get_tokens(self) -> OAuthToken | None:
        """None for a new login, so that the server asks for one; the old tokens stay until there are new ones."""
        return self.login.tokens if self.person is None else None

    async def set_tokens(self, tokens: OAuthToken) -> None:
        """Keep the tokens with all that renewing them takes; a client of the config stays in the config."""
        self.renewed = True
        context = self.context
        self.login = Login(
            server=self.store.url,
            tokens=tokens,
            expires_at=None if tokens.expires_in is None else time.time() + tokens.expires_in,
            client=None if self.known else context.client_info,
            authorization=context.oauth_metadata,
            resource=context.protected_resource_metadata,
        )
        await self.store.write(self.login)

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        """The client of the config, else the one that we registered, if it may come back to our address."""
        client = self.known or self.login.client
        if client is None or self.person is None or self.known is not None:
            return client
        return client if self.uri in [str(uri) for uri in client.redirect_uris or []] else None

    async def set_client_info(self, client: OAuthClientInformationFull) -> None:
        """Keep a new registration at once, unless tokens of an older one still work."""
        self.login = self.login.model_copy(update={"client": client})
        if self.login.tokens is None:
            await self.store.write(self.login)


class _Provider(OAuthClientProvider):
    """The SDK's flow, asking for the wished scope instead of the server's own."""

    scope: str | None = None

    async def _perform_authorization(self) -> httpx2.Request:
        self.context.client_metadata.scope = self.scope or self.context.client_metadata.scope
        return await super()._perform_authorization()


class _SecretsProvider(_Provider, ClientCredentialsOAuthProvider):
    """The same for a machine with a secret."""


class _KeysProvider(_Provider, PrivateKeyJWTOAuthProvider):
    """The same for a machine with a private key."""


def _provider(config: ServerConfig, keeping: Keeping, person: Person | None) -> OAuthClientProvider:
    oauth, url = config.options.oauth or OAuthSettings(), str(config.url)
    provider: _Provider
    if _is_machine(config) and oauth.private_key is not None:
        assert oauth.client_id is not None
        sign = signer(config)

        async def prove(issuer: str) -> str:
            return sign(issuer)

        provider = _KeysProvider(url, keeping, oauth.client_id, prove, oauth.scope, oauth.issuer)
    elif _is_machine(config):
        assert oauth.client_id is not None and oauth.client_secret is not None
        method: Any = f"client_secret_{oauth.client_auth}"
        provider = _SecretsProvider(
            url, keeping, oauth.client_id, oauth.client_secret, method, oauth.scope, oauth.issuer
        )
    else:
        metadata = OAuthClientMetadata(client_name="mcp-dualtune", redirect_uris=[AnyUrl(keeping.uri)])

        async def show(address: str) -> None:
            if person is None:
                raise _needs_login(config.name, True)
            check_address(config, httpx2.URL(address))
            person.redirect.expect(address)
            await person.show(address)

        async def answer() -> AuthorizationCodeResult:
            assert person is not None
            return await person.redirect.answer()

        provider = _Provider(url, metadata, keeping, show, answer, oauth.client_metadata_url)
    provider.scope = (person.scope if person else None) or oauth.scope
    return provider


async def _knock(config: ServerConfig, provider: OAuthClientProvider) -> int:
    """Make one request that needs a token, so that the SDK gets one; the status of the answer."""

    async def before(request: httpx2.Request) -> None:
        check_address(config, request.url)

    async def after(response: httpx2.Response) -> None:
        asked = response.request
        if asked.method == "POST" and response.status_code >= 500 and str(asked.url) != str(config.url):
            about = f'The authorization server of "{config.name}" answered HTTP {response.status_code}.'
            raise ServerUnavailable(about, hint="It has a problem of its own; try again later.")

    headers = {name: value for name, value in config.headers.items() if name.lower() != "authorization"}
    headers["MCP-Protocol-Version"] = "2025-11-25"
    method, body = ("GET", None) if config.transport == "sse" else ("POST", _KNOCK)
    headers["Accept"] = "text/event-stream" if body is None else "application/json, text/event-stream"
    async with (
        httpx2.AsyncClient(
            headers=headers,
            timeout=REQUEST_SECONDS,
            auth=provider,
            event_hooks={"request": [before], "response": [after]},
        ) as client,
        client.stream(method, str(config.url), json=body) as response,
    ):
        return response.status_code


def check_address(config: ServerConfig, url: httpx2.URL) -> None:
    """What a server on https names for its login must be on https too, or on this machine.

    Raises:
        ServerUnavailable: it is not.
    """
    if urlsplit(str(config.url)).scheme != "https" or url.scheme == "https":
        return
    try:
        is_here = ipaddress.ip_address(url.host).is_loopback
    except ValueError:
        is_here = url.host == "localhost"
    if url.scheme != "http" or not is_here:
        raise _failed(config.name, f"it names an address that is not https: {url.copy_with(query=None)}")


def _registered(oauth: OAuthSettings, client: str, uri: str) -> OAuthClientInformationFull:
    method = f"client_secret_{oauth.client_auth}" if oauth.client_secret else "none"
    return OAuthClientInformationFull(
        client_id=client,
        client_secret=oauth.client_secret,
        redirect_uris=[AnyUrl(uri)],
        token_endpoint_auth_method="private_key_jwt" if oauth.private_key else method,
        issuer=oauth.issuer,
    )


def _is_machine(config: ServerConfig) -> bool:
    return config.options.oauth is not None and config.options.oauth.grant == "client_credentials"


def _signed(request: httpx2.Request, token: str | None) -> httpx2.Request:
    if token is not None:
        request.headers["Authorization"] = f"Bearer {token}"
    return request


def _needs_login(name: str, had_one: bool) -> LoginRequired:
    about = f'The login at "{name}" has run out.' if had_one else f'"{name}" waits for you to log in.'
    return LoginRequired(about, hint=_how(name))


def _how(name: str, scope: str = "") -> str:
    more = f" --scope {shlex.quote(scope)}" if scope else ""
    return f"Run `dualtune auth login {shlex.quote(name)}{more}`."


def _failed(name: str, reason: str) -> ServerUnavailable:
    about = f'The login at "{name}" failed: {" ".join(reason.split())[:500].rstrip(".")}.'
    return ServerUnavailable(about, hint="Check its address and its oauth settings in the config.", retryable=False)

"""Logging in at a remote server, how a login stands, and logging out: what a person does, never what serving does.

Owns these three as whole acts. Refuses to own: the flow and its requests (`oauth`), asking the person (`cli`).
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

import anyio
import httpx2
from mcp.client.auth.oauth2 import OAuthContext
from mcp.shared.auth import OAuthClientMetadata
from pydantic import AnyUrl

from mcp_dualtune.config import ServerConfig
from mcp_dualtune.downstream.assertion import ASSERTION_TYPE, signer
from mcp_dualtune.downstream.oauth import Keeping, Person, check_address, sign_in
from mcp_dualtune.downstream.redirect import listening
from mcp_dualtune.downstream.resolved import resolved
from mcp_dualtune.downstream.tokens import Login, TokenStore
from mcp_dualtune.errors import ServerTimeout

REVOKE_SECONDS = 10.0
Standing = Literal["logged in", "renews itself", "run out", "not logged in"]


@dataclass(frozen=True)
class LoginState:
    """How the login at one server stands, as far as this machine knows."""

    server: str
    standing: Standing
    expires_at: float | None = None
    """In seconds since 1970, of the access token."""
    scope: str | None = None
    issuer: str | None = None
    place: str = ""
    """Where it is kept."""


async def log_in(
    server: ServerConfig, show: Callable[[str], Awaitable[None]], *, scope: str | None = None, timeout: float = 300.0
) -> LoginState:
    """Log in anew; `show` brings the address of the login page to the person. Old tokens work until there are new ones.

    Raises:
        ServerUnavailable: it failed, or the person refused.
        ServerTimeout: the person did not finish within `timeout` seconds.
        ConfigError: the configured port for the browser's return is in use.
    """
    config = await resolved(server)
    store, oauth = TokenStore(config), config.options.oauth
    login = await store.read()
    try:
        with anyio.fail_after(timeout):
            async with listening(oauth.redirect_port if oauth else None, _last_port(login)) as redirect:
                made = await sign_in(config, store, login, Person(show, redirect, scope))
    except TimeoutError as error:
        about = f'The login at "{config.name}" was not finished within {timeout:g} s.'
        raise ServerTimeout(about, hint="Run it again, or give it longer with --timeout.") from error
    return _state(store, made)


async def login_state(server: ServerConfig) -> LoginState:
    """How the login at a server stands; neither the server nor its authorization server is asked.

    Raises:
        ServerUnavailable: what is kept cannot be read.
    """
    store = TokenStore(server)
    return _state(store, await store.read())


async def log_out(server: ServerConfig) -> bool:
    """Forget the login at a server, and tell its authorization server if that wants to know; False if there was none.

    Raises:
        ServerUnavailable: what is kept cannot be removed.
    """
    config = await resolved(server)
    store = TokenStore(config)
    login = await store.read()
    there = await store.remove()
    with anyio.move_on_after(REVOKE_SECONDS):
        await _revoke(config, store, login)
    return there and login.tokens is not None


async def _revoke(config: ServerConfig, store: TokenStore, login: Login) -> None:
    """RFC 7009, as a courtesy: what is forgotten here should be worth nothing elsewhere."""
    authorization, tokens = login.authorization, login.tokens
    if tokens is None or authorization is None or authorization.revocation_endpoint is None:
        return
    keeping = Keeping(config, store, login)
    metadata = OAuthClientMetadata(redirect_uris=[AnyUrl(keeping.uri)])
    context = OAuthContext(store.url, metadata, keeping, None, None)
    context.client_info = client = await keeping.get_client_info()
    if client is None:
        return
    check_address(config, httpx2.URL(str(authorization.revocation_endpoint)))
    form = {"token": tokens.refresh_token or tokens.access_token, "client_id": client.client_id}
    form, headers = context.prepare_token_auth(form, {})
    if config.options.oauth is not None and config.options.oauth.private_key is not None:
        form |= {"client_assertion_type": ASSERTION_TYPE, "client_assertion": signer(config)(str(authorization.issuer))}
    try:
        async with httpx2.AsyncClient(timeout=REVOKE_SECONDS) as browser:
            await browser.post(str(authorization.revocation_endpoint), data=form, headers=headers)
    except httpx2.HTTPError:
        return


def _last_port(login: Login) -> int | None:
    """The port that our registration names: with the same one it need not be made again."""
    uris = (login.client.redirect_uris if login.client else None) or []
    return urlsplit(str(uris[0])).port if uris else None


def _state(store: TokenStore, login: Login) -> LoginState:
    standing: Standing = "not logged in"
    if login.tokens is not None:
        alive = login.expires_at is None or time.time() < login.expires_at
        standing = "renews itself" if login.tokens.refresh_token else "logged in" if alive else "run out"
    return LoginState(
        server=store.name,
        standing=standing,
        expires_at=login.expires_at,
        scope=login.tokens.scope if login.tokens else None,
        issuer=str(login.authorization.issuer) if login.authorization else None,
        place=store.place,
    )

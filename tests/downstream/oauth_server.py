"""An authorization server and an MCP server behind it, each on a port of its own, made of the SDK's server side."""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import jwt
from mcp.server.auth.provider import (
    AccessToken,
    AuthorizationCode,
    AuthorizationParams,
    OAuthAuthorizationServerProvider,
    ProviderTokenVerifier,
    RefreshToken,
    TokenError,
    construct_redirect_uri,
)
from mcp.server.auth.routes import create_auth_routes
from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions, RevocationOptions
from mcp.server.mcpserver import MCPServer
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from pydantic import AnyHttpUrl, AnyUrl
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mcp_dualtune.config import OAuthSettings, ServerConfig, ServerOptions
from tests.downstream.test_transports import serving


class Authority(OAuthAuthorizationServerProvider[AuthorizationCode, RefreshToken, AccessToken]):
    """Gives everybody what they ask for; refresh tokens are good for one use, and using one twice ends the login."""

    def __init__(self) -> None:
        self.clients: dict[str, OAuthClientInformationFull] = {}
        self.codes: dict[str, AuthorizationCode] = {}
        self.access: dict[str, AccessToken] = {}
        self.refresh: dict[str, RefreshToken] = {}
        self.spent: set[str] = set()
        self.registered, self.refreshed = 0, 0
        self.refuses = False
        self.asked: list[AuthorizationParams] = []

    async def get_client(self, client_id: str) -> OAuthClientInformationFull | None:
        return self.clients.get(client_id)

    async def register_client(self, client_info: OAuthClientInformationFull) -> None:
        self.registered += 1
        self.clients[client_info.client_id] = client_info

    async def authorize(self, client: OAuthClientInformationFull, params: AuthorizationParams) -> str:
        self.asked.append(params)
        back = str(params.redirect_uri)
        if self.refuses:
            return construct_redirect_uri(
                back, error="access_denied", error_description="not\ntoday", state=params.state
            )
        code = AuthorizationCode(
            code=secrets.token_urlsafe(24),
            scopes=params.scopes or [],
            expires_at=time.time() + 60,
            client_id=client.client_id,
            code_challenge=params.code_challenge,
            redirect_uri=params.redirect_uri,
            redirect_uri_provided_explicitly=params.redirect_uri_provided_explicitly,
            resource=params.resource,
        )
        self.codes[code.code] = code
        return construct_redirect_uri(back, code=code.code, state=params.state)

    async def load_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: str
    ) -> AuthorizationCode | None:
        return self.codes.get(authorization_code)

    async def exchange_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: AuthorizationCode
    ) -> OAuthToken:
        del self.codes[authorization_code.code]
        return self.issue(client.client_id, authorization_code.scopes, authorization_code.resource)

    def issue(self, client: str, scopes: list[str], resource: str | None, *, renewable: bool = True) -> OAuthToken:
        access, refresh = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        until = int(time.time()) + 3600
        self.access[access] = AccessToken(
            token=access, client_id=client, scopes=scopes, expires_at=until, resource=resource
        )
        if renewable:
            self.refresh[refresh] = RefreshToken(token=refresh, client_id=client, scopes=scopes, resource=resource)
        return OAuthToken(
            access_token=access,
            expires_in=3600,
            scope=" ".join(scopes),
            refresh_token=refresh if renewable else None,
        )

    async def load_refresh_token(self, client: OAuthClientInformationFull, refresh_token: str) -> RefreshToken | None:
        if refresh_token in self.spent:
            self.forget()
        return self.refresh.get(refresh_token)

    async def exchange_refresh_token(
        self, client: OAuthClientInformationFull, refresh_token: RefreshToken, scopes: list[str]
    ) -> OAuthToken:
        if self.refresh.pop(refresh_token.token, None) is None:
            raise TokenError("invalid_grant")
        self.refreshed += 1
        self.spent.add(refresh_token.token)
        return self.issue(client.client_id, scopes, refresh_token.resource)

    async def load_access_token(self, token: str) -> AccessToken | None:
        return self.access.get(token)

    async def revoke_token(self, token: AccessToken | RefreshToken) -> None:
        self.forget()

    def forget(self) -> None:
        """End every login."""
        self.access.clear()
        self.refresh.clear()


@dataclass
class World:
    """Both servers, running."""

    authority: Authority
    issuer: str
    url: str
    state: Path
    kind: str = "http"
    outage: dict[str, int] = field(default_factory=dict)
    """By path of the authorization server: the status it answers instead of doing its work."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """Put over what the authorization server says of itself."""
    wanted: str | None = None
    """A scope that the MCP server misses in every request, while it is set."""
    key: str | None = None
    """Public key of the client `robot`; without one it has a secret."""
    proofs: list[dict[str, Any]] = field(default_factory=list)
    """Headers and claims of every proof that `robot` has shown, together."""

    def config(self, oauth: OAuthSettings | None = None, name: str = "notes", **changes: Any) -> ServerConfig:
        """An entry for the MCP server."""
        options = ServerOptions(oauth=oauth, start_timeout=60, call_timeout=60)
        given = {"url": self.url, "state": self.state, "options": options, **changes}
        return ServerConfig(name, self.kind, **given)  # type: ignore[arg-type]

    def know(self, client_id: str, secret: str, method: str = "client_secret_basic") -> None:
        """Register a client beforehand, for any port of this machine."""
        self.authority.clients[client_id] = _AnyPort(
            client_id=client_id,
            client_secret=secret,
            redirect_uris=[AnyUrl("http://127.0.0.1/callback")],
            token_endpoint_auth_method=method,
        )


class _AnyPort(OAuthClientInformationFull):
    """As RFC 8252 wants it: the port of a loopback address is free."""

    def validate_redirect_uri(self, redirect_uri: AnyUrl | None) -> AnyUrl:
        assert redirect_uri is not None and redirect_uri.host == "127.0.0.1" and redirect_uri.path == "/callback"
        return redirect_uri

    def validate_scope(self, requested_scope: str | None) -> list[str] | None:
        return requested_scope.split() if requested_scope else None


@asynccontextmanager
async def world(state: Path, kind: str = "http", scopes: tuple[str, ...] = ("notes",)) -> AsyncIterator[World]:
    """An MCP server that wants a login, and the authorization server that gives them."""
    # Taken before either says its address, so that no other process can come in between.
    authority, at, to = Authority(), *(socket.create_server(("127.0.0.1", 0)) for _ in range(2))
    issuer, path = f"http://127.0.0.1:{at.getsockname()[1]}", "sse" if kind == "sse" else "mcp"
    made = World(authority, issuer, f"http://127.0.0.1:{to.getsockname()[1]}/{path}", state, kind)
    settings = AuthSettings(
        issuer_url=AnyHttpUrl(issuer),
        resource_server_url=AnyHttpUrl(made.url),
        required_scopes=list(scopes),
        validate_token_resource=True,
    )
    server = MCPServer("notes", auth=settings, token_verifier=ProviderTokenVerifier(authority), log_level="CRITICAL")

    @server.tool()
    def greet(name: str) -> str:
        """Say hello."""
        return f"hello {name}"

    app = _Strict(made, server.sse_app() if kind == "sse" else server.streamable_http_app())
    async with serving(_Authorization(made), at), serving(app, to):
        yield made


class _Strict:
    """In front of the MCP server: turns requests down that have too few rights."""

    def __init__(self, made: World, app: Any) -> None:
        self.made, self.app = made, app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and self.made.wanted is not None:
            missing = {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{self.made.wanted}"'}
            await Response(status_code=403, headers=missing)(scope, receive, send)
        else:
            await self.app(scope, receive, send)


class _Authorization:
    """The authorization server: the SDK's routes, a grant for machines, and what a test wants to be otherwise."""

    def __init__(self, made: World) -> None:
        self.made = made
        routes = create_auth_routes(
            made.authority,
            AnyHttpUrl(made.issuer),
            client_registration_options=ClientRegistrationOptions(enabled=True),
            revocation_options=RevocationOptions(enabled=True),
        )
        self.app = Starlette(
            routes=[*(Route(path, self.machine, methods=["POST"]) for path in ("/machine", "/forget")), *routes]
        )

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope.get("path", "")
        if path in self.made.outage:
            await Response(status_code=self.made.outage[path])(scope, receive, send)
        elif path == "/.well-known/oauth-authorization-server":
            await JSONResponse(await self.described())(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def described(self) -> dict[str, Any]:
        transport = httpx2.ASGITransport(self.app)
        async with httpx2.AsyncClient(transport=transport, base_url=self.made.issuer) as client:
            answer = await client.get("/.well-known/oauth-authorization-server")
        return {**answer.json(), **self.made.metadata}

    def has_secret(self, request: Request) -> bool:
        client = self.made.authority.clients["robot"]
        signed = httpx2.BasicAuth(client.client_id, client.client_secret or "").auth_flow(httpx2.Request("GET", ""))
        return bool(request.headers.get("authorization") == next(signed).headers["authorization"])

    def has_key(self, form: dict[str, Any], key: str) -> bool:
        assert form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        assert "client_secret" not in form and "PRIVATE KEY" not in str(form)
        proof = form["client_assertion"]
        try:
            claims = jwt.decode(
                proof,
                key,
                ["RS256", "ES256", "ES384", "PS256", "EdDSA"],
                audience=[self.made.issuer, f"{self.made.issuer}/"],
                options={"require": ["iss", "sub", "aud", "iat", "exp", "jti"]},
            )
        except jwt.InvalidTokenError:
            return False
        seen = any(known["jti"] == claims["jti"] for known in self.made.proofs)
        self.made.proofs.append(jwt.get_unverified_header(proof) | claims)
        return not seen and claims["iss"] == claims["sub"] == "robot" and claims["exp"] - claims["iat"] <= 300

    async def machine(self, request: Request) -> Response:
        form = await request.form()
        if not (self.has_secret(request) if self.made.key is None else self.has_key(dict(form), self.made.key)):
            return JSONResponse({"error": "invalid_client"}, 401)
        if request.url.path == "/forget":
            self.made.authority.forget()
            return Response()
        assert form["grant_type"] == "client_credentials"
        scopes = str(form.get("scope") or "").split()
        token = self.made.authority.issue("robot", scopes, str(form["resource"]), renewable=False)
        return JSONResponse(token.model_dump(exclude_none=True))

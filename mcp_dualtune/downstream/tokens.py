"""What is kept of the login at one remote server: tokens, our registration there, and who issued them.

Owns where it is kept (a file for its owner only, or the system's keyring) and that one server's tokens are never given
for another address. Refuses to own: getting tokens (`oauth`).
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
from filelock import FileLock, Timeout
from mcp.shared.auth import OAuthClientInformationFull, OAuthMetadata, OAuthToken, ProtectedResourceMetadata
from pydantic import BaseModel, ConfigDict, ValidationError

from mcp_dualtune.config import ServerConfig, os_keyring, remember
from mcp_dualtune.errors import ConfigError, ServerUnavailable
from mcp_dualtune.state import read_private, write_private

LEEWAY = 10.0
"""Seconds before its end from which on a token counts as run out: a request takes time to arrive."""
KEYRING_SERVICE = "mcp-dualtune"
LOCK_PAUSE = 0.05


class Login(BaseModel):
    """The login at one server."""

    model_config = ConfigDict(frozen=True)

    server: str
    """The address that the tokens are for."""
    tokens: OAuthToken | None = None
    expires_at: float | None = None
    """In seconds since 1970; None when the server did not say."""
    client: OAuthClientInformationFull | None = None
    """Our registration at the authorization server; None for a client of the config."""
    authorization: OAuthMetadata | None = None
    resource: ProtectedResourceMetadata | None = None

    @property
    def access(self) -> str | None:
        """The access token, as long as it is worth showing."""
        fresh = self.expires_at is None or time.time() < self.expires_at - LEEWAY
        return self.tokens.access_token if self.tokens is not None and fresh else None


class TokenStore:
    """Where the login of one server is kept. Everything here may take a moment: none of it blocks the event loop."""

    def __init__(self, config: ServerConfig) -> None:
        self.name, self.url = config.name, str(config.url)
        oauth = config.options.oauth
        self._in_keyring = oauth is not None and oauth.store == "keyring"
        self._entry = f"login/{self.name}"
        self.path: Path | None = None
        self._kept: str | None = None
        """Stands in for the file where a config made in code has no folder for state."""
        if config.state is not None:
            readable = re.sub(r"[^\w.-]+", "_", self.name)[:40]
            digest = hashlib.sha256(self.name.encode("utf-8", "replace")).hexdigest()[:8]
            self.path = config.state / "logins" / f"{readable}-{digest}.json"

    @property
    def place(self) -> str:
        """Where it is kept, for people."""
        return "the keyring" if self._in_keyring else str(self.path or "memory")

    def version(self) -> int:
        """Changes when another process may have changed what is kept; cheap enough for every request."""
        try:
            return 0 if self._in_keyring or self.path is None else self.path.stat().st_mtime_ns
        except OSError:
            return -1

    async def read(self) -> Login:
        """What is kept for this address; an empty login when there is nothing, or nothing that can be read.

        Raises:
            ServerUnavailable: the place cannot be reached.
        """
        text = await anyio.to_thread.run_sync(self._read)
        try:
            login = Login.model_validate_json(text or "")
        except ValidationError:
            return Login(server=self.url)
        if login.server != self.url:
            return Login(server=self.url)
        _guard(login)
        return login

    async def write(self, login: Login) -> None:
        """Keep `login` in the place of what was kept.

        Raises:
            ServerUnavailable: the place cannot be reached.
        """
        _guard(login)
        await anyio.to_thread.run_sync(self._write, login.model_dump_json(exclude_none=True))

    async def remove(self) -> bool:
        """Keep nothing any more; False when there was nothing.

        Raises:
            ServerUnavailable: the place cannot be reached.
        """
        return await anyio.to_thread.run_sync(self._remove)

    @asynccontextmanager
    async def alone(self, seconds: float) -> AsyncIterator[None]:
        """Keep other processes from changing the login in this block, or go on without after `seconds`.

        A refresh token may be good for one use only; two gateways that use it at once would lose the login.
        """
        if self.path is None:
            yield
            return
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Taken without blocking and by polling: the lock belongs to this thread, and the wait can be cancelled.
        lock = FileLock(f"{self.path}.lock")
        with anyio.move_on_after(seconds):
            while not lock.is_locked:
                try:
                    lock.acquire(blocking=False)
                except Timeout:
                    await anyio.sleep(LOCK_PAUSE)
        try:
            yield
        finally:
            lock.release()

    def _read(self) -> str | None:
        try:
            if self._in_keyring:
                return os_keyring.read_entry(KEYRING_SERVICE, self._entry)
            return self._kept if self.path is None else read_private(self.path)
        except (OSError, UnicodeDecodeError, ConfigError) as error:
            raise self._unreachable("read", error) from error

    def _write(self, text: str) -> None:
        try:
            if self._in_keyring:
                os_keyring.write_entry(KEYRING_SERVICE, self._entry, text)
            elif self.path is None:
                self._kept = text
            else:
                write_private(self.path, text)
        except (OSError, ConfigError) as error:
            raise self._unreachable("kept", error) from error

    def _remove(self) -> bool:
        try:
            if self._in_keyring:
                return os_keyring.remove_entry(KEYRING_SERVICE, self._entry)
            there = self._read() is not None
            self._kept = None
            if self.path is not None:
                self.path.unlink(missing_ok=True)
            return there
        except (OSError, ConfigError) as error:
            raise self._unreachable("removed", error) from error

    def _unreachable(self, what: str, error: Exception) -> ServerUnavailable:
        reason = error.message if isinstance(error, ConfigError) else f"{getattr(error, 'strerror', None) or error}."
        hint = error.hint if isinstance(error, ConfigError) else 'Or set "store" of its "oauth" to "keyring".'
        about = f'The login at "{self.name}" cannot be {what} in {self.place}. {reason}'
        return ServerUnavailable(about, hint=hint, retryable=False)


def _guard(login: Login) -> None:
    """From now on its secrets stand in no text of ours."""
    tokens, client = login.tokens, login.client
    found = [tokens.access_token, tokens.refresh_token] if tokens else []
    remember(secret for secret in [*found, client.client_secret if client else None] if secret)

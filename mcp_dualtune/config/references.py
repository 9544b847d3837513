"""References in a server's entry: `${env:NAME}` and `${keyring:SERVICE/NAME}` instead of the value itself.

Owns what a reference is and putting in what the keyring has for it, just before the server is reached. The reader has
put in the environment's values already. Refuses to own: where in a file references may stand (`reader`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from mcp_dualtune.config.masking import remember
from mcp_dualtune.config.os_keyring import read_entry
from mcp_dualtune.errors import ConfigError, ServerUnavailable

if TYPE_CHECKING:
    from mcp_dualtune.config.tree import ServerConfig

_KEYRING = re.compile(r"\$\{keyring:([^{}]+)\}")


@dataclass(frozen=True)
class Reference:
    """A value that the file only names."""

    text: str
    """As it stands in the file, such as `${env:TOKEN}`."""
    kind: Literal["env", "keyring", "editor"]
    name: str
    """The variable, or SERVICE/NAME."""
    where: str
    """Its place in the file, such as `mcpServers.github.env.TOKEN`."""
    found: bool = True
    """False when nothing stands for it; of the keyring this is seen only when it is asked."""


def entry_name(name: str) -> tuple[str, str]:
    """Service and name of a keyring entry written SERVICE/NAME; the last slash divides.

    Raises:
        ConfigError: one of the two is missing.
    """
    service, _, account = name.rpartition("/")
    if not service.strip() or not account.strip():
        raise ConfigError(f"{name!r} is not SERVICE/NAME.", hint="For example mcp-dualtune/github.")
    return service, account


def resolve(server: ServerConfig) -> ServerConfig:
    """The entry with its secrets in place; asks the keyring, which may wait for a person to unlock it.

    Raises:
        ServerUnavailable: a reference stands for nothing; the message names it.
    """
    for reference in server.references:
        if not reference.found:
            raise _unresolved(server.name, reference, *_reason(reference))
    values = {one.name: _ask(server.name, one) for one in server.references if one.kind == "keyring"}
    remember([*server.secrets, *values.values()])
    if not values:
        return server

    def put(text: str) -> str:
        return _KEYRING.sub(lambda match: values.get(match[1], match[0]), text)

    def put_all(texts: Mapping[str, str]) -> Mapping[str, str]:
        return {key: put(text) for key, text in texts.items()}

    options = server.options
    if options.oauth is not None:
        secret, key = options.oauth.client_secret, options.oauth.private_key
        oauth = replace(options.oauth, client_secret=secret and put(secret), private_key=key and put(key))
        options = replace(options, oauth=oauth)
    return replace(
        server,
        args=tuple(put(text) for text in server.args),
        env=put_all(server.env),
        headers=put_all(server.headers),
        url=None if server.url is None else put(server.url),
        options=options,
        secrets=(*server.secrets, *values.values()),
    )


def _ask(server: str, reference: Reference) -> str:
    try:
        value = read_entry(*entry_name(reference.name))
    except ConfigError as error:
        raise _unresolved(server, reference, error.message, error.hint) from error
    if not value:
        hint = f"Store it with `dualtune secrets set {reference.name}`."
        raise _unresolved(server, reference, "The keyring has no such entry.", hint)
    return value


def _reason(reference: Reference) -> tuple[str, str]:
    if reference.kind == "editor":
        return "It means something only inside an editor.", "Write the value itself, or ${env:NAME}."
    name = reference.name
    hint = f"Set {name} where dualtune is started, or keep the value in the keyring: ${{keyring:SERVICE/NAME}}."
    return f"The environment variable {name} is not set.", hint


def _unresolved(server: str, reference: Reference, reason: str, hint: str) -> ServerUnavailable:
    what = f'"{server}" cannot be used, because nothing stands for {reference.text} in {reference.where}. {reason}'
    return ServerUnavailable(what, hint=hint, retryable=False)

"""The bearer token of the HTTP front doors, when the config names none: made once, kept for its owner.

Owns where it lies and how it is made. Refuses to own: checking it (`http`).
"""

from __future__ import annotations

import secrets
from pathlib import Path

from mcp_dualtune.errors import ConfigError
from mcp_dualtune.state import read_private, write_private

FILE = "http-token"
BYTES = 32
SHORTEST = 32
"""Characters; a shorter one can be guessed."""


def token_file(state: Path) -> Path:
    """Where the token lies."""
    return state / FILE


def stored_token(state: Path) -> str:
    """The token kept in `state`, made when there is none.

    Raises:
        ConfigError: it cannot be kept, or what lies there is no token.
    """
    file = token_file(state)
    try:
        if read_private(file) is None:
            write_private(file, secrets.token_hex(BYTES) + "\n")
        # Read in any case: of two gateways that start together both take the one that stayed.
        token = (read_private(file) or "").strip()
    except (OSError, UnicodeDecodeError) as error:
        hint = "Set http.token_env in the config, or DUALTUNE_STATE to a folder that can be written."
        raise ConfigError(f"The HTTP token cannot be kept in {file}: {error}.", hint=hint) from error
    if len(token) < SHORTEST or not token.isascii() or not token.isprintable() or " " in token:
        hint = "Remove the file, and a new one is made."
        raise ConfigError(f"{file} holds no token of at least {SHORTEST} characters.", hint=hint)
    return token

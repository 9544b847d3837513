"""Entries of the operating system's keyring, through the `keyring` package, which is optional.

Owns reading, writing and removing one entry and saying what to do when the keyring is missing or locked. Refuses to
own: who needs which entry (`references`, the tokens of logins).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, TypeVar

from mcp_dualtune.errors import ConfigError

INSTALL = 'Install it with `pip install "mcp-dualtune[keyring]"`, or take the value from the environment: ${env:NAME}.'

T = TypeVar("T")


def read_entry(service: str, name: str) -> str | None:
    """The secret of an entry; None when there is none. May wait for a person to unlock the keyring.

    Raises:
        ConfigError: the keyring cannot be used.
    """
    found: str | None = _use(lambda keyring: keyring.get_password(service, name))
    return found


def write_entry(service: str, name: str, secret: str) -> None:
    """Put a secret into an entry, in the place of the one that was there.

    Raises:
        ConfigError: the keyring cannot be used.
    """
    _use(lambda keyring: keyring.set_password(service, name, secret))


def remove_entry(service: str, name: str) -> bool:
    """Remove an entry; False when there was none.

    Raises:
        ConfigError: the keyring cannot be used.
    """
    if read_entry(service, name) is None:
        return False
    _use(lambda keyring: keyring.delete_password(service, name))
    return True


def _use(work: Callable[[Any], T]) -> T:
    try:
        # Loaded when a config names an entry: it looks for backends, which takes a while.
        keyring = importlib.import_module("keyring")
        errors = importlib.import_module("keyring.errors")
    except ImportError as error:
        raise ConfigError("The keyring package is not installed.", hint=INSTALL) from error
    try:
        return work(keyring)
    except errors.NoKeyringError as error:
        hint = "Start a keyring service (such as GNOME Keyring), or take the value from the environment: ${env:NAME}."
        raise ConfigError("This system has no keyring.", hint=hint) from error
    except errors.KeyringLocked as error:
        raise ConfigError("The keyring is locked.", hint="Unlock it and try again.") from error
    except errors.KeyringError as error:
        reason = str(error) or type(error).__name__
        raise ConfigError(f"The keyring refuses: {reason}.", hint="Check it with `keyring diagnose`.") from error

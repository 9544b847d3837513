"""The secrets of this process that were looked up so far, and texts without them.

Owns the list of exact values that must never be written down: what references in the config stood for, and the tokens
of logins. It is one list for the whole process, as a secret stays one whoever writes. Refuses to own: guessing what
looks like a secret (`security.redact`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TypeVar
from urllib.parse import quote

from mcp_dualtune.errors import DualTuneError
from mcp_dualtune.types import JSON

MASK = "[secret]"
SHORTEST = 6
"""Shorter values are not searched for: they would mask ordinary words."""

E = TypeVar("E", bound=DualTuneError)
_known: list[str] = []


def remember(values: Iterable[str]) -> None:
    """Keep `values` out of every text that is masked from now on, also where they span lines or are quoted."""
    found = set(_known)
    for value in values:
        for line in (value, *value.splitlines()):
            # As it is, and as Python, JSON and an address write it.
            forms = (line, repr(line)[1:-1], json.dumps(line)[1:-1], quote(line, safe=""))
            found |= {form for form in forms if len(form) >= SHORTEST}
    if len(found) > len(_known):
        # The longest first: a secret may be the beginning of another.
        _known[:] = sorted(found, key=lambda form: (-len(form), form))


def mask(text: str) -> str:
    """`text` with a mark in the place of every secret that was looked up so far."""
    for secret in _known:
        if secret in text:
            text = text.replace(secret, MASK)
    return text


def mask_json(value: JSON) -> JSON:
    """A JSON value with every text in it masked."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        return {mask(str(key)): mask_json(item) for key, item in value.items()}
    return [mask_json(item) for item in value] if isinstance(value, list | tuple) else value


def mask_error(error: E) -> E:
    """The same error with every text that it carries masked."""
    for name, value in vars(error).items():
        setattr(error, name, mask_json(value))
    error.args = (error.message,)
    return error

"""What of a server is pinned: the parts of its tools and prompts that say what they are and do, in one canonical form.

Owns the choice of parts, the canonical text and its hash. Refuses to own: keeping them (`pin_file`) and what follows
from a difference (`pins`).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

from mcp_dualtune.types import JSON

PARTS = ("name", "title", "description", "inputSchema", "outputSchema", "annotations")
"""Keys of a tool that reach the model, the client or the policy as words or rules. `_meta` and icons do not."""
PROMPT_PARTS = ("name", "title", "description", "arguments")
INSTRUCTIONS = "(instructions)"
"""Stands for the server's own instructions in the list of its tools; no tool may be called so."""
PROMPT = "(prompt) "
"""Stands before the name of a prompt there; no tool's name may begin so."""
LONGEST_KEPT = 200_000
"""Characters of a definition that is kept to be shown; of a longer one only the hash is kept."""


@dataclass(frozen=True)
class Definition:
    """One pinned thing: the parts of a tool or prompt, or a server's instructions."""

    digest: str
    """sha256 hex of the canonical text."""
    value: Mapping[str, JSON] | None
    """What it was made from; None when it is too long to keep."""


def define_tool(wire: Mapping[str, JSON]) -> Definition:
    """The definition of a tool in wire spelling.

    Raises:
        ValueError: it is nested too deeply, or holds what is not JSON.
    """
    return _define({key: wire[key] for key in PARTS if wire.get(key) is not None})


def define_prompt(wire: Mapping[str, JSON]) -> Definition:
    """The definition of a prompt in wire spelling; its messages are none of it, as they are made when it is asked for.

    Raises:
        ValueError: as `define_tool`.
    """
    return _define({key: wire[key] for key in PROMPT_PARTS if wire.get(key) is not None})


def define_instructions(text: str) -> Definition:
    """The definition of a server's instructions."""
    return _define({"instructions": text})


def canonical_json(value: JSON) -> str:
    """`value` as RFC 8785 writes it, as far as servers differ in it: keys in order, no spaces, 1.0 as 1.

    Raises:
        ValueError: it is nested too deeply, or holds what is not JSON (NaN, an infinity).
    """
    try:
        return json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (RecursionError, TypeError) as error:
        raise ValueError("nested too deeply, or not JSON") from error


def _define(value: Mapping[str, JSON]) -> Definition:
    text = canonical_json(value)
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return Definition(digest, value if len(text) <= LONGEST_KEPT else None)


def _plain(value: JSON) -> JSON:
    if isinstance(value, Mapping):
        # The RFC sorts by UTF-16 units, which for most texts is the order of code points.
        keys = sorted(value, key=lambda key: str(key).encode("utf-16-be", "surrogatepass"))
        return {key: _plain(value[key]) for key in keys}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and math.isfinite(value) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value

"""JSON as people and clients write it: with comments, trailing commas and, by mistake, a key twice.

Owns reading the text. Refuses to own: what the values mean.
"""

from __future__ import annotations

import json
import re
from typing import Any

_STRING = r'"(?:\\.|[^"\\\n])*"'
_COMMENT = re.compile(rf"{_STRING}|//[^\n]*|/\*.*?\*/", re.DOTALL)
_TRAILING_COMMA = re.compile(rf"{_STRING}|,(?=\s*[}}\]])")


class JsonObject(dict[str, Any]):
    """A JSON object that remembers the first key written twice in it."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        keys = [key for key, _ in pairs]
        self.repeated = next((key for place, key in enumerate(keys) if key in keys[:place]), None)


def read_json(text: str) -> Any:
    """Parse `text`; comments and trailing commas are blanked first, so that places in messages stay right.

    Raises:
        json.JSONDecodeError: not valid JSON, NaN and Infinity included.
    """

    def refuse(name: str) -> Any:
        raise json.JSONDecodeError(f"{name} is not a JSON number", text, max(text.find(name), 0))

    plain = _TRAILING_COMMA.sub(_blank, _COMMENT.sub(_blank, text))
    return json.loads(plain, object_pairs_hook=JsonObject, parse_constant=refuse)


def _blank(match: re.Match[str]) -> str:
    found = match[0]
    return found if found.startswith('"') else re.sub(r"[^\n]", " ", found)

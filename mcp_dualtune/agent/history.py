"""What the model is told of calls already made: the call, and a bounded view of its result.

Owns how a large result is cut down: JSON keeps its shape, text keeps head and tail. The whole result stays in the
trajectory; nothing here changes what the user gets.
"""

from __future__ import annotations

import json

from mcp_dualtune.security.untrusted import clean_text, clip
from mcp_dualtune.types import JSON, HistoryItem, ToolCall, ToolResult

LARGEST_PARSED = 2_000_000
"""Characters up to which a result is looked at as JSON; parsing more only to throw it away is not worth the time."""
DEEPEST = 24
"""Nesting that is kept; deeper containers are replaced by their size."""


def observe(call: ToolCall, result: ToolResult, limit: int) -> HistoryItem:
    """The history item of a finished call, its result in at most `limit` characters."""
    text = result.text
    if not text.strip() and result.structured is not None:
        text = _dump(result.structured)
    view = bounded(text, limit - len(ERROR) if result.is_error else limit)
    return HistoryItem(call, ERROR + view if result.is_error and not view.lower().startswith("error") else view)


ERROR = "Error: "


def bounded(text: str, limit: int) -> str:
    """`text` in at most `limit` characters, fit for the model."""
    if len(text) > limit and len(text) <= LARGEST_PARSED and text.lstrip()[:1] in ("{", "["):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            pass
        else:
            text = _shape(value, limit)
    cleaned = clean_text(text, limit)
    return cleaned if len(cleaned) <= limit else clip(cleaned, limit)


def _shape(value: JSON, limit: int) -> str:
    """JSON of `value` with long lists and texts cut harder and harder until it fits."""
    for items, characters in ((40, 400), (20, 200), (10, 100), (5, 60), (3, 30), (1, 20)):
        text = _dump(_cut(value, items, characters, DEEPEST))
        if len(text) <= limit:
            return text
    return text


def _cut(value: JSON, items: int, characters: int, depth: int) -> JSON:
    if isinstance(value, str):
        return value if len(value) <= characters else value[: characters - 1] + "…"
    if isinstance(value, list):
        if depth == 0:
            return f"[{len(value)} items]"
        head, tail = (
            (value, []) if len(value) <= items else (value[: max(items * 2 // 3, 1)], value[len(value) - items // 3 :])
        )
        left = len(value) - len(head) - len(tail)
        cut = [_cut(item, items, characters, depth - 1) for item in head]
        if left:
            cut.append(f"… {left} more items …")
        return cut + [_cut(item, items, characters, depth - 1) for item in tail]
    if isinstance(value, dict):
        if depth == 0:
            return f"{{{len(value)} keys}}"
        shown = list(value.items())[: items * 2]
        cut_map = {key[:characters]: _cut(item, items, characters, depth - 1) for key, item in shown}
        if len(shown) < len(value):
            cut_map["…"] = f"{len(value) - len(shown)} more keys"
        return cut_map
    return value


def _dump(value: JSON) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

"""Members of the objects in a JSON text, changed in the text itself: all else stays as it is, comments included.

Owns the spans of members and the look of a new one. Refuses to own: whether the text is valid (`config.json_text` has
read it before), and what the members mean. Clients write `settings.json` with comments and trailing commas, which the
JSON libraries lose; hence the change by span.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/|[{}\[\]:,]|[^\s{}\[\]:,"/]+', re.DOTALL)
_LINE_REST = re.compile(r"[ \t]*(?:\r?\n|\Z)")


@dataclass(frozen=True)
class _Member:
    key: str
    start: int
    value: int
    end: int
    comma: int | None
    """Where the comma after it stands."""


@dataclass(frozen=True)
class _Object:
    open: int
    members: tuple[_Member, ...]
    close: int

    def find(self, key: str) -> int | None:
        return next((place for place, member in enumerate(self.members) if member.key == key), None)


def put_member(text: str, path: Sequence[str], value: Any) -> str:
    """`text` with `value` at `path`; objects on the way that are missing (or null) are made."""
    at = _root(text)
    if at is None:
        return f"{text}{json.dumps(_nest(path, value), indent=2, ensure_ascii=False)}\n"
    for depth, key in enumerate(path):
        here = _object(text, at)
        place = here.find(key)
        rest = _nest(path[depth + 1 :], value)
        if place is None:
            return _insert(text, here, key, rest)
        member = here.members[place]
        if depth + 1 == len(path) or text[member.value] != "{":
            shown = _dump(rest, text, _indent(text, member.start))
            return text[: member.value] + shown + text[member.end :]
        at = member.value
    raise AssertionError("the path is empty")


def remove_member(text: str, path: Sequence[str]) -> str:
    """`text` without the member at `path`, which must be there; its line goes with it where it has one to itself."""
    at = _root(text)
    assert at is not None
    for key in path[:-1]:
        here = _object(text, at)
        place = here.find(key)
        assert place is not None
        at = here.members[place].value
    here = _object(text, at)
    place = here.find(path[-1])
    assert place is not None
    member = here.members[place]
    start, end = member.start, member.end if member.comma is None else member.comma + 1
    line = text.rfind("\n", 0, start) + 1
    rest = _LINE_REST.match(text, end)
    if not text[line:start].strip() and rest is not None:
        start, end = line, rest.end()
    elif member.comma is not None:
        end += len(text[end:]) - len(text[end:].lstrip(" \t"))
    else:
        start = len(text[:start].rstrip())
    before, after = text[:start], text[end:]
    if member.comma is None and place > 0 and (comma := here.members[place - 1].comma) is not None:
        before = before[:comma] + before[comma + 1 :]
    if len(here.members) == 1 and not before[here.open + 1 :].strip() and after.lstrip().startswith("}"):
        before, after = before[: here.open + 1], after.lstrip()
    return before + after


def is_blank(text: str) -> bool:
    """Whether there is nothing but blanks and comments."""
    return _root(text) is None


def newline(text: str) -> str:
    """How lines end in `text`."""
    return "\r\n" if "\r\n" in text else "\n"


def _root(text: str) -> int | None:
    """Where the outermost value begins; None when there are only blanks and comments."""
    found = (token for token in _TOKEN.finditer(text) if not token[0].startswith(("//", "/*")))
    first = next(found, None)
    return None if first is None else first.start()


def _object(text: str, at: int) -> _Object:
    """The members of the object that opens at `at`."""
    members: list[_Member] = []
    parts: list[re.Match[str]] = []
    depth = 1
    for found in _TOKEN.finditer(text, at + 1):
        token = found[0]
        if token.startswith(("//", "/*")):
            continue
        depth += (token in ("{", "[")) - (token in ("}", "]"))
        if depth > 0 and not (depth == 1 and token == ","):
            parts.append(found)
            continue
        if parts:
            # A member is its key, a colon, and the tokens of its value.
            comma = found.start() if token == "," else None
            key = json.loads(parts[0][0], strict=False)
            members.append(_Member(key, parts[0].start(), parts[2].start(), parts[-1].end(), comma))
            parts = []
        if depth == 0:
            return _Object(at, tuple(members), found.start())
    raise AssertionError("the object has no end")


def _insert(text: str, here: _Object, key: str, value: Any) -> str:
    """`text` with one more member at the end of an object, in the style of the others."""
    name = json.dumps(key, ensure_ascii=False)
    last = here.members[-1] if here.members else None
    style = text[here.open : here.close] if last else text.strip()
    if "\n" not in style:
        shown = f"{name}: {json.dumps(value, ensure_ascii=False)}"
        if last is None:
            return text[: here.open + 1] + shown + text[here.close :]
        return f"{text[: last.end]}, {shown}{text[last.end :]}"
    end, base = newline(text), _indent(text, here.open)
    indent = _indent(text, last.start) if last and _leads(text, last.start) else base + _unit(text)
    shown = f"{end}{indent}{name}: {_dump(value, text, indent)}"
    # What follows the last member (its comma, comments) stays in front of the new one.
    start = here.open + 1 if last is None else last.end if last.comma is None else last.comma + 1
    kept = text[start : here.close].rstrip()
    rest = text[start + len(kept) : here.close]
    comma = "," if last is not None and last.comma is None else ""
    again = "," if last is not None and last.comma is not None else ""
    closing = rest if "\n" in rest else end + base
    return text[:start] + comma + kept + shown + again + closing + text[here.close :]


def _nest(path: Sequence[str], value: Any) -> Any:
    for key in reversed(path):
        value = {key: value}
    return value


def _dump(value: Any, text: str, indent: str) -> str:
    if "\n" not in text.strip():
        return json.dumps(value, ensure_ascii=False)
    lines = json.dumps(value, indent=_unit(text), ensure_ascii=False).split("\n")
    return (newline(text) + indent).join(lines)


def _unit(text: str) -> str:
    """One step of indentation: that of the first indented member."""
    found = re.search(r"\n([ \t]+)[\"/]", text)
    return found[1] if found else "  "


def _indent(text: str, at: int) -> str:
    """The indentation of the line in which `at` lies."""
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _leads(text: str, at: int) -> bool:
    return not text[text.rfind("\n", 0, at) + 1 : at].strip()

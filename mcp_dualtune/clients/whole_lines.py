"""Entries of one block of a TOML or YAML text, added and removed as whole lines, so that all other lines stay.

Owns which lines. Refuses to own: what an entry means. The libraries that keep comments (tomlkit, ruamel.yaml) tie each
one to what stands above it: they put a new entry behind the comment of the next section, and with an entry they remove
the comment below it. So a change is made to the lines, and it counts only when the parser then finds exactly what was
wanted.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import yaml

Data = dict[str, Any]
Load = Callable[[str], Any]

LONGEST_ENTRY = 200
"""Lines of an entry that is looked for."""


def load_toml(text: str) -> Any:
    """Parse TOML.

    Raises:
        tomllib.TOMLDecodeError: it is not TOML; the message ends with the place.
    """
    return tomllib.loads(text)


def load_yaml(text: str) -> Any:
    """Parse YAML; an empty text is an empty mapping.

    Raises:
        yaml.YAMLError: it is not YAML, or tags in it stand for Python objects.
    """
    found = yaml.safe_load(text)
    return {} if found is None else found


def put_toml(text: str, block: str, name: str, entry: Mapping[str, Any]) -> str | None:
    """`text` with the table `[block.name]` at its end; None when the text is written so that it cannot be put there."""
    cleared = remove_lines(text, block, name, load_toml)
    if cleared is None:
        return None
    end = _line_end(text)
    lines = [f"[{block}.{_toml_key(name)}]", *(f"{_toml_key(key)} = {_toml(value)}" for key, value in entry.items())]
    start = cleared if not cleared or cleared.endswith("\n") else cleared + end
    new = start + (end if start else "") + "".join(line + end for line in lines)
    return new if _says(new, _wanted(load_toml(text), block, name, entry), block, load_toml) else None


def put_yaml(text: str, block: str, name: str, entry: Mapping[str, Any]) -> str | None:
    """`text` with the entry first in its block; None when the block is not written as lines of its own."""
    cleared = remove_lines(text, block, name, load_yaml)
    if cleared is None:
        return None
    wanted = _wanted(load_yaml(text), block, name, entry)
    candidates = _yaml_candidates(cleared, block, {name: dict(entry)}, _line_end(text))
    return next((new for new in candidates if _says(new, wanted, block, load_yaml)), None)


def remove_lines(text: str, block: str, name: str, load: Load) -> str | None:
    """`text` without the lines of the entry; None when no run of lines makes up the entry and nothing else."""
    data = load(text)
    if name not in (data.get(block) or {}):
        return text
    wanted = _wanted(data, block, name, None)
    lines = text.splitlines(keepends=True)
    for start in (place for place, line in enumerate(lines) if name in line):
        for end in range(start + 1, min(start + LONGEST_ENTRY, len(lines)) + 1):
            first = start
            if start and not lines[start - 1].strip() and (end == len(lines) or not lines[end].strip()):
                # Of the blank lines around it one goes too.
                first -= 1
            left = "".join([*lines[:first], *lines[end:]])
            if _says(left, wanted, block, load):
                # A YAML block whose last entry went is `{}`: null, which it would be now, is something else.
                empty = block in wanted and load(left).get(block, {}) is None
                return (
                    re.sub(rf"(?m)^(['\"]?{re.escape(block)}['\"]?\s*):", r"\1: {}", left, count=1) if empty else left
                )
    return None


def _wanted(data: Data, block: str, name: str, entry: Mapping[str, Any] | None) -> Data:
    """What the file should say: the same, but for the entry `name`, which is `entry` now (or gone)."""
    servers = {key: value for key, value in (data.get(block) or {}).items() if key != name}
    return {**data, block: servers if entry is None else {**servers, name: dict(entry)}}


def _says(text: str, wanted: Data, block: str, load: Load) -> bool:
    try:
        found = load(text)
    except (tomllib.TOMLDecodeError, yaml.YAMLError):
        return False
    # A block without entries is as good as none.
    return isinstance(found, dict) and {**found, block: found.get(block) or {}} == wanted


def _yaml_candidates(text: str, block: str, entry: Data, end: str) -> Iterator[str]:
    written = yaml.safe_dump(entry, sort_keys=False, allow_unicode=True, width=10**6)
    lines = text.splitlines(keepends=True)
    heads = [place for place, line in enumerate(lines) if re.match(rf"(['\"]?){re.escape(block)}\1\s*:", line)]
    for place in heads:
        head = re.sub(r":\s*(?:\{\s*\}|null|~)", ":", lines[place].rstrip("\r\n"))
        following = next(
            (line for line in lines[place + 1 :] if line.strip() and not line.lstrip().startswith("#")), ""
        )
        step = following[: len(following) - len(following.lstrip(" "))] or "  "
        new = "".join(step + line + end for line in written.splitlines())
        yield "".join([*lines[:place], head + end, new, *lines[place + 1 :]])
    if not heads:
        start = text if not text or text.endswith("\n") else text + end
        yield start + f"{block}:{end}" + "".join(f"  {line}{end}" for line in written.splitlines())


def _line_end(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _toml(key)


def _toml(value: Any) -> str:
    """A value as TOML; JSON's strings, numbers and booleans are TOML's too."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_toml_key(key)} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")

"""Glob patterns for what people call files: `python files`, `.pdf`, `invoice` in a name.

Which extension a kind of file has, and how a pattern says "somewhere in the name", is knowledge, not language, and a
small model does not have it. Which words say what is looked for is left to the model; patterns stay as they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources

from mcp_dualtune.prompting.templates.pairs import spaced
from mcp_dualtune.types import ToolSpec

FORMATS = {"glob": False, "deep-glob": True}
"""What stands for `format` in the schema of a slot that takes patterns; whether its tool looks into folders for `**/`
only."""
PATTERN = re.compile(r"[*?\[\]{}/\\]")
DETERMINER = re.compile(r"(?:(?:the|my|our|all|any|every|each|some|of|a|an|whole)\s+)+", re.IGNORECASE)
BEGINS = re.compile(
    r"\b(?:begin|begins|beginning|start|starts|starting|prefix(?:ed)?)(?: with| by)?\W*$", re.IGNORECASE
)
ENDS = re.compile(r"\b(?:end|ends|ending|suffix(?:ed)?)(?: with| in| on| by)?\W*$", re.IGNORECASE)
"""What stands before the first or last letters of a name."""
GENERIC = {
    "file", "document", "script", "source", "image", "picture", "photo", "page", "archive", "notebook", "code",
    "module", "table", "note", "text",
}  # fmt: skip
"""Words that stand behind a kind of file."""
HIDDEN = {".env", ".git", ".ssh", ".aws", ".npm", ".venv", ".cache"}
"""Names, not extensions."""


def glob_format(tool: ToolSpec, name: str) -> str | None:
    """What stands for `format` in the schema of the parameter `name`, if it takes patterns for what is looked for."""
    words, part = spaced(name).lower().split(), (tool.input_schema.get("properties") or {}).get(name)
    about = part.get("description") if isinstance(part, Mapping) else None
    texts = f"{about if isinstance(about, str) else ''} {tool.description}"
    if words[-1:] not in (["pattern"], ["patterns"], ["glob"], ["globs"]) or not re.search(r"\bglob", texts):
        return None
    if {"exclude", "ignore", "skip", "not"} & set(words):
        return None
    return "deep-glob" if "**" in texts else "glob"


def glob_of(text: str, before: str, form: str) -> str:
    """The pattern for `text`, which stands behind `before`, in one of the `FORMATS`."""
    text = DETERMINER.sub("", text.strip(), count=1) or text
    if PATTERN.search(text):
        return text
    extension = _extension(text)
    if extension:
        found = f"*.{extension}"
    elif BEGINS.search(before):
        found = f"{text}*"
    elif ENDS.search(before):
        found = f"*{text}"
    else:
        found = text if "." in text else f"*{text}*"
    return f"**/{found}" if FORMATS[form] else found


def _extension(text: str) -> str | None:
    """The extension of the files that `text` as a whole is about, if it is a kind of file."""
    words: list[str] = re.findall(r"[\w.+#-]+", text.lower())
    if len(words) == 1 and re.fullmatch(r"\.[a-z0-9]{1,5}", words[0]) and words[0] not in HIDDEN:
        return words[0][1:]
    kinds = [(word, _kinds().get(word.removeprefix(".")) or _kinds().get(_singular(word))) for word in words]
    found = sorted({kind for _, kind in kinds if kind})
    rest = [word for word, kind in kinds if not kind and _singular(word) not in GENERIC]
    return found[0] if len(found) == 1 and not rest else None


def _singular(word: str) -> str:
    return word.removesuffix("s") if len(word) > 2 else word


@lru_cache(maxsize=1)
def _kinds() -> Mapping[str, str]:
    """Word -> extension."""
    text = resources.files(__package__).joinpath("file_kinds.json").read_text("utf-8")
    found: Mapping[str, list[str]] = json.loads(text)
    return {word: extension for extension, names in found.items() for word in (extension, *names)}

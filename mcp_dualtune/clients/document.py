"""A client's config file in memory: what it says, and its text with an entry more or less.

Owns the three formats and what is wrong with a file. Refuses to own: reading and writing files (`changes`), where they
lie (`table`), and what an entry means (`entries`).
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml

from mcp_dualtune.clients import json_members, whole_lines
from mcp_dualtune.config.json_text import JsonObject, read_json
from mcp_dualtune.errors import ConfigError

Format = Literal["json", "toml", "yaml"]
NOTHING_CHANGED = "The file was not changed."


@dataclass(frozen=True)
class Document:
    """One file's text, read as its format; servers stand under `block`."""

    file: Path
    text: str
    format: Format
    block: tuple[str, ...]
    """The keys that lead to the servers; one key in TOML and YAML."""

    @cached_property
    def servers(self) -> Mapping[str, Any]:
        """The entries of the block; none when there is no block.

        Raises:
            ConfigError: the text cannot be read, or the block is not one.
        """
        found: Any = self._parsed()
        for depth, key in enumerate((None, *self.block)):
            found = found if key is None else found.get(key)
            if found is None:
                return {}
            where = ".".join(self.block[:depth]) or "the file"
            if not isinstance(found, dict):
                raise self.wrong(f"{where} is not an object with keys and values", "Correct it there.")
            if isinstance(found, JsonObject) and found.repeated is not None:
                raise self.wrong(f'in {where} the key "{found.repeated}" is written twice', "Remove one of the two.")
        return found  # type: ignore[no-any-return]

    @property
    def has_block(self) -> bool:
        """Whether the outermost key of the block is written in the file, with entries or without."""
        found = self._parsed()
        return isinstance(found, dict) and self.block[0] in found

    def with_entry(self, name: str, entry: Mapping[str, Any]) -> str:
        """The text with the entry `name` made or replaced.

        Raises:
            ConfigError: the text cannot be read, or is written so that the entry cannot be put in.
        """
        if self.servers.get(name) == entry:
            return self.text
        if self.format == "json":
            new = json_members.put_member(self.text, (*self.block, name), dict(entry))
            return self._checked(new, {**self.servers, name: entry})
        put = whole_lines.put_toml if self.format == "toml" else whole_lines.put_yaml
        found = put(self.text, self.block[0], name, entry)
        if found is None:
            hint = f"Add it by hand as {json.dumps({name: entry}, ensure_ascii=False)}."
            raise self.wrong(f"{self.block[0]} is not written as lines of its own, so nothing can be added to it", hint)
        return found

    def without_entry(self, name: str, *, keep_block: bool = True) -> str:
        """The text without the entry `name`, and without its block when that is empty then and not to be kept.

        Raises:
            ConfigError: the text cannot be read, or is written so that the entry cannot be taken out.
        """
        if name not in self.servers:
            return self.text
        if self.format == "json":
            path = (*self.block, name) if keep_block or len(self.servers) > 1 else self.block
            new = json_members.remove_member(self.text, path)
            return self._checked(new, {key: value for key, value in self.servers.items() if key != name})
        load = whole_lines.load_toml if self.format == "toml" else whole_lines.load_yaml
        found = whole_lines.remove_lines(self.text, self.block[0], name, load)
        if found is None:
            problem = f'"{name}" does not stand in lines of its own, so it cannot be taken out'
            raise self.wrong(problem, "Remove it by hand.")
        return found

    def wrong(self, problem: str, hint: str) -> ConfigError:
        """An error about this file."""
        return ConfigError(f"{self.file}: {problem}.", hint=f"{hint} {NOTHING_CHANGED}")

    def _checked(self, new: str, servers: Mapping[str, Any]) -> str:
        """`new`, when a reader finds what was wanted in it: our own reading forgives more than clients do (`{,}`)."""
        try:
            if replace(self, text=new).servers == servers:
                return new
        except ConfigError:
            pass
        raise self.wrong("the file is not quite JSON, so it cannot be changed safely", "Correct its commas.")

    def _parsed(self) -> Any:
        try:
            if self.format == "toml":
                return whole_lines.load_toml(self.text)
            if self.format == "yaml":
                return whole_lines.load_yaml(self.text)
            try:
                return read_json(self.text)
            except json.JSONDecodeError:
                # Nothing but blanks and comments is an empty file.
                if json_members.is_blank(self.text):
                    return {}
                raise
        except json.JSONDecodeError as error:
            raise self._unreadable("JSON", error.msg, f"line {error.lineno}") from error
        except tomllib.TOMLDecodeError as error:
            line = re.search(r"line \d+", str(error))
            raise self._unreadable(
                "TOML", str(error), line[0] if line else f"line {self.text.count(chr(10)) + 1}"
            ) from error
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            problem = getattr(error, "problem", None) or str(error).splitlines()[0]
            raise self._unreadable("YAML", problem, f"line {mark.line + 1}" if mark else "the file") from error
        except RecursionError as error:
            raise self._unreadable(self.format.upper(), "nested too deeply", "the file") from error

    def _unreadable(self, format_name: str, problem: str, place: str) -> ConfigError:
        return self.wrong(f"{place}: not valid {format_name} ({problem})", "Correct the file at that place.")

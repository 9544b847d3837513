"""Servers as clients write them, put into the words of our own config.

Owns every client's spelling of a server. Refuses to own: files, and clashes of names (`importing`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from mcp_dualtune.config import read_config
from mcp_dualtune.config.reader import TRANSPORTS
from mcp_dualtune.errors import ConfigError

_INPUT = re.compile(r"\$\{(?:input|prompt):([^}]+)\}")
_FOLDER = re.compile(r"\$\{workspace(?:Folder|Root)\}")
_OURS = ("dualtune", "mcp-dualtune")
_INSIDE = ("builtin", "platform", "frontend", "inline_python")
"""Extensions that are part of Goose and no MCP servers."""


@dataclass(frozen=True)
class Taken:
    """One server in our words, or why it cannot be taken."""

    name: str
    entry: dict[str, Any] | None
    notes: tuple[str, ...] = ()
    """What its user should know or do."""


class _AnyVariable(dict[str, str]):
    """An environment in which every variable is set: what is missing shows when the server is started."""

    def __contains__(self, name: object) -> bool:
        return True

    def get(self, name: str, default: Any = None) -> str:
        return "x"


def is_ours(name: str, entry: Any) -> bool:
    """Whether an entry starts this gateway itself."""
    if not isinstance(entry, Mapping):
        return False
    words = [entry.get("command"), entry.get("cmd"), *(_list(entry.get("args")))]
    programs = {PurePath(str(word).replace("\\", "/")).stem for word in words if word}
    return name == "dualtune" or not programs.isdisjoint(_OURS) or "mcp_dualtune" in words


def take(name: str, entry: Any, *, url_is_sse: bool = False, folder: Path | None = None) -> Taken:
    """A client's `entry` in our words.

    Args:
        url_is_sse: the client means the older transport when it writes `url` (Gemini CLI).
        folder: where the client starts the servers of a project; None for a user's servers.
    """
    if not isinstance(entry, Mapping):
        return Taken(name, None, ("its entry is not an object",))
    kind = str(entry.get("type", entry.get("transport", ""))).lower()
    if kind in _INSIDE:
        return Taken(name, None, (f"it is part of Goose ({kind}), no server",))
    notes: list[str] = []
    found: dict[str, Any] | None = _local(entry, folder, notes) or _remote(entry, kind, url_is_sse, notes)
    if found is None:
        why = (
            "it comes with an extension of the client" if "settings" in entry else "it has neither a command nor a url"
        )
        return Taken(name, None, (why,))
    if entry.get("disabled") is True or entry.get("enabled") is False:
        found["disabled"] = True
    found = _variables(found, folder, notes)
    try:
        (server,) = read_config(_alone(found), Path(name), _AnyVariable()).servers
    except ConfigError as error:
        # The message begins with the file and the place, which say nothing here.
        return Taken(name, None, (error.message.split(": ", 2)[-1].rstrip("."),))
    inside = [reference.text for reference in server.references if reference.kind == "editor"]
    if inside:
        return Taken(name, None, (f"{inside[0]} means something only inside an editor",))
    return Taken(name, found, tuple(dict.fromkeys(notes)))


def _local(entry: Mapping[str, Any], folder: Path | None, notes: list[str]) -> dict[str, Any] | None:
    """A server that the client starts; Zed once wrote the whole of it under `command`."""
    inner = entry["command"] if isinstance(entry.get("command"), Mapping) else entry
    command = inner.get("path") if inner is not entry else entry.get("command", entry.get("cmd"))
    if command is None:
        return None
    found: dict[str, Any] = {"command": command}
    if inner.get("args"):
        found["args"] = inner["args"]
    env = {**_mapping(inner.get("env")), **_mapping(inner.get("envs"))}
    for variable in (*_list(inner.get("env_keys")), *_list(inner.get("env_vars"))):
        wanted = str(variable["name"] if isinstance(variable, Mapping) else variable)
        if wanted not in env:
            env[wanted] = f"${{env:{wanted}}}"
            notes.append(f"it needs the environment variable {wanted}, whose value is not in the file: set it")
    if env:
        found["env"] = env
    if entry.get("cwd") or folder is not None:
        found["cwd"] = str((folder or Path()) / str(entry.get("cwd") or ""))
    return found


def _remote(entry: Mapping[str, Any], kind: str, url_is_sse: bool, notes: list[str]) -> dict[str, Any] | None:
    key = next((key for key in ("httpUrl", "serverUrl", "url", "uri") if entry.get(key)), None)
    if key is None:
        return None
    found: dict[str, Any] = {"url": entry[key]}
    transport = TRANSPORTS.get(kind) or ("sse" if url_is_sse and key == "url" else None)
    if transport is not None:
        found = {"type": transport, **found}
    elif key == "httpUrl":
        found = {"type": "http", **found}
    headers = {**_mapping(entry.get("headers")), **_mapping(entry.get("http_headers"))}
    for header, variable in _mapping(entry.get("env_http_headers")).items():
        headers[header] = f"${{env:{variable}}}"
        notes.append(f"its header {header} comes from the environment variable {variable}: set it")
    if bearer := entry.get("bearer_token_env_var"):
        headers["Authorization"] = f"Bearer ${{env:{bearer}}}"
        notes.append(f"its token comes from the environment variable {bearer}: set it")
    return {**found, "headers": headers} if headers else found


def _variables(found: dict[str, Any], folder: Path | None, notes: list[str]) -> dict[str, Any]:
    """Questions of the editor become environment variables, and the folder of the project its path."""

    def asked(match: re.Match[str]) -> str:
        variable = re.sub(r"\W+", "_", match[1]).upper()
        notes.append(f"its client asks for {match[1]!r}: put it into the environment variable {variable}")
        return f"${{env:{variable}}}"

    def put(text: str) -> str:
        text = _INPUT.sub(asked, text)
        return text if folder is None else _FOLDER.sub(lambda _: str(folder), text)

    made = _texts(found, put)
    assert isinstance(made, dict)
    return made


def _texts(value: Any, put: Callable[[str], str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _texts(item, put) for key, item in value.items()}
    if isinstance(value, list):
        return [_texts(item, put) for item in value]
    return put(value) if isinstance(value, str) else value


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _alone(entry: dict[str, Any]) -> str:
    return json.dumps({"mcpServers": {"server": {**entry, "disabled": False}}})

"""From the text of a config file to the tree; every problem is one ConfigError with file, place and remedy.

Owns the file format: a client's server block as it is, and our own strict `dualtune` block. Refuses to own: defaults
(`tree`) and where the file lies (the package itself).
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from mcp_dualtune.config.environment import POSIX, WINDOWS
from mcp_dualtune.config.json_text import JsonObject, read_json
from mcp_dualtune.config.references import Reference, entry_name
from mcp_dualtune.config.tree import (
    Config,
    HttpSettings,
    ModelSettings,
    PolicyRule,
    RemoteSettings,
    ServerConfig,
    ServerOptions,
    Settings,
    WriterSettings,
)
from mcp_dualtune.errors import ConfigError
from mcp_dualtune.types import NONE

Transport = Literal["stdio", "http", "sse"]

SERVER_BLOCKS = ("mcpServers", "servers", "context_servers")
"""The key that holds the servers: in most clients, in VS Code, in Zed."""
OWN_BLOCK = "dualtune"
URL_KEYS = ("url", "serverUrl", "httpUrl")
_HTTP_NAMES = ("http", "streamable-http", "streamable_http", "streamablehttp", "remote")
TRANSPORTS: Mapping[str, Transport] = {"stdio": "stdio", "sse": "sse", **dict.fromkeys(_HTTP_NAMES, "http")}
_VARIABLE = re.compile(
    r"\$\{(?:(?P<kind>env|keyring):(?P<body>[^}]*)|(?:(?P<editor>[a-z]+):)?(?P<bare>[A-Za-z_][\w-]*(?::-[^}]*)?))\}"
)
_NAMED = re.compile(r"(?P<name>[A-Za-z_][\w-]*)(?::-(?P<fallback>.*))?", re.DOTALL)
_TELLING = re.compile(r"authorization|cookie|token|secret|passw|credential|api[-_]?key", re.IGNORECASE)
_EDITOR_ONLY = ("workspaceFolder", "workspaceRoot", "workspaceFolderBasename")

T = TypeVar("T")


def read_config(text: str, file: Path, environ: Mapping[str, str]) -> Config:
    """Build the tree from the `text` of `file`; relative paths in our block count from the file's folder.

    Raises:
        ConfigError: something in the text is wrong.
    """
    return _Reader(file, environ).read(text)


class _Reader:
    def __init__(self, file: Path, environ: Mapping[str, str]) -> None:
        self.file, self.environ = file, environ
        self.references: list[Reference] = []
        self.secrets: list[str] = []
        """Both of the entry that is being read."""

    def wrong(self, where: str, problem: str, hint: str) -> ConfigError:
        return ConfigError(f"{self.file}: {where}: {problem}.", hint=hint)

    def read(self, text: str) -> Config:
        root = self.object(self.json(text), "the file")
        found = [key for key in SERVER_BLOCKS if key in root]
        if len(found) > 1:
            raise self.wrong(found[1], f"the servers are already listed under {found[0]}", "Keep one of the two lists.")
        block = found[0] if found else SERVER_BLOCKS[0]
        entries = self.object(root.get(block, {}), block)
        own = dict(self.object(root.get(OWN_BLOCK, {}), OWN_BLOCK))
        options = self.object(own.pop("servers", {}), f"{OWN_BLOCK}.servers")
        for name in options:
            if name not in entries:
                raise self.wrong(f"{OWN_BLOCK}.servers.{name}", f"{block} has no such server", _near(name, entries))
        servers, disabled = [], []
        for name, value in entries.items():
            entry = self.object(value, f"{block}.{name}")
            chosen = self.record(ServerOptions, options.get(name, {}), f"{OWN_BLOCK}.servers.{name}")
            if entry.get("disabled") is True or entry.get("enabled") is False:
                disabled.append(name)
            else:
                self.references, self.secrets = [], []
                chosen = self.login(chosen, entry, f"{OWN_BLOCK}.servers.{name}.oauth")
                made = self.server(name, entry, f"{block}.{name}", chosen)
                servers.append(replace(made, references=tuple(self.references), secrets=tuple(self.secrets)))
        settings = self.record(Settings, own, OWN_BLOCK, also=("servers",))
        return Config(tuple(servers), settings, self.file, tuple(disabled))

    def json(self, text: str) -> Any:
        try:
            return read_json(text)
        except json.JSONDecodeError as error:
            place = f"line {error.lineno}, column {error.colno}"
            raise self.wrong(place, f"not valid JSON ({error.msg})", "Correct the file at that place.") from error
        except ValueError as error:
            raise self.wrong("the file", "holds a number of too many digits", "Correct the file.") from error
        except RecursionError as error:
            raise self.wrong("the file", "nested too deeply to be a config", "Correct the file.") from error

    def object(self, value: Any, where: str) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            raise self.wrong(where, f"expected an object, found {_kind(value)}", "Write { ... } there.")
        if isinstance(value, JsonObject) and value.repeated is not None:
            raise self.wrong(where, f'the key "{value.repeated}" is written twice', "Remove one of the two.")
        return value

    # The client's block: keys that we do not know belong to the client and are left alone.

    def server(self, name: str, entry: Mapping[str, Any], where: str, options: ServerOptions) -> ServerConfig:
        if not name.strip() or name == NONE:
            raise self.wrong(where, f"{name!r} cannot be the name of a server", f'Any name but a blank and "{NONE}".')
        url_key = next((key for key in URL_KEYS if entry.get(key) is not None), None)
        if (entry.get("command") is None) == (url_key is None):
            problem = "has neither a command nor a url" if url_key is None else "has both a command and a url"
            raise self.wrong(where, f'the server "{name}" {problem}', "Give exactly one of the two.")
        transport = self.transport(entry, where, url_key)
        if url_key is not None:
            url = self.text(entry[url_key], f"{where}.{url_key}", bare=True, secret=True)
            if "${" not in url and not re.match(r"https?://[^/\s]+", url):
                raise self.wrong(f"{where}.{url_key}", f"{url!r} is not a web address", "Write http://host/path.")
            headers = self.texts(entry.get("headers"), f"{where}.headers")
            return ServerConfig(name, transport, url=url, headers=headers, options=options)
        command = self.text(entry["command"], f"{where}.command")
        if not command.strip():
            raise self.wrong(f"{where}.command", "the command is blank", "Name the program that starts the server.")
        listed = self.value(tuple[Any, ...], entry.get("args") or [], f"{where}.args")
        args = tuple(self.text(item, f"{where}.args[{place}]", secret=True) for place, item in enumerate(listed))
        env = self.texts(entry.get("env"), f"{where}.env")
        cwd = self.scalar(Path, self.text(entry["cwd"], f"{where}.cwd"), f"{where}.cwd") if entry.get("cwd") else None
        program = str(Path(command).expanduser()) if command.startswith("~") else command
        return ServerConfig(name, transport, command=program, args=args, env=env, cwd=cwd, options=options)

    def transport(self, entry: Mapping[str, Any], where: str, url_key: str | None) -> Transport:
        named = entry.get("type", entry.get("transport"))
        if named is None:
            # Both remote transports are written `url`; by custom the address of the older one ends with /sse.
            old = url_key == "url" and str(entry["url"]).split("?")[0].rstrip("/").endswith("/sse")
            return "stdio" if url_key is None else "sse" if old else "http"
        kind = TRANSPORTS.get(str(named).lower())
        if kind is None:
            raise self.wrong(f"{where}.type", f"unknown type {named!r}", "Known types: stdio, http, sse.")
        if (kind == "stdio") != (url_key is None):
            needs = "command" if kind == "stdio" else "url"
            raise self.wrong(f"{where}.type", f"type {named!r} needs a {needs}", f"Add a {needs}, or remove the type.")
        return kind

    def texts(self, value: Any, where: str) -> Mapping[str, str]:
        given = self.object({} if value is None else value, where)
        made = {key: self.text(text, f"{where}.{key}", bare=True, secret=True) for key, text in given.items()}
        # Also what is written out counts where the name tells; of `Bearer TOKEN` the token.
        self.secrets += [text.split()[-1] for key, text in made.items() if text.strip() and _TELLING.search(key)]
        return made

    def login(self, options: ServerOptions, entry: Mapping[str, Any], where: str) -> ServerOptions:
        """Check what the settings for a login need of each other, and put the variables in."""
        oauth = options.oauth
        if oauth is None:
            return options
        if entry.get("command") is not None:
            raise self.wrong(where, "only a remote server has a login", "Give the secrets of this one in its env.")
        given = {"client_secret": oauth.client_secret, "private_key": oauth.private_key}
        secrets = {name: text for name, text in given.items() if text is not None}
        for name, text in secrets.items():
            if _VARIABLE.fullmatch(text) is None:
                hint = "Write ${env:NAME} or ${keyring:SERVICE/NAME}."
                raise self.wrong(f"{where}.{name}", "a secret does not stand in the file itself", hint)
            if oauth.client_id is None:
                raise self.wrong(where, f"a {name} needs its client_id", "Add it.")
        if len(secrets) > 1:
            raise self.wrong(where, "has both a client_secret and a private_key", "Keep the one that is registered.")
        if oauth.grant == "client_credentials" and not secrets:
            problem = "client_credentials needs a client_id, and a client_secret or a private_key"
            raise self.wrong(where, problem, "Add them.")
        if oauth.private_key is not None and oauth.grant != "client_credentials":
            problem = "only this machine's own login is signed with a key"
            raise self.wrong(f"{where}.private_key", problem, 'Add "grant": "client_credentials".')
        for name in ("signing_algorithm", "key_id"):
            if getattr(oauth, name) is not None and oauth.private_key is None:
                raise self.wrong(
                    f"{where}.{name}", "says something of a private_key, and there is none", "Add the key."
                )
        document = oauth.client_metadata_url
        if document is not None and not re.match(r"https://[^/\s]+/\S", document):
            raise self.wrong(f"{where}.client_metadata_url", f"{document!r} will not do", "Write https://host/path.")
        found = {name: self.text(text, f"{where}.{name}", bare=True, secret=True) for name, text in secrets.items()}
        proofs = replace(oauth, client_secret=found.get("client_secret"), private_key=found.get("private_key"))
        return replace(options, oauth=proofs)

    def text(self, value: Any, where: str, *, bare: bool = False, secret: bool = False) -> str:
        """A string with variables put in; `${X}` only where `bare`: in a command line it may be meant for a shell.

        A reference that nothing stands for is noted and left as it is: its server cannot be used, the others can.
        """

        def note(match: re.Match[str], kind: Literal["env", "keyring", "editor"], name: str, *, found: bool) -> str:
            self.references.append(Reference(match[0], kind, name, where, found))
            return match[0]

        def put(match: re.Match[str]) -> str:
            if match["kind"] == "keyring" and not secret:
                raise self.wrong(where, f"{match[0]} is out of place", "Use the keyring in env, headers, args or url.")
            if match["kind"] == "keyring":
                return note(match, "keyring", self.entry(match["body"], where), found=True)
            named = _NAMED.fullmatch(match["bare"] if match["kind"] is None else match["body"])
            if named is None:
                raise self.wrong(where, f"{match[0]} names no variable", "Write ${env:NAME}.")
            name, fallback = named["name"], named["fallback"]
            if match["bare"] is not None:
                if name == "userHome" and match["editor"] is None:
                    return str(Path.home())
                if match["editor"] is not None or name in _EDITOR_ONLY:
                    return note(match, "editor", name, found=False)
                if not bare:
                    return match[0]
            found = self.environ.get(name)
            if found and secret and name not in (*POSIX, *WINDOWS) and not Path(found).is_absolute():
                self.secrets.append(found)
            if not found and fallback is None:
                # An empty variable is no better than none: a server would go on with an empty token.
                return note(match, "env", name, found=False)
            note(match, "env", name, found=True)
            return found or fallback or ""

        if isinstance(value, bool | int | float) and bare:
            # Clients pass numbers and booleans in env and headers on as their text.
            value = json.dumps(value)
        return _VARIABLE.sub(put, self.scalar(str, value, where))

    def entry(self, name: str, where: str) -> str:
        try:
            entry_name(name)
        except ConfigError as error:
            raise self.wrong(
                where, error.message.rstrip("."), f"Write ${{keyring:SERVICE/NAME}}. {error.hint}"
            ) from None
        return name

    # Our own block: types come from the tree, and a key that the tree does not have is a mistake.

    def record(self, cls: type[T], value: Any, where: str, also: tuple[str, ...] = ()) -> T:
        assert is_dataclass(cls)
        given, hints = self.object(value, where), get_type_hints(cls)
        known = {entry.name: entry for entry in fields(cls) if entry.metadata.get("own", True)}
        made: dict[str, Any] = {}
        for key in given:
            if key not in known:
                raise self.wrong(f"{where}.{key}", "unknown key", _near(key, [*known, *also]))
            # Where there is usually one, it may stand without a list around it.
            alone = known[key].metadata.get("single") and isinstance(given[key], dict)
            made[key] = self.value(hints[key], [given[key]] if alone else given[key], f"{where}.{key}")
            self.bounds(made[key], known[key].metadata, f"{where}.{key}")
        for name, entry in known.items():
            if name not in given and entry.default is MISSING and entry.default_factory is MISSING:
                raise self.wrong(where, f'the key "{name}" is missing', "Add it.")
        for owner, secret in ((HttpSettings, "token"), (RemoteSettings, "key")):
            if cls is owner and made.get(f"{secret}_env") is not None:
                made[secret] = self.environ.get(made[f"{secret}_env"])
                if not made[secret]:
                    problem = f"the environment variable {made[f'{secret}_env']} is not set"
                    raise self.wrong(f"{where}.{secret}_env", problem, f"Put the {secret} into it, or remove the key.")
        if cls is WriterSettings and made.get("key_env") is not None:
            # Only training asks the writer: for everything else the variable may be missing.
            made["key"] = self.environ.get(made["key_env"]) or None
        if cls in (RemoteSettings, WriterSettings) and not re.fullmatch(r"https?://[^/\s@]+(/[^\s?#]*)?", made["url"]):
            raise self.wrong(
                f"{where}.url", f"{made['url']!r} is not the address of a model server", "Write http://host:port/v1."
            )
        if cls is ModelSettings:
            stages = [stage for remote in made.get("remote", ()) for stage in remote.stages]
            twice = next((stage for stage in stages if stages.count(stage) > 1), None)
            if twice:
                raise self.wrong(f"{where}.remote", f"two servers sit in the {twice} stage", "Give each stage one.")
        if cls is PolicyRule and "/" not in made["match"]:
            raise self.wrong(f"{where}.match", "expected server/tool", 'For example "filesystem/*" or "*/delete_*".')
        return cast(T, cls(**made))

    def bounds(self, value: Any, limits: Mapping[str, Any], where: str) -> None:
        if value is not None and "above" in limits and not value > limits["above"]:
            raise self.wrong(where, f"{value} is too small", f"Give a number above {limits['above']}.")
        if value is not None and "from" in limits and not limits["from"] <= value <= limits["to"]:
            raise self.wrong(where, f"{value} is out of range", f"Choose from {limits['from']} to {limits['to']}.")

    def value(self, hint: Any, value: Any, where: str) -> Any:
        """Check `value` against a field's type `hint` and convert it."""
        kind, parts = get_origin(hint), get_args(hint)
        if kind in (UnionType, Union):
            return None if value is None else self.value(parts[0], value, where)
        if kind is Literal:
            if not any(value == part for part in parts):
                choices = ", ".join(f'"{part}"' for part in parts)
                raise self.wrong(where, f"{json.dumps(value)} is not a choice", f"Choose one of {choices}.")
            return value
        if kind is tuple:
            if not isinstance(value, list):
                raise self.wrong(where, f"expected a list, found {_kind(value)}", "Write [ ... ] there.")
            return tuple(self.value(parts[0], item, f"{where}[{place}]") for place, item in enumerate(value))
        if kind is Mapping:
            given = self.object(value, where)
            return {key: self.value(parts[1], item, f"{where}.{key}") for key, item in given.items()}
        if hint is Any:
            return value
        is_record = isinstance(hint, type) and is_dataclass(hint)
        return self.record(hint, value, where) if is_record else self.scalar(hint, value, where)

    def scalar(self, hint: type[Any], value: Any, where: str) -> Any:
        wanted = {str: "a string", Path: "a path", int: "a whole number", float: "a number", bool: "true or false"}[
            hint
        ]
        accepted: Any = {str: str, Path: str, int: int, float: (int, float), bool: bool}[hint]
        fits = isinstance(value, accepted) and (hint is bool or not isinstance(value, bool))
        if not fits or (hint is float and not math.isfinite(value)) or (hint is Path and not value):
            raise self.wrong(where, f"expected {wanted}, found {_kind(value)}", f"Write {wanted} there.")
        if hint is Path:
            return self.file.absolute().parent / Path(value).expanduser()
        return float(value) if hint is float else value


def _near(name: str, known: Iterable[str]) -> str:
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f'Did you mean "{close[0]}"?'
    return f"Known: {', '.join(names)}." if names else "There is none."


def _kind(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, str):
        return "a string" if value else "an empty string"
    if isinstance(value, int | float):
        return f"the number {value}"
    return "a list" if isinstance(value, list) else "an object"

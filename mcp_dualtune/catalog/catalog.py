"""What can be called: servers and their tools, with look-ups and fingerprints.

Owns turning a server's own tool list into records. Refuses to own: reaching servers and choosing among tools.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from mcp_dualtune.catalog.docstrings import explained
from mcp_dualtune.catalog.naming import near_names
from mcp_dualtune.catalog.schema import clean_schema
from mcp_dualtune.errors import CatalogError
from mcp_dualtune.types import FINISH, JSON, NONE, ServerSpec, ToolSpec, canonical

LONGEST_NAME = 256
"""Characters of a tool's name; the protocol advises 128 at most."""


@dataclass(frozen=True)
class SkippedTool:
    """A tool that a server lists and the catalog leaves out."""

    name: str
    reason: str


@dataclass(frozen=True)
class BuiltServer:
    """A server's record and what had to be left out of it."""

    spec: ServerSpec
    skipped: tuple[SkippedTool, ...] = ()


@dataclass(frozen=True)
class Catalog:
    """All servers that can be called, in the order of the config."""

    servers: tuple[ServerSpec, ...] = ()
    _by_name: Mapping[str, ServerSpec] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_name = {server.name: server for server in self.servers}
        if len(by_name) < len(self.servers):
            raise CatalogError("Two servers have the same name.", hint="Rename one of them.")
        object.__setattr__(self, "_by_name", by_name)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 hex that changes when any server or tool does."""
        return _digest([server.fingerprint for server in self.servers])

    @property
    def tools(self) -> tuple[ToolSpec, ...]:
        """Every tool of every server, in order."""
        return tuple(tool for server in self.servers for tool in server.tools)

    def server(self, name: str) -> ServerSpec:
        """Find a server.

        Raises:
            CatalogError: there is none of this name; the hint lists near ones.
        """
        if name not in self._by_name:
            raise CatalogError(f'There is no server "{name}".', hint=near_names(name, self._by_name))
        return self._by_name[name]

    def tool(self, server: str, name: str) -> ToolSpec:
        """Find a tool of a server.

        Raises:
            CatalogError: the server or the tool is not there; the hint lists near ones.
        """
        tools = {tool.name: tool for tool in self.server(server).tools}
        if name not in tools:
            hint = near_names(name, tools) if tools else "It offers none."
            raise CatalogError(f'The server "{server}" has no tool "{name}".', hint=hint)
        return tools[name]

    def restrict(self, names: Iterable[str] | None) -> Catalog:
        """Give the catalog with only the servers in `names`, in this catalog's order; None keeps all.

        Raises:
            CatalogError: a name is unknown.
        """
        if names is None:
            return self
        wanted = {self.server(name).name for name in names}
        return Catalog(tuple(server for server in self.servers if server.name in wanted))


def build_server(
    name: str,
    description: str,
    tools: Sequence[JSON],
    *,
    fixed_arguments: Mapping[str, JSON] | None = None,
    context: Mapping[str, str] | None = None,
    allow: Sequence[str] = (),
    deny: Sequence[str] = (),
) -> BuiltServer:
    """Make a server's record from its tools in wire spelling; a tool that cannot be used is left out alone.

    Tools that `allow` does not name (when given) or `deny` names (patterns) are the user's choice, so they are left out
    without being reported as skipped.
    """
    kept: dict[str, ToolSpec] = {}
    skipped = []
    for place, wire in enumerate(tools):
        label = str(wire.get("name")) if isinstance(wire, Mapping) and wire.get("name") else f"tool {place + 1}"
        if not _chosen(label, allow, deny):
            continue
        try:
            tool = build_tool(name, wire)
            if tool.name in kept:
                raise CatalogError("an earlier tool has the same name")
            kept[tool.name] = tool
        except CatalogError as error:
            skipped.append(SkippedTool(label, error.message))
    ordered = tuple(kept.values())
    fixed = dict(fixed_arguments or {})
    fingerprint = _digest([name, description, [tool.fingerprint for tool in ordered], fixed])
    spec = ServerSpec(name, description, ordered, fingerprint, fixed, dict(context or {}))
    return BuiltServer(spec, tuple(skipped))


def build_tool(server: str, wire: JSON) -> ToolSpec:
    """Make one tool's record from its wire form.

    Raises:
        CatalogError: it has no usable name or schema.
    """
    if not isinstance(wire, Mapping):
        raise CatalogError("it is not an object")
    name, description, title = wire.get("name"), wire.get("description"), wire.get("title")
    if not isinstance(name, str) or not name.strip():
        raise CatalogError("it has no name")
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise CatalogError("its name is too long, or holds characters that cannot be seen")
    if name in (NONE, FINISH):
        raise CatalogError(f'the name "{name}" is taken by an answer of the model')
    words = description if isinstance(description, str) else ""
    schema = explained(clean_schema(wire.get("inputSchema")), words)
    annotations, output = wire.get("annotations"), wire.get("outputSchema")
    notes = dict(annotations) if isinstance(annotations, Mapping) else {}
    named = title if isinstance(title, str) else notes.get("title")
    return ToolSpec(
        server=server,
        name=name,
        description=words,
        input_schema=schema,
        fingerprint=_digest([name, words, schema]),
        output_schema=output if isinstance(output, Mapping) else None,
        annotations=notes,
        title=named if isinstance(named, str) else None,
        wire=wire,
    )


def load_catalog_file(path: Path) -> Catalog:
    """Read `{"servers": [{"name", "description", "tools": [...]}]}`, so that nothing needs to be started.

    Raises:
        CatalogError: the file cannot be read, is not of this form, or holds a tool that cannot be used.
    """
    hint = 'Expected {"servers": [{"name", "description", "tools": [{"name", "description", "inputSchema"}]}]}.'
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise CatalogError(f"Cannot read the catalog {path}: {error}.", hint=hint) from error
    listed = data.get("servers") if isinstance(data, Mapping) else None
    if not isinstance(listed, list):
        raise CatalogError(f"{path}: there is no list of servers.", hint=hint)
    servers = []
    for place, entry in enumerate(listed):
        name = entry.get("name") if isinstance(entry, Mapping) else None
        tools = entry.get("tools") if isinstance(entry, Mapping) else None
        if not isinstance(name, str) or not name or name == NONE or not isinstance(tools, list):
            raise CatalogError(f"{path}: servers[{place}] has no usable name or no list of tools.", hint=hint)
        built = build_server(name, str(entry.get("description") or ""), tools)
        for tool in built.skipped:
            raise CatalogError(f'{path}: the tool "{tool.name}" of "{name}" cannot be used: {tool.reason}', hint=hint)
        servers.append(built.spec)
    return Catalog(tuple(servers))


def _chosen(name: str, allow: Sequence[str], deny: Sequence[str]) -> bool:
    allowed = not allow or any(fnmatch.fnmatchcase(name, pattern) for pattern in allow)
    return allowed and not any(fnmatch.fnmatchcase(name, pattern) for pattern in deny)


def _digest(value: JSON) -> str:
    return hashlib.sha256(canonical(value).encode("utf-8", "surrogatepass")).hexdigest()

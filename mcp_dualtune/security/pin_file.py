"""The pins of one server as a file in the user's state folder.

Owns names and form of the files. Refuses to own: when something is pinned (`pins`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from mcp_dualtune.config import ServerConfig
from mcp_dualtune.errors import ConfigError
from mcp_dualtune.security.definitions import Definition
from mcp_dualtune.state import read_private, write_private
from mcp_dualtune.types import JSON, canonical

VERSION = 1
FOLDER = "pins"


@dataclass(frozen=True)
class Entry:
    """A definition and since when it is known."""

    definition: Definition
    since: str


@dataclass(frozen=True)
class ServerPins:
    """What is known of one server: what it may offer, and what waits for an approval."""

    server: str
    identity: str
    pinned: Mapping[str, Entry] = field(default_factory=dict)
    waiting: Mapping[str, Entry] = field(default_factory=dict)


def identity_of(server: ServerConfig) -> str:
    """sha256 hex of a server's name and the way to it; variables and headers are not part, they hold secrets."""
    way = [server.transport, server.command, list(server.args), str(server.cwd or ""), server.url]
    return hashlib.sha256(canonical([server.name, *way]).encode("utf-8", "surrogatepass")).hexdigest()


class PinFiles:
    """One file a server in a folder, so that several gateways do not write over each other's servers."""

    def __init__(self, state: Path) -> None:
        self._folder = state / FOLDER

    def path(self, name: str, identity: str) -> Path:
        """Where the pins of a server lie."""
        readable = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:40]
        return self._folder / f"{readable}-{identity[:16]}.json"

    def load(self, name: str, identity: str) -> ServerPins | None:
        """The pins of a server, None when it was never used.

        Raises:
            ConfigError: there is a file, and it cannot be read.
        """
        return read_pins(self.path(name, identity))

    def save(self, pins: ServerPins) -> None:
        """Replace the pins of a server.

        Raises:
            OSError: the file cannot be written.
        """
        content = {
            "version": VERSION,
            "server": pins.server,
            "identity": pins.identity,
            "pinned": {name: _entry_json(entry) for name, entry in pins.pinned.items()},
            "waiting": {name: _entry_json(entry) for name, entry in pins.waiting.items()},
        }
        write_private(self.path(pins.server, pins.identity), json.dumps(content, indent=1) + "\n")

    def stamp(self, name: str, identity: str) -> tuple[int, int] | None:
        """Changes whenever the file does."""
        try:
            status = self.path(name, identity).stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ino

    def paths(self) -> list[Path]:
        """The file of every server that was ever used."""
        return sorted(self._folder.glob("*.json"))


def read_pins(path: Path) -> ServerPins | None:
    """The pins in a file, None when there is none.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        text = read_private(path)
        return None if text is None else _parse(json.loads(text))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or "it is damaged, or of another version"
        hint = "Look at it; `dualtune pins reset SERVER` removes it, and the server's next use is its first again."
        raise ConfigError(f"The pins in {path} cannot be read: {reason}.", hint=hint) from error


def entry(definition: Definition) -> Entry:
    """A definition seen now."""
    return Entry(definition, datetime.now(UTC).isoformat(timespec="seconds"))


def _entry_json(item: Entry) -> dict[str, JSON]:
    return {"digest": item.definition.digest, "since": item.since, "definition": item.definition.value}


def _parse(content: Mapping[str, JSON]) -> ServerPins:
    if content["version"] != VERSION:
        raise ValueError("another version")
    pinned, waiting = (
        {
            name: Entry(Definition(str(item["digest"]), item["definition"]), str(item["since"]))
            for name, item in content[key].items()
        }
        for key in ("pinned", "waiting")
    )
    return ServerPins(str(content["server"]), str(content["identity"]), pinned, waiting)

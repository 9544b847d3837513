"""The resources, templates and prompts of the servers, under the names and addresses that clients see.

Prompts are named as tools are, `server__prompt`. Addresses of resources stay as the servers give them; where two
servers give the same one, the first in the config keeps it and the others' stands behind `dualtune://SERVER/`. That
longer form is understood for every resource, so such an address stays good when servers come and go.
Owns these names and the way back. Refuses to own reading and asking.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from urllib.parse import quote, unquote

import mcp.types as mcp_types
from mcp.shared.uri_template import InvalidUriTemplate, UriTemplate
from pydantic import BaseModel, ValidationError

from mcp_dualtune.catalog.naming import PublicNames
from mcp_dualtune.mcp_server.results import Wire, own_meta
from mcp_dualtune.types import JSON, Offer

SCHEME = "dualtune://"
logger = logging.getLogger(__name__)
Address = tuple[str, str]
"""A server and its own URI, template or prompt name."""


class Shelf:
    """What is shown of `offers`, fixed at the time it is made."""

    def __init__(self, offers: Iterable[Offer], prefixes: Mapping[str, str] | None = None) -> None:
        offers = tuple(offers)
        self.resources: list[Wire] = []
        self.templates: list[Wire] = []
        self.prompts: list[Wire] = []
        self._resources: dict[str, Address] = {}
        self._templates: dict[str, Address] = {}
        self._prompts: dict[str, Address] = {}
        self._readers = tuple(offer.server for offer in offers if "resources" in offer.capabilities)
        self._completers = frozenset(offer.server for offer in offers if "completions" in offer.capabilities)
        for offer in offers:
            resources = _valid(offer.server, offer.resources, mcp_types.Resource)
            self.resources += _place(offer.server, resources, "uri", self._resources)
            templates = _valid(offer.server, offer.templates, mcp_types.ResourceTemplate)
            self.templates += _place(offer.server, templates, "uriTemplate", self._templates)
        named: dict[Address, Mapping[str, JSON]] = {}
        for offer in offers:
            named |= {(offer.server, e["name"]): e for e in _valid(offer.server, offer.prompts, mcp_types.Prompt)}
        names = PublicNames(named, prefixes)
        for pair, entry in named.items():
            self._prompts[names.join(*pair)] = pair
            self.prompts.append(_shown(entry, "name", names.join(*pair)))

    def prompt(self, name: str) -> Address | None:
        """The server and its own name of a prompt."""
        return self._prompts.get(name)

    def template(self, template: str) -> Address | None:
        """The server and its own spelling of a resource template."""
        return self._templates.get(template) or _inside(template, self._readers)

    def completes(self, server: str) -> bool:
        """Whether a server offers completion."""
        return server in self._completers

    def find(self, uri: str) -> tuple[Address, ...]:
        """Who may have a resource, and under which URI: its lister, else whose template fits, else every server."""
        known = self._resources.get(uri) or _inside(uri, self._readers)
        if known is not None:
            return (known,)
        fitting = tuple((server, uri) for server, template in self._templates.values() if _fits(template, uri))
        return tuple(dict.fromkeys(fitting)) or tuple((server, uri) for server in self._readers)


def alias(server: str, uri: str) -> str:
    """The longer form of an address, which names its server."""
    return f"{SCHEME}{quote(server, safe='')}/{uri}"


def _inside(uri: str, servers: Iterable[str]) -> Address | None:
    if not uri.startswith(SCHEME):
        return None
    name, _, rest = uri.removeprefix(SCHEME).partition("/")
    server = unquote(name)
    return (server, rest) if server in servers and rest else None


def _valid(server: str, entries: Iterable[Mapping[str, JSON]], kind: type[BaseModel]) -> Iterator[Mapping[str, JSON]]:
    """The entries that clients can read: one that they cannot would cost them the whole list."""
    for entry in entries:
        try:
            kind.model_validate(entry, by_name=False)
        except ValidationError as error:
            logger.warning("%s: a %s is left out: %s", server, kind.__name__, error.errors()[0]["msg"])
        else:
            yield entry


def _place(server: str, entries: Iterable[Mapping[str, JSON]], key: str, taken: dict[str, Address]) -> list[Wire]:
    placed = []
    for entry in entries:
        address = entry[key]
        public = alias(server, address) if address in taken else address
        if public not in taken:
            taken[public] = (server, address)
            placed.append(_shown(entry, key, public))
    return placed


def _shown(entry: Mapping[str, JSON], key: str, value: str) -> Wire:
    shown = {**entry, key: value}
    if "_meta" in shown:
        shown["_meta"] = own_meta(shown["_meta"])
    return shown


@lru_cache(1024)
def _parsed(template: str) -> UriTemplate | None:
    try:
        return UriTemplate.parse(template)
    except InvalidUriTemplate:
        return None


def _fits(template: str, uri: str) -> bool:
    parsed = _parsed(template)
    return parsed is not None and parsed.match(uri) is not None

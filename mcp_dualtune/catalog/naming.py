"""Public tool names: `server__tool` unless the config gives another prefix, in characters and lengths hosts accept.

Owns how a server and a tool become one name and back. Refuses to own: which tools are shown.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping

from mcp_dualtune.errors import CatalogError

SEPARATOR = "__"
MAX_LENGTH = 64
"""Hosts refuse longer names, and some count a prefix of their own."""
DIGEST_LENGTH = 8


class PublicNames:
    """A fixed set of (server, tool) pairs and a unique public name for each.

    Args:
        pairs: their order matters only between prefixes of the config's own that make two names equal.
        prefixes: by server, what stands before its tools instead of `server__`; may be empty.
        reserved: names that no tool may have.
    """

    def __init__(
        self,
        pairs: Iterable[tuple[str, str]],
        prefixes: Mapping[str, str] | None = None,
        reserved: Iterable[str] = (),
    ) -> None:
        ordered = list(dict.fromkeys(pairs))
        self._names: dict[tuple[str, str], str] = {}
        self._pairs: dict[str, tuple[str, str]] = {}
        kept = set(reserved)
        wanted, self.clashes = _choose(ordered, prefixes or {}, kept)
        users = Counter([*wanted.values(), *kept])
        # Names that nobody else wants are given first, so that a digest can never push one of them aside.
        for pair in sorted(sorted(ordered), key=lambda pair: users[wanted[pair]] > 1):
            name, salt = wanted[pair], 0
            if users[name] > 1:
                name = _with_digest(name, pair, salt)
            while name in self._pairs:
                salt += 1
                name = _with_digest(wanted[pair], pair, salt)
            self._names[pair], self._pairs[name] = name, pair

    def join(self, server: str, tool: str) -> str:
        """Give the public name of a tool.

        Raises:
            CatalogError: the pair is not in the set.
        """
        try:
            return self._names[server, tool]
        except KeyError:
            raise CatalogError(f'No tool "{tool}" on "{server}".', hint="Look at the list of tools again.") from None

    def split(self, name: str) -> tuple[str, str]:
        """Give the (server, tool) pair behind a public name.

        Raises:
            CatalogError: no tool has this public name.
        """
        try:
            return self._pairs[name]
        except KeyError:
            raise CatalogError(f'No tool is called "{name}".', hint=near_names(name, self._pairs)) from None


def near_names(name: str, known: Iterable[str]) -> str:
    """One sentence with the known names that look like `name`, best first, for use as a hint."""
    names = list(known)
    lower = {other.lower(): other for other in reversed(names)}
    close = [lower[found] for found in difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.5)]
    if close:
        return f"Did you mean {' or '.join(close)}?"
    if not names:
        return "There are none: no server is ready."
    return f"Known: {', '.join(names[:10])}{' and more' if len(names) > 10 else ''}."


def _choose(
    ordered: list[tuple[str, str]], prefixes: Mapping[str, str], reserved: set[str]
) -> tuple[dict[tuple[str, str], str], tuple[tuple[str, str], ...]]:
    """The name each pair would like; a prefix of the config that makes two names equal gives way to `server__`."""
    wanted = {pair: _wanted(*pair) for pair in ordered if pair[0] not in prefixes}
    taken, clashes = {*wanted.values(), *reserved}, []
    for pair in ordered:
        if pair in wanted:
            continue
        name = _wanted(*pair, prefixes[pair[0]])
        if name in taken:
            clashes.append(pair)
            name = _wanted(*pair)
        wanted[pair] = name
        taken.add(name)
    return wanted, tuple(clashes)


def _wanted(server: str, tool: str, prefix: str | None = None) -> str:
    name = f"{_allowed(server + SEPARATOR if prefix is None else prefix)}{_allowed(tool)}"
    return name if len(name) <= MAX_LENGTH else _with_digest(name, (server, tool), 0)


def _with_digest(name: str, pair: tuple[str, str], salt: int) -> str:
    digest = hashlib.sha256("\0".join([*pair, str(salt)]).encode()).hexdigest()[:DIGEST_LENGTH]
    return f"{name[: MAX_LENGTH - DIGEST_LENGTH - 1]}_{digest}"


def _allowed(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", text)

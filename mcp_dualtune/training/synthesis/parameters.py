"""The parameters of a tool as sentences see them: what each is called, its role, and what kind of values it takes.

Owns reading names, types and descriptions of parameters. It makes no values and writes no sentences.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mcp_dualtune.prompting.slots import opened
from mcp_dualtune.prompting.unions import options_of
from mcp_dualtune.training.augment import words_of
from mcp_dualtune.training.synthesis import inflection, lexicon
from mcp_dualtune.training.synthesis.lexicon import Role
from mcp_dualtune.types import JSON, ToolSpec

ID_WORDS = ("id", "ids", "uuid", "key", "identifier", "gid", "pk", "ref", "iid", "uid", "guid")
ID_ENDINGS = (*ID_WORDS, "number", "slug", "code", "no", "reference")
GENERIC = {
    "id",
    "ids",
    "uuid",
    "key",
    "identifier",
    "identifiers",
    "slug",
    "uid",
    "guid",
    "gid",
    "name",
    "names",
    "number",
}
"""Names of the parameter that says which object is meant, without naming the object."""
ABOUT = re.compile(
    r"\b(?:id|ids|identifier|uuid|key|number|name|slug)s?\s+(?:of|for)\s+(?:the|a|an|each)\s+([a-z]+(?:\s[a-z]+)?)"
    r"(?=\s+(?:to|in|that|which|from|you|whose|being|is|for|with)\b|\s*[.,(;]|\s*$)",
    re.IGNORECASE,
)
"""`The ID of the project to list`: whose id it is."""
HINTS = (
    (re.compile(r"\bsql\b", re.I), "sql"), (re.compile(r"\bcron\b", re.I), "cron"),
    (re.compile(r"\bcss selector\b|\bxpath\b", re.I), "selector"),
    (re.compile(r"\biso[- ]?4217\b|\bcurrency code\b", re.I), "currency"),
    (re.compile(r"\biana\b|\btime ?zone\b", re.I), "timezone"), (re.compile(r"\be-?mail address", re.I), "email"),
    (re.compile(r"\b(?:url|link)\b", re.I), "url"), (re.compile(r"\bfile path\b|\bpath (?:to|of)\b", re.I), "path"),
    (re.compile(r"\biso[- ]?8601\b|\byyyy-mm-dd\b|\bdate\b", re.I), "date"),
    (re.compile(r"\bgraphql\b|\bsource code\b|\bcode to\b", re.I), "code"),
    (re.compile(r"\bcity\b|\btown\b", re.I), "location"), (re.compile(r"\bjson\b", re.I), "json"),
    (re.compile(r"\bmaximum number\b|\bhow many .{0,30}\b(?:return|show|list)", re.I), "limit"),
    (re.compile(r"\bsearch (?:for|term|query)|\bkeyword", re.I), "query"),
    (re.compile(r"\bname of the (?:person|customer|guest|patient|user|employee)\b", re.I), "customer"),
    (re.compile(r"\bmessage\b|\btext\b|\bdescription\b", re.I), "body"),
)  # fmt: skip
COUNTED = {"duration", "limit", "quantity", "level", "degrees", "measure", "page", "year", "radius"}
"""Roles that lists never have."""


@dataclass(frozen=True)
class Parameter:
    """One top-level parameter."""

    name: str
    schema: Mapping[str, JSON]
    required: bool
    words: tuple[str, ...]
    """The name in words, abbreviations written out."""
    role: Role
    entity: str
    """For a parameter that names an object of a known kind (`project_id`): that kind; else empty."""

    @property
    def spoken(self) -> str:
        """How people call it."""
        return " ".join(self.words)

    @property
    def kind(self) -> str:
        """JSON type, `enum` for listed values, `string` where nothing is said."""
        if isinstance(self.schema.get("enum"), list) or "const" in self.schema:
            return "enum"
        kind = self.schema.get("type")
        if isinstance(kind, str):
            return kind
        return "object" if self.schema.get("properties") else ("array" if self.schema.get("items") else "string")

    @property
    def described(self) -> str:
        """Its description, or empty."""
        about = self.schema.get("description")
        return about if isinstance(about, str) else ""


def parameters_of(tool: ToolSpec, said: Sequence[str] = ()) -> tuple[Parameter, ...]:
    """The parameters of a tool in schema order, those in `said` (decided by the user's config) left out."""
    required = set(tool.input_schema.get("required") or ())
    properties = tool.input_schema.get("properties") or {}
    found = [
        parameter(name, part, name in required)
        for name, part in properties.items()
        if name not in said and name and "{" not in name and "}" not in name
    ]
    if any(one.role.name in ("source", "path") for one in found):  # then a bare `destination` is a path as well
        found = [
            replace(one, role=lexicon.roles()["target"]) if one.role.name == "destination" else one for one in found
        ]
    return tuple(found)


def parameter(name: str, part: JSON, required: bool) -> Parameter:
    """Read one property of a schema."""
    schema = plain(part)
    raw = [word.lower() for word in words_of(name)]
    words = tuple(lexicon.abbreviation(word) for word in raw)
    role, entity = _role(raw, words, schema)
    return Parameter(name, schema, required, words, role, entity)


def plain(part: JSON) -> Mapping[str, JSON]:
    """A property's schema with unions reduced to the first option that is not null."""
    schema = opened(part)
    if schema or not isinstance(part, Mapping):
        return schema
    if options := options_of(part):
        return {**{k: v for k, v in part.items() if k not in ("anyOf", "oneOf")}, **plain(options[0])}
    kinds = [kind for kind in part.get("type") or () if kind != "null"] if isinstance(part.get("type"), list) else []
    return {**part, "type": kinds[0]} if kinds else part


def own_parameter(noun: str, parameters: Sequence[Parameter]) -> Parameter | None:
    """The parameter that says which object is meant: `issue_number` for an issue, `id`, a file's path."""
    head = noun.rpartition(" ")[2]
    names = {noun, head, inflection.plural(noun), inflection.plural(head)} - {""}
    best: Parameter | None = None
    for one in parameters:
        if one.kind in ("boolean", "object") or one.role.name in ("limit", "page", "cursor"):
            continue
        if one.kind in ("integer", "number") and not one.entity and one.words[-1].lower() not in ID_ENDINGS:
            continue
        spoken = one.spoken.lower()
        stripped = spoken.rpartition(" ")[0] if spoken.rpartition(" ")[2] in ("name", "names", *ID_ENDINGS) else spoken
        if one.entity in names or spoken in names or stripped in names or spoken == "id":
            if best is None or one.required > best.required:
                best = one
        elif (
            (spoken in GENERIC and best is None)
            or (one.role.name == "from_object" and best is None)
            or (
                best is None
                and one.role.name in ("path", "folder", "url")
                and one.required
                and head in lexicon.words("told by path")
            )
        ):
            best = one
    return best


def _role(raw: Sequence[str], words: Sequence[str], schema: Mapping[str, JSON]) -> tuple[Role, str]:
    roles, index = lexicon.roles(), lexicon.role_index()
    spoken, last = " ".join(words).lower(), words[-1].lower() if words else ""
    about = str(schema.get("description") or "")
    within = schema.get("items")
    items: Mapping[str, JSON] = within if isinstance(within, Mapping) else {}
    numeric = schema.get("type") in ("integer", "number")
    if spoken == "days" and numeric:
        return roles["day_count"], ""
    if raw and raw[-1] in ID_WORDS and spoken not in index:
        entity = inflection.singular(" ".join(words[:-1])) if len(words) > 1 else _entity(about)
        return roles["other"], entity or "object"
    form = str(schema.get("format") or items.get("format") or "")
    by_format = {"email": "email", "uri": "url", "url": "url", "ipv4": "host", "hostname": "host"}.get(form)
    if (
        spoken in ("from", "to", "source", "destination", "target", "base", "head", "query", "filter", "data", "value")
        and not numeric
    ):
        meant = _ambiguous(spoken, about, schema)
        if meant:
            return roles[meant], ""
    for name in (
        spoken,
        " ".join(raw),
        " ".join(words[-2:]).lower(),
        last,
        inflection.singular(spoken),
        inflection.singular(last),
    ):
        found = index.get(name)
        if (
            found
            and not (numeric and found not in lexicon.words("numeric roles"))
            and not (found in COUNTED and "items" in schema)
            and (len(name) > 2 or name == spoken)
        ):
            if by_format and found not in ("recipient", "copied", "attendees", "path"):
                found = by_format
            return roles[found], _known(spoken, found)
    if by_format:
        return roles[by_format], ""
    if form in ("date", "date-time", "time"):
        return roles["time" if form == "time" else "date"], ""
    if numeric or schema.get("type") == "boolean":
        return roles["limit" if HINTS[12][0].search(about) else "other"], _known(
            spoken, ""
        ) if last in ID_ENDINGS else ""
    if last == "number" and len(words) > 1:
        return roles["other"], " ".join(words[:-1])
    if schema.get("type") in (None, "string", "array") and not isinstance(schema.get("enum"), list):
        for hint, found in HINTS:
            if hint.search(about):
                return roles[found], _known(spoken, found)
    return roles["other"], _known(spoken, "")


def _known(spoken: str, role: str) -> str:
    """The kind of object that a parameter names, where its name is such a kind and its role does not say more."""
    stripped = re.sub(r" (?:name|number|key|slug|code)$", "", spoken)
    nouns = lexicon.table("nouns")
    if role in ("", "other", "sku") and (stripped in nouns["prepositions"] or stripped in nouns["synonyms"]):
        return inflection.singular(stripped)
    return ""


def _entity(about: str) -> str:
    found = ABOUT.search(about)
    return found[1].lower() if found else ""


def _ambiguous(spoken: str, about: str, schema: Mapping[str, JSON]) -> str:
    """The role of a name that means several things, by its description."""
    low = f"{about} {schema.get('format') or ''}".lower()
    if spoken in ("query", "filter", "data", "value"):
        if "sql" in low or "select " in low:
            return "sql"
        if "graphql" in low:
            return "code"
        return "query" if spoken in ("query", "filter") and schema.get("type") in (None, "string") else ""
    first = spoken in ("from", "source", "base")
    for words, pair in (
        (("currenc", "iso 4217", "exchange"), ("from_unit", "to_unit")),
        (("unit",), ("from_unit", "to_unit")),
        (("language", "translat"), ("source_language", "target_language")),
        (("date", "time"), ("start", "end")),
        (("branch", "ref", "commit"), ("branch", "branch")),
        (("file", "path", "folder", "director"), ("source", "target")),
        (("city", "station", "airport", "location", "address", "place"), ("origin", "destination")),
        (("email", "recipient", "phone", "number"), ("author", "recipient")),
    ):  # fmt: skip
        if any(word in low for word in words):
            return pair[0 if first else 1]
    return {"from": "origin", "to": "recipient", "source": "source", "destination": "destination"}.get(spoken, "")

"""Made-up argument drills over real schemas: say a value, copy it, or notice that it is not there.

A drill takes any tool of the catalogue, invents values that fit its schema, and writes a request that names them. It
teaches copying and typing, not language: the sentences are plain on purpose.
"""

from __future__ import annotations

import random
import string
from collections.abc import Mapping, Sequence

from mcp_dualtune.prompting.unions import options_of
from mcp_dualtune.training.augment import random_word, words_of
from mcp_dualtune.training.records import Case
from mcp_dualtune.types import JSON, ServerSpec, ToolSpec

ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
FOLDERS = [
    "src",
    "docs",
    "data",
    "notes",
    "backup",
    "build",
    "tests",
    "photos",
    "reports",
    "config",
    "tmp",
    "archive",
    "lib",
    "assets",
    "2024",
    "old",
    "drafts",
]
STEMS = [
    "report",
    "main",
    "index",
    "budget",
    "todo",
    "readme",
    "invoice",
    "summary",
    "app",
    "notes",
    "plan",
    "draft",
    "schema",
    "users",
    "log",
    "cover",
    "letter",
]
ENDINGS = [
    "md",
    "txt",
    "py",
    "json",
    "csv",
    "pdf",
    "yaml",
    "ts",
    "js",
    "html",
    "toml",
    "sql",
    "png",
    "jpg",
    "log",
    "xlsx",
    "rs",
    "go",
    "sh",
]
ROOTS = (
    "",
    "",
    "./",
    "../",
    "/",
    "~/",
    "{W}/",
    "{W}/",
    "/home/ana/",
    "/var/www/",
    "C:\\Users\\sam\\",
    "D:\\",
    "$HOME/",
)
HOSTS = [
    "example.com",
    "docs.acme.io",
    "api.shop.dev",
    "news.site.org",
    "blog.mara.net",
    "localhost:8080",
    "intra.corp",
]
MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
OPENERS = ("", "", "please ", "can you ", "I need you to ", "hey, ", "could you ", "I'd like to ", "now ", "quick: ")
SAY = (
    "{name} {value}", "{name} = {value}", "{name}: {value}", "with {name} {value}", "set {name} to {value}",
    "{name} should be {value}", "use {value} as {name}", "{value} for the {name}", "the {name} is {value}",
    'with {name} "{value}"', "{name} '{value}'", "{name} `{value}`", "using {value} as the {name}", "{name} of {value}",
)  # fmt: skip
BARE = ("{value}", '"{value}"', "for {value}", "on {value}", "{value} please", "in {value}", "`{value}`")
SWITCHED_ON = ("with {name}", "{name} on", "{name}: yes", "turn on {name}", "{name} true")
SWITCHED_OFF = ("without {name}", "{name} off", "no {name}", "{name}: no", "don't {name}", "{name} false")
VAGUE = ("it", "that one", "this", "the usual", "the one I mentioned", "the same as before")
JOINS = (", ", " and ", "; ", ", ", " ")


def number_words(value: int) -> str:
    """An integer from 0 to 99 in English words."""
    if value < 20:
        return ONES[value]
    tens, ones = divmod(value, 10)
    return TENS[tens - 2] + (f"-{ONES[ones]}" if ones else "")


class Drills:
    """Makes drills from catalogue schemas and a pool of real words and phrases."""

    def __init__(self, servers: Sequence[ServerSpec], phrases: Sequence[str]) -> None:
        self.tools = [(s, t) for s in servers for t in s.tools if 0 < len(t.input_schema.get("properties") or {}) <= 8]
        self.phrases = list(phrases) or ["alpha"]

    def case(self, rng: random.Random, tool: tuple[ServerSpec, ToolSpec] | None = None) -> Case:
        """One drill; `tool` picks the schema, else it is random."""
        server, spec = tool or rng.choice(self.tools)
        properties = spec.input_schema.get("properties") or {}
        required = set(spec.input_schema.get("required") or ())
        arguments: dict[str, JSON] = {}
        missing: list[str] = []
        pieces: list[str] = []
        for name, part in properties.items():
            if name not in required and rng.random() < 0.55:
                continue
            made = self.value(name, part, rng)
            if made is None:
                continue
            if name in required and rng.random() < 0.09:
                missing.append(name)
                if rng.random() < 0.4:
                    pieces.append(f"{' '.join(words_of(name))} {rng.choice(VAGUE)}")
                continue
            text, value = made
            if isinstance(value, bool):
                pieces.append(text)
            else:
                form = rng.choice(BARE) if len(properties) == 1 and rng.random() < 0.6 else rng.choice(SAY)
                shown = " ".join(words_of(name)) if rng.random() < 0.75 else name
                pieces.append(form.replace("{name}", shown).replace("{value}", text))
            arguments[name] = value
        missing += [name for name in required if name not in arguments and name not in missing]
        rng.shuffle(pieces)
        action = " ".join(words_of(spec.name)) if rng.random() < 0.6 else _first_clause(spec.description)
        middle = rng.choice((" ", " ", ": ", ", ", " - ", " with "))
        query = rng.choice(OPENERS) + action + (middle + rng.choice(JOINS).join(pieces) if pieces else "")
        return Case(query[:1].upper() + query[1:] if rng.random() < 0.4 else query, server, spec.name, arguments,
                    tuple(name for name in properties if name in missing))  # fmt: skip

    def value(self, name: str, schema: JSON, rng: random.Random, depth: int = 0) -> tuple[str, JSON] | None:
        """(text form, value) that fits the schema, or None where nothing sensible can be said."""
        if not isinstance(schema, Mapping):
            return None
        if isinstance(schema.get("enum"), list) and schema["enum"]:
            choice = rng.choice(schema["enum"])
            return (
                (" ".join(words_of(choice)) if rng.random() < 0.25 else choice, choice)
                if isinstance(choice, str)
                else None
            )
        if options := options_of(schema):
            return self.value(name, rng.choice(options), rng, depth)
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = next((one for one in kind if one != "null"), None)
        if kind == "string":
            text = self.text(name, str(schema.get("format") or ""), rng)
            return text, text
        if kind in ("integer", "number"):
            return self._number(schema, kind, rng)
        if kind == "boolean":
            value = rng.random() < 0.5
            words = " ".join(words_of(name))
            return rng.choice(SWITCHED_ON if value else SWITCHED_OFF).replace("{name}", words), value
        if kind == "array":
            made = [
                self.value(name, schema.get("items") or {"type": "string"}, rng, depth + 1)
                for _ in range(rng.randint(1, 3))
            ]
            items = [one for one in made if one is not None]
            if not items:
                return None
            shown = [text for text, _ in items]
            text = ", ".join(shown[:-1]) + rng.choice((" and ", ", ")) + shown[-1] if len(shown) > 1 else shown[0]
            return text, [value for _, value in items]
        if kind == "object" and depth < 3 and schema.get("properties"):
            inner = {k: self.value(k, v, rng, depth + 1) for k, v in schema["properties"].items()}
            needed = set(schema.get("required") or ())
            kept = {k: v for k, v in inner.items() if v is not None and (k in needed or rng.random() < 0.5)}
            if not kept:
                return None
            return " ".join(f"{' '.join(words_of(k))} {v[0]}" for k, v in kept.items()), {
                k: v[1] for k, v in kept.items()
            }
        return None

    def text(self, name: str, form: str, rng: random.Random) -> str:
        """A string such as people put into a parameter of this name."""
        words = set(words_of(name)) | {form}
        roll = rng.random()
        if words & {"path", "file", "filename", "dir", "directory", "folder", "source", "destination", "filepath"}:
            return path(rng)
        if words & {"url", "uri", "link", "website", "endpoint"}:
            return f"https://{rng.choice(HOSTS)}/{rng.choice(FOLDERS)}/{rng.choice(STEMS)}" + rng.choice(
                ("", "?page=2", ".html")
            )
        if words & {"email", "mail"}:
            return f"{random_word(rng)}.{random_word(rng)}@{rng.choice(HOSTS)}"
        if words & {"date", "day", "since", "until", "datetime", "timestamp"}:
            return date(rng)
        if words & {"id", "ids", "key", "token", "uuid", "hash", "sha", "arn", "code", "number"} or roll < 0.08:
            return identifier(rng)
        if roll < 0.16:
            return path(rng)
        if roll < 0.24:
            return " ".join(random_word(rng) for _ in range(rng.randint(1, 3)))
        return rng.choice(self.phrases)

    def _number(self, schema: Mapping[str, JSON], kind: str, rng: random.Random) -> tuple[str, JSON]:
        low = int(schema.get("minimum", 0)) if isinstance(schema.get("minimum", 0), int | float) else 0
        high = schema.get("maximum")
        top = int(high) if isinstance(high, int | float) and high >= low else low + rng.choice((9, 30, 99, 1000, 10**6))
        if kind == "number" and rng.random() < 0.3 and top > low:
            value = round(rng.uniform(low, top), rng.randint(1, 3))
            return str(value), value
        whole = rng.randint(low, top)
        return (number_words(whole) if 0 <= whole < 100 and rng.random() < 0.35 else str(whole)), whole


def path(rng: random.Random) -> str:
    """A path on one of three systems, relative or not."""
    root = rng.choice(ROOTS)
    parts = [rng.choice(FOLDERS) if rng.random() < 0.7 else random_word(rng) for _ in range(rng.randint(0, 3))]
    stem = (
        rng.choice(STEMS)
        if rng.random() < 0.7
        else rng.choice((random_word(rng), f"{rng.choice(STEMS)}_{rng.randint(1, 99)}"))
    )
    if rng.random() < 0.75:
        parts.append(f"{stem}.{rng.choice(ENDINGS)}")
    else:
        parts.append(stem)
    return root + ("\\" if "\\" in root else "/").join(parts)


def folder(rng: random.Random) -> str:
    """A folder, mostly in full."""
    parts = [rng.choice(FOLDERS) if rng.random() < 0.6 else random_word(rng) for _ in range(rng.randint(1, 3))]
    return rng.choice(("/", "/home/ana/", "/srv/", "{W}/", "~/", "/Users/lee/", "")) + "/".join(parts)


def date(rng: random.Random) -> str:
    """A date in one of the common forms."""
    day, month, year = rng.randint(1, 28), rng.randint(1, 12), rng.randint(2019, 2027)
    return rng.choice((
        f"{year}-{month:02}-{day:02}", f"{day} {MONTHS[month - 1]} {year}", f"{MONTHS[month - 1]} {day}",
        f"{day}/{month}/{year}", f"{year}-{month:02}-{day:02}T{rng.randint(0, 23):02}:00:00Z", "tomorrow", "yesterday",
    ))  # fmt: skip


def identifier(rng: random.Random) -> str:
    """An id: digits, hex, uuid-like, or letters with digits."""
    roll = rng.randrange(5)
    if roll == 0:
        return "".join(rng.choice(string.digits) for _ in range(rng.randint(3, 10)))
    if roll == 1:
        return "".join(rng.choice("0123456789abcdef") for _ in range(rng.choice((7, 8, 12))))
    if roll == 2:
        return "-".join("".join(rng.choice("0123456789abcdef") for _ in range(n)) for n in (8, 4, 4))
    letters = "".join(rng.choice(string.ascii_letters) for _ in range(rng.randint(2, 5)))
    return rng.choice(
        (
            f"{letters.upper()}-{rng.randint(1, 9999)}",
            f"{letters}{rng.randint(1, 999)}",
            f"{letters}_{random_word(rng)}",
        )
    )


def _first_clause(description: str) -> str:
    clause = description.split(".")[0].split("\n")[0].strip()[:90]
    return clause[:1].lower() + clause[1:] if clause else "do it"

"""Keeps secrets out of traces and logs.

Owns what counts as a secret: values the config declares, values under telling keys, and texts shaped like keys. It
leaves the data itself alone: calls and results pass unmasked, only what is written down about them is masked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from mcp_dualtune.config import MASK, Config, mask
from mcp_dualtune.types import JSON

SHORTEST_SECRET = 6
"""Declared secrets shorter than this are not searched for in texts: they would mask ordinary words."""

LONGEST_NAME = 80
"""Characters of a name that are looked at; its end says what it is."""

_NAME = (
    r"pass(?:word|wd|phrase|code)?|pwd|secrets?|(?:api|access|private|secret|signing|encryption)[-_ ]?keys?"
    r"|(?:access|refresh|auth)?tokens?|authorization|auth|cookies?|credentials?|jwt|bearer|pin|otp"
)
_SECRET_KEY = re.compile(rf"(?:.*[-_ .])?(?:{_NAME})", re.IGNORECASE)
_SHAPES = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(r"(?<![\w-])(?:sk|pk|rk|gh[pousr]|github_pat|glpat|xox[a-z]|hf|npm|pypi)[-_][\w-]{12,}"),
    re.compile(r"(?<!\w)(?:AKIA|ASIA)[0-9A-Z]{16}(?!\w)"),
    re.compile(r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]{4,}\.?[\w-]*"),
    re.compile(r"(?<![0-9A-Za-z])[0-9a-fA-F]{32,}(?![0-9A-Za-z])"),
    # Base64 of at least 30 bytes: long, and mixed enough not to be a path or a sentence in camel case.
    re.compile(r"(?<![\w+/=-])(?=[\w+/-]*\d)(?=[\w+/-]*[a-z])(?=[\w+/-]*[A-Z])[\w+-]{40,}={0,2}(?![\w+/=-])"),
)
_SCHEME = re.compile(r"\b(bearer|basic|token)\s+([\w.~+/=-]{8,})", re.IGNORECASE)
_USER = re.compile(r"(?<=://)([^/\s:@]*):([^/\s@]+)(?=@)")
# Bounded repeats that begin only where a name begins: a hostile text costs linear time.
_PAIR = re.compile(
    rf"(?<![\w.-])([\w.-]{{1,{LONGEST_NAME}}})(\"?'?\s{{0,4}}[=:]\s{{0,4}})(\"(?:[^\"\\]|\\.)*\"|'[^']*'|[^\s,;&\"'}}\]]+)"
)


class Redactor:
    """Masks secrets in JSON values; `declared` are values known to be secret (from the config's env and headers)."""

    def __init__(self, declared: Iterable[str] = ()) -> None:
        self._declared = sorted({s for s in declared if len(s) >= SHORTEST_SECRET}, key=len, reverse=True)

    def text(self, text: str) -> str:
        """`text` with every secret replaced by a mark."""
        text = mask(text)
        for secret in self._declared:
            text = text.replace(secret, MASK)
        for shape in _SHAPES:
            text = shape.sub(MASK, text)
        text = _SCHEME.sub(rf"\1 {MASK}", text)
        text = _USER.sub(rf"\1:{MASK}", text)
        return _PAIR.sub(_mask_pair, text)

    def value(self, value: JSON) -> JSON:
        """`value` with secret texts masked, and everything but numbers and booleans masked under a telling key."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {
                self.text(str(key)): _masked(item) if is_secret_name(str(key)) else self.value(item)
                for key, item in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        return value


def declared_secrets(config: Config) -> list[str]:
    """What must never stand in a trace: headers, the HTTP token, variables named like secrets, what references gave."""
    secrets = [config.settings.http.token or "", *(remote.key or "" for remote in config.settings.model.remote)]
    writer = config.settings.training.writer
    secrets.append((writer and writer.key) or "")
    for server in config.servers:
        secrets += server.headers.values()
        secrets += server.secrets
        secrets += [value for name, value in server.env.items() if is_secret_name(name)]
    return secrets


def is_secret_name(name: str) -> bool:
    """Whether a key, header or variable of this name usually holds a secret."""
    # apiKey and API_KEY are the same name.
    return _SECRET_KEY.fullmatch(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name[-LONGEST_NAME:])) is not None


def _masked(value: JSON) -> JSON:
    """A secret's mark; counts such as `max_tokens: 512` are no secrets."""
    return value if value is None or isinstance(value, bool | int | float) or value == "" else MASK


def _mask_pair(found: re.Match[str]) -> str:
    name, between, value = found.groups()
    is_plain = MASK in value or value.strip("\"'").isdigit() or value.lower() in ("bearer", "basic", "token")
    return found[0] if is_plain or not is_secret_name(name) else f"{name}{between}{MASK}"

"""What `install` and `import` show of a change: a unified diff without secrets.

Owns what is masked in it. Refuses to own the change.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from mcp_dualtune.clients.changes import Change
from mcp_dualtune.security.redact import Redactor, is_secret_name

_SECRET_BLOCKS = ("env", "envs", "headers", "http_headers")


def unified(change: Change, *documents: Any) -> str:
    """The change as a diff, with the values of variables and headers in the parsed `documents` masked."""
    before, after = ((text or "").splitlines(keepends=True) for text in (change.before, change.after))
    old, new = (str(change.file) if text is not None else "/dev/null" for text in (change.before, change.after))
    lines = difflib.unified_diff(before, after, old, new)
    shown = "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)
    secrets = {secret for document in documents for secret in _declared(document)}
    # In the file a value stands with its escapes.
    written = {json.dumps(secret, ensure_ascii=False)[1:-1] for secret in secrets}
    return Redactor(secrets | written).text(shown)


def _declared(value: Any) -> Iterator[str]:
    """Every value of a variable or a header, and every argument behind an option that is named like a secret."""
    if isinstance(value, list):
        for option, argument in pairwise(value):
            if isinstance(option, str) and option.startswith("-") and is_secret_name(option.lstrip("-")):
                yield str(argument)
        for item in value:
            yield from _declared(item)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if key in _SECRET_BLOCKS and isinstance(item, Mapping):
                yield from (str(secret) for secret in item.values())
            else:
                yield from _declared(item)

"""The local trace log as a source: requests that one call answered, where that call worked.

Owns which past requests teach something. Only a request that came to its natural end with one call that succeeded is
taken, and only if all its values stood in the request: success alone does not prove a value that was made up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mcp_dualtune.config import MASK, Config
from mcp_dualtune.errors import TrainingError
from mcp_dualtune.security.redact import Redactor, declared_secrets
from mcp_dualtune.tracing.past import PastRequest, read_past
from mcp_dualtune.training.gathering.gathered import UNSAID, Gathered, Sourced, whole_example
from mcp_dualtune.types import ServerSpec, ToolCall, canonical

SAID = frozenset({"request", "schema", "fixed"})
"""Where all values of a call must have come from."""
UNPROVEN = "not answered by one call that worked"
SECRET = "holds a secret"


def traced(path: Path, servers: Sequence[ServerSpec], config: Config) -> Gathered:
    """What the trace file teaches about `servers`; requests to other servers are not looked at.

    Raises:
        TrainingError: the file cannot be read.
    """
    names, redactor = {server.name for server in servers}, Redactor(declared_secrets(config))
    found: list[Sourced] = []
    left = Counter[str]()
    try:
        past = read_past(path)
    except OSError as error:
        hint = "Use the gateway for a while with dualtune.trace.file set, or set dualtune.training.trace to false."
        raise TrainingError(f"Cannot read the trace {path}: {error.strerror}.", hint=hint) from error
    for one in past:
        if not one.decisions or (one.decisions[0].server is not None and one.decisions[0].server not in names):
            continue
        try:
            found.append(Sourced(whole_example(_row(one, redactor), servers), "trace"))
        except TrainingError as error:
            reason = error.message if error.message in (UNPROVEN, SECRET, UNSAID) else "does not fit the tools of today"
            left[reason] += 1
    return Gathered(tuple(found), dict(left))


def _row(past: PastRequest, redactor: Redactor) -> dict[str, object]:
    """One request as an example.

    Raises:
        TrainingError: it teaches nothing that is sure, or tells a secret.
    """
    decision = past.decisions[0]
    if not past.ended or decision.outcome != "call" or len(past.calls) != 1:
        raise TrainingError(UNPROVEN)
    call, failed = past.calls[0]
    decided = ToolCall(decision.server or "", decision.tool or "", decision.arguments)
    if failed or call.key != decided.key:
        raise TrainingError(UNPROVEN)
    row: dict[str, object] = {
        "request": past.text,
        "server": call.server,
        "tool": call.tool,
        "arguments": dict(call.arguments),
    }
    # The file is masked when it is written, but perhaps under an older config.
    if MASK in canonical(row) or redactor.value(row) != row:
        raise TrainingError(SECRET)
    if not decision.origins <= SAID:
        raise TrainingError(UNSAID)
    return row

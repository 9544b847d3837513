"""Runs of the official suite: which there are, running one, and what came out scenario by scenario."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from tests.conformance.packages import MODULES, environment, node, script

Era = Literal["legacy", "auto"]
RUN_SECONDS = 900
AT_ONCE = 2
"""Client scenarios at the same time."""
_STAMP = re.compile(r"-\d{4}-\d\d-\d\dT[\d-]+Z$")


@dataclass(frozen=True)
class Suite:
    """One release of the suite, and the revision of the protocol that it is run for."""

    title: str
    package: str
    revision: str
    era: Era
    """Protocol era of this revision, as our configuration names it."""
    lists_requirements: bool
    """Whether this release can run exactly what a revision requires."""

    def scored(self, leg: Literal["server", "client"]) -> frozenset[str] | None:
        """The scenarios that count for this revision; None when the release does not say, and all count."""
        if not self.lists_requirements:
            return None
        listed = MODULES / self.package / "requirements" / f"{self.revision}.yaml"
        return frozenset(yaml.safe_load(listed.read_text(encoding="utf-8"))[leg])

    @property
    def client_scenarios(self) -> tuple[str, ...]:
        """The client scenarios that are run for this revision."""
        if self.revision == "2025-11-25":
            return (*_OLDER, *LOGINS)
        return (*_NEWER, *LOGINS, *_NEWER_LOGINS, *EXTENSIONS)


SUITES = (
    Suite("0.1.16, 2025-11-25", "conformance-stable", "2025-11-25", "legacy", lists_requirements=False),
    Suite("0.2.0-alpha.12, 2025-11-25", "conformance-next", "2025-11-25", "legacy", lists_requirements=True),
    Suite("0.2.0-alpha.12, 2026-07-28", "conformance-next", "2026-07-28", "auto", lists_requirements=True),
)

_OLDER = ("initialize", "tools_call", "elicitation-sep1034-client-defaults", "sse-retry")
_NEWER = (
    "tools_call",
    "request-metadata",
    "sep-2322-client-request-state",
    "http-standard-headers",
    "http-custom-headers",
    "http-invalid-tool-headers",
    "json-schema-ref-no-deref",
    "json-schema-2020-12-preservation",
)
LOGINS = (
    "auth/metadata-default",
    "auth/metadata-var1",
    "auth/metadata-var2",
    "auth/metadata-var3",
    "auth/basic-cimd",
    "auth/scope-from-www-authenticate",
    "auth/scope-from-scopes-supported",
    "auth/scope-omitted-when-undefined",
    "auth/scope-step-up",
    "auth/scope-retry-limit",
    "auth/token-endpoint-auth-basic",
    "auth/token-endpoint-auth-post",
    "auth/token-endpoint-auth-none",
    "auth/pre-registration",
)
"""Of both revisions."""
_NEWER_LOGINS = (
    "auth/resource-mismatch",
    "auth/offline-access-scope",
    "auth/offline-access-not-supported",
    "auth/authorization-server-migration",
    "auth/iss-supported",
    "auth/iss-not-advertised",
    "auth/iss-supported-missing",
    "auth/iss-wrong-issuer",
    "auth/iss-unexpected",
    "auth/iss-normalized",
    "auth/metadata-issuer-mismatch",
)
EXTENSIONS = (
    "auth/client-credentials-basic",
    "auth/client-credentials-jwt",
    "auth/enterprise-managed-authorization",
    "auth/dpop",
    "auth/dpop-nonce",
    "auth/wif-jwt-bearer",
)
"""Logins beyond the protocol itself; not scored."""


@dataclass(frozen=True)
class Outcome:
    """What one scenario came to."""

    passed: int
    problems: tuple[str, ...]
    """Checks that failed or warned, in the suite's words."""

    @property
    def good(self) -> bool:
        """Whether nothing was found wrong."""
        return not self.problems

    def __str__(self) -> str:
        return f"{self.passed} ok" if self.good else f"{len(self.problems)} FAIL of {self.passed + len(self.problems)}"


def run_server_suite(suite: Suite, url: str, folder: Path) -> dict[str, Outcome]:
    """Every server scenario of `suite` against the server at `url`, by name; raw results go into `folder`.

    What fails is run once more by itself: some scenarios give an answer half a second, which a busy machine misses.
    """
    which = ["--requirements", suite.revision] if suite.lists_requirements else []
    _run(suite, ["server", "--url", url, *which, "-o", str(folder)])
    outcomes = _server_outcomes(folder)
    scored = suite.scored("server") or frozenset(outcomes)
    for name in [name for name, outcome in outcomes.items() if not outcome.good and name in scored]:
        again = folder / "again" / name
        version = ["--spec-version", suite.revision] if suite.lists_requirements else []
        _run(suite, ["server", "--url", url, "--scenario", name, *version, "-o", str(again)])
        outcomes |= _server_outcomes(again)
    return outcomes


def _server_outcomes(folder: Path) -> dict[str, Outcome]:
    return {
        _STAMP.sub("", made.parent.name).removeprefix("server-"): _outcome(made)
        for made in sorted(folder.glob("*/checks.json"))
    }


def run_client_suite(
    suite: Suite, command: str, folder: Path, names: Sequence[str] | None = None
) -> dict[str, Outcome]:
    """The client scenarios of `suite` (or those of these `names`) against the client that `command` starts.

    Raw results go into `folder`.
    """
    with ThreadPoolExecutor(AT_ONCE) as threads:
        runs = {
            name: threads.submit(_run_client_scenario, suite, name, command, folder)
            for name in names or suite.client_scenarios
        }
        return {name: run.result() for name, run in runs.items()}


def _run_client_scenario(suite: Suite, scenario: str, command: str, folder: Path) -> Outcome:
    # An extension belongs to no revision.
    version = [] if scenario in EXTENSIONS else ["--spec-version", suite.revision]
    ended = _run(suite, ["client", "--command", command, "--scenario", scenario, *version, "-o", str(folder)])
    # The time is part of the name, and one scenario's name may begin with another's.
    made = next(
        (path for path in folder.glob(f"{scenario}-*") if _STAMP.sub("", path.name) == Path(scenario).name), None
    )
    if made is None:
        return Outcome(0, (f"not run: {ended.stdout.strip()[-300:]}",))
    found = _outcome(made / "checks.json")
    if found.good and ended.returncode:
        said = (made / "stderr.txt").read_text(encoding="utf-8").strip()
        return Outcome(found.passed, (f"the client ended with an error: {said[-300:]}",))
    return found


def _run(suite: Suite, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    command = [node(), script(suite.package, "dist/index.js"), *arguments]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=RUN_SECONDS)


def _outcome(made: Path) -> Outcome:
    checks: list[Mapping[str, str]] = json.loads(made.read_text(encoding="utf-8"))
    bad = [check for check in checks if check["status"] in ("FAILURE", "WARNING")]
    problems = tuple(f"{check['id']}: {check.get('errorMessage') or check['description']}" for check in bad)
    return Outcome(sum(check["status"] == "SUCCESS" for check in checks), problems)

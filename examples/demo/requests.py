"""The requests of the demonstration and what would be right for each, stated beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mcp_dualtune.types import Step, Trajectory


@dataclass(frozen=True)
class Expected:
    """One right call: a tool (or others that do as well) and the arguments that matter."""

    server: str
    tools: tuple[str, ...]
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def fits(self, step: Step) -> bool:
        """Whether a call that was made is this one; arguments not named here may be anything."""
        call = step.call
        if (call.server, call.tool) != (self.server, call.tool) or call.tool not in self.tools:
            return False
        return all(_equal(call.arguments.get(name), value) for name, value in self.arguments.items())


@dataclass(frozen=True)
class Case:
    """A request, and the calls or the outcome that would be right."""

    text: str
    calls: tuple[Expected, ...] = ()
    outcome: str = "call"
    """`ask` or `none` where no call is right."""
    needs: str = ""
    """The server that an `ask` is about: without it the request means nothing."""

    @property
    def servers(self) -> set[str]:
        """Servers that must be there for this case."""
        return {call.server for call in self.calls} | ({self.needs} if self.needs else set())

    def right(self, trajectory: Trajectory) -> bool:
        """Whether a run did what was asked, no less and no more."""
        if not self.calls:
            return not trajectory.steps and trajectory.final.outcome == self.outcome
        made = trajectory.steps
        return len(made) == len(self.calls) and all(one.fits(step) for one, step in zip(self.calls, made, strict=True))


def _equal(found: Any, wanted: Any) -> bool:
    if isinstance(found, str) and isinstance(wanted, str):
        return found.strip().rstrip("/").removeprefix("./") == wanted.rstrip("/").removeprefix("./")
    return bool(found == wanted)


def one(server: str, tools: str, **arguments: Any) -> tuple[Expected, ...]:
    """A single right call; `tools` may name several that do as well."""
    return (Expected(server, tuple(tools.split()), arguments),)


READ = "read_text_file read_file"
LIST = "list_directory list_directory_with_sizes directory_tree"

CASES = (
    Case("did I change anything that isn't committed yet?", one("git", "git_status git_diff_unstaged")),
    Case("show me the last 3 commits", one("git", "git_log", max_count=3)),
    Case("what exactly have I staged for the next commit?", one("git", "git_diff_staged")),
    Case("start a branch called summer-hours", one("git", "git_create_branch", branch_name="summer-hours")),
    Case("what did HEAD~1 change?", one("git", "git_show git_diff", revision="HEAD~1")),
    Case("how does my working copy differ from redesign", one("git", "git_diff", target="redesign")),
    Case("What time is it in Tokyo right now?", one("time", "get_current_time", timezone="Asia/Tokyo")),
    Case(
        "if it's 16:30 in America/New_York, what time is that in Europe/Lisbon?",
        one("time", "convert_time", source_timezone="America/New_York", time="16:30", target_timezone="Europe/Lisbon"),
    ),
    Case("read notes/shopping.md to me", one("filesystem", READ, path="notes/shopping.md")),
    Case("which files are in the folder invoices", one("filesystem", LIST, path="invoices")),
    Case(
        "how big is invoices/march.csv and when was it modified?",
        one("filesystem", "get_file_info", path="invoices/march.csv"),
    ),
    Case(
        "please rename notes/draft.txt to notes/letter.txt",
        one("filesystem", "move_file", source="notes/draft.txt", destination="notes/letter.txt"),
    ),
    Case("i need a new folder invoices/2027", one("filesystem", "create_directory", path="invoices/2027")),
    Case("what do you remember about Falcon?", one("memory", "search_nodes open_nodes")),
    Case("show me everything in your memory", one("memory", "read_graph")),
    Case(
        'stage contact.txt and commit it with the message "Add a way to reach us"',
        (
            Expected("git", ("git_add",), {"files": ["contact.txt"]}),
            Expected("git", ("git_commit",), {"message": "Add a way to reach us"}),
        ),
    ),
    Case("create a new branch for me", outcome="ask", needs="git"),
    Case("book a table for two at the Italian place tonight", outcome="none"),
)

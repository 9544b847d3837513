"""Servers' own tool lists as a catalog, public names, and the catalog file."""

from __future__ import annotations

import itertools
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest

from mcp_dualtune.catalog.catalog import Catalog, build_server, load_catalog_file
from mcp_dualtune.catalog.naming import PublicNames
from mcp_dualtune.errors import CatalogError
from mcp_dualtune.types import ToolSpec

READ = {
    "name": "read_file",
    "title": "Read",
    "description": "Read it.",
    "inputSchema": {"type": "object", "properties": {"path": {"type": "string"}}},
    "annotations": {"readOnlyHint": True},
    "outputSchema": {"type": "object"},
}


def make(*tools: Any, name: str = "files", **options: Any) -> Any:
    return build_server(name, "Files.", tools, **options)


def test_a_tool_keeps_what_the_server_says_of_it() -> None:
    (tool,) = make(READ).spec.tools
    assert (tool.server, tool.name, tool.title, tool.description) == ("files", "read_file", "Read", "Read it.")
    assert tool.input_schema == READ["inputSchema"]
    assert (tool.annotations, tool.output_schema) == ({"readOnlyHint": True}, {"type": "object"})


def test_a_bad_tool_costs_only_itself() -> None:
    bad = [None, {"description": "x"}, {"name": "a", "inputSchema": "?"}, READ, {"name": "finish"}, {"name": "none"}]
    built = make(READ, *bad, {"name": "bare"})
    assert [tool.name for tool in built.spec.tools] == ["read_file", "bare"]
    assert [tool.name for tool in built.skipped] == ["tool 2", "tool 3", "a", "read_file", "finish", "none"]
    assert all(tool.reason for tool in built.skipped)


def test_allow_and_deny_choose_tools_without_a_report() -> None:
    tools = [{"name": name} for name in ("read_a", "read_b", "write_a")]
    built = make(*tools, allow=["read_*"], deny=["*_b"])
    assert [tool.name for tool in built.spec.tools] == ["read_a"]
    assert built.skipped == ()


def test_fingerprints_follow_what_the_model_sees() -> None:
    one, same = make(READ).spec, make({**READ, "annotations": {}}).spec
    assert one.fingerprint == same.fingerprint
    for change in ({"name": "x"}, {"description": "y"}, {"inputSchema": {}}):
        other = make({**READ, **change}).spec
        assert other.tools[0].fingerprint != one.tools[0].fingerprint
        assert Catalog((other,)).fingerprint != Catalog((one,)).fingerprint
    settled = make(READ, fixed_arguments={"path": "/"}).spec
    assert settled.fingerprint != one.fingerprint
    assert settled.tools_fingerprint == one.tools_fingerprint  # an adapter does not mind


def test_what_adapters_name_follows_what_a_schema_demands_and_no_texts() -> None:
    def fingerprint(name: str = "get", **schema: Any) -> str:
        return ToolSpec("s", name, "", {"type": "object", **schema}, "").schema_fingerprint

    zone = {"type": "string", "description": "Use 'UTC' as local timezone"}
    base = fingerprint(properties={"title": zone}, title="A")
    assert base == fingerprint(properties={"title": {**zone, "description": "Use 'CET'", "examples": ["x"]}}, title="B")
    assert base == fingerprint(properties={"title": {"type": "string"}})
    others = (
        fingerprint("put", properties={"title": zone}),
        fingerprint(properties={"title": {**zone, "type": "integer"}}),
        fingerprint(properties={"title": {**zone, "enum": ["a"]}}),
        fingerprint(properties={"description": zone}),
        fingerprint(properties={"title": zone}, required=["title"]),
    )
    assert len({base, *others}) == 1 + len(others)


def test_look_ups_name_what_is_near() -> None:
    catalog = Catalog((make(READ).spec, make({"name": "log"}, name="git").spec))
    assert catalog.tool("git", "log").server == "git"
    assert [tool.name for tool in catalog.tools] == ["read_file", "log"]
    with pytest.raises(CatalogError, match="Did you mean read_file"):
        catalog.tool("files", "readFile")
    with pytest.raises(CatalogError, match="Did you mean files"):
        catalog.server("file")
    with pytest.raises(CatalogError, match="Known: files, git"):
        catalog.server("weather")


def test_restricting_keeps_the_order_of_the_catalog() -> None:
    catalog = Catalog(tuple(make(READ, name=name).spec for name in "abc"))
    assert [server.name for server in catalog.restrict(["c", "a"]).servers] == ["a", "c"]
    assert catalog.restrict(None) is catalog
    with pytest.raises(CatalogError, match='no server "z"'):
        catalog.restrict(["a", "z"])


def test_a_catalog_file_needs_no_server(tmp_path: Path) -> None:
    file = tmp_path / "catalog.json"
    file.write_text(json.dumps({"servers": [{"name": "files", "description": "Files.", "tools": [READ]}]}))
    assert load_catalog_file(file) == Catalog((make(READ).spec,))


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"servers": [{"name": "a"}]}', '{"servers": [{"name": "a", "tools": [{"inputSchema": {}}]}]}',
     '{"servers": [{"name": "a", "tools": []}, {"name": "a", "tools": []}]}'],
)  # fmt: skip
def test_a_wrong_catalog_file_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "catalog.json"
    file.write_text(text)
    with pytest.raises(CatalogError):
        load_catalog_file(file)


NASTY = [
    ("git", "log"), ("a__b", "c"), ("a", "b__c"), ("a.b", "c"), ("a_b", "c"), ("a b", "c"), ("s" * 70, "t"),
    ("s" * 70, "u"), ("s" * 60, "tttt"), ("é", "日本"), ("è", "日本"), ("", ""), ("a", ""), ("a_", "b"), ("a", "_b"),
]  # fmt: skip


def test_public_names_are_unique_short_and_lead_back() -> None:
    names = PublicNames(NASTY)
    made = [names.join(*pair) for pair in NASTY]
    assert len(set(made)) == len(NASTY)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) for name in made)
    assert [names.split(name) for name in made] == NASTY
    assert names.join("git", "log") == "git__log"


def test_public_names_do_not_depend_on_order() -> None:
    rng = random.Random(3)
    first = PublicNames(NASTY)
    for _ in range(20):
        shuffled = PublicNames(rng.sample(NASTY, len(NASTY)))
        assert all(shuffled.join(*pair) == first.join(*pair) for pair in NASTY)


def test_a_name_made_to_collide_with_a_digest_stays_unique() -> None:
    pair = ("a.b", "c")
    digested = PublicNames([pair, ("a_b", "c")]).join(*pair)
    rival = tuple(digested.split("__", 1))
    names = PublicNames([pair, ("a_b", "c"), (rival[0], rival[1])])
    assert names.join(rival[0], rival[1]) == digested
    for one, other in itertools.combinations([pair, ("a_b", "c"), rival], 2):
        assert names.join(*one) != names.join(*other)


def test_a_prefix_of_the_configs_own_replaces_the_servers_name() -> None:
    names = PublicNames([("git", "log"), ("time", "now"), ("web", "get")], {"git": "", "web": "w."})
    assert [names.join("git", "log"), names.join("time", "now"), names.join("web", "get")] == [
        "log",
        "time__now",
        "w_get",
    ]
    assert names.split("log") == ("git", "log")
    assert names.clashes == ()


def test_the_later_of_two_equal_names_keeps_its_prefix() -> None:
    names = PublicNames([("a", "log"), ("b", "log"), ("b", "now")], {"a": "", "b": ""})
    assert [names.join("a", "log"), names.join("b", "log"), names.join("b", "now")] == ["log", "b__log", "now"]
    assert names.clashes == (("b", "log"),)


def test_a_short_name_never_takes_one_that_is_reserved_or_prefixed() -> None:
    names = PublicNames([("a", "do"), ("a", "b__log"), ("b", "log")], {"a": ""}, reserved=["do"])
    assert [names.join("a", "do"), names.join("a", "b__log"), names.join("b", "log")] == [
        "a__do",
        "a__b__log",
        "b__log",
    ]
    assert names.clashes == (("a", "do"), ("a", "b__log"))


def test_unknown_public_names_are_refused_with_near_ones() -> None:
    names = PublicNames([("git", "log")])
    with pytest.raises(CatalogError, match="Did you mean git__log"):
        names.split("git_log")
    with pytest.raises(CatalogError):
        names.join("git", "status")

"""How every adapter stands."""

from __future__ import annotations

from pathlib import Path

from mcp_dualtune.adapter_registry.listing import Listed, Seated, list_adapters
from mcp_dualtune.adapter_registry.store import AdapterStore
from tests.tiny_models import small_adapter

BASE, OTHER, THIRD = "b" * 64, "c" * 64, "d" * 64


def listed(tmp_path: Path, live: dict[tuple[str, str | None], str]) -> dict[str, Listed]:
    """By folder name, for a writing model and a choosing one, and a config with git and time."""
    user, model = tmp_path / "user", tmp_path / "model"
    folders = (user, model)
    seats = (
        Seated(AdapterStore(folders, BASE, (OTHER,), user), ("arguments",)),
        Seated(AdapterStore(folders, OTHER, (BASE,), user), ("route", "select")),
    )
    found = list_adapters(seats, live, {"git", "time"}, {model})
    assert len({one.folder for one in found}) == len(found)
    return {one.folder.name: one for one in found}


def test_every_adapter_has_a_state_and_a_reason_where_it_is_not_used(tmp_path: Path) -> None:
    user, model = tmp_path / "user", tmp_path / "model"
    small_adapter(user / "a-route", OTHER, "route")
    small_adapter(model / "b-route", OTHER, "route")
    small_adapter(user / "c-foreign", THIRD, "route")
    small_adapter(user / "d-wrong-seat", BASE, "select")
    small_adapter(model / "e-git", OTHER, "select", "git", "g1")
    small_adapter(user / "f-git-old", OTHER, "select", "git", "g0")
    small_adapter(model / "g-time", OTHER, "select", "time", "t1")
    small_adapter(model / "h-mail", OTHER, "select", "mail", "m1")
    broken = small_adapter(user / "i-broken", OTHER, "select")
    (broken / "manifest.json").write_text("{")
    found = listed(tmp_path, {("git", None): "g1"})
    assert {name: (one.state, one.origin) for name, one in found.items()} == {
        "a-route": ("in use", "user"),
        "b-route": ("shadowed", "model"),
        "c-foreign": ("refused", "user"),
        "d-wrong-seat": ("idle", "user"),
        "e-git": ("in use", "model"),
        "f-git-old": ("retired", "user"),
        "g-time": ("unchecked", "model"),
        "h-mail": ("idle", "model"),
        "i-broken": ("refused", "user"),
    }
    assert all(bool(one.reason) == (one.state != "in use") for one in found.values())
    assert str(user / "a-route") in found["b-route"].reason
    assert "another base model" in found["c-foreign"].reason
    assert "dualtune train git" in found["f-git-old"].reason
    assert found["i-broken"].to_json()["stage"] is None
    assert found["a-route"].to_json()["rank"] == 4


def test_an_adapter_of_a_tool_that_is_gone_is_retired(tmp_path: Path) -> None:
    folder = small_adapter(tmp_path / "model" / "x", BASE, "arguments")
    manifest = (folder / "manifest.json").read_text()
    manifest = manifest.replace('"server": null', '"server": "git"').replace('"tool": null', '"tool": "git_log"')
    (folder / "manifest.json").write_text(manifest.replace('"schema_fingerprint": null', '"schema_fingerprint": "l1"'))
    assert listed(tmp_path, {("git", None): "g1"})["x"].state == "retired"
    assert listed(tmp_path, {("git", None): "g1", ("git", "git_log"): "l2"})["x"].state == "retired"
    assert listed(tmp_path, {("git", None): "g1", ("git", "git_log"): "l1"})["x"].state == "in use"
    assert listed(tmp_path, {})["x"].state == "unchecked"

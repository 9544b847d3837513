"""Which adapter speaks, and which are refused or retired."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest

from mcp_dualtune.adapter_registry import store as store_module
from mcp_dualtune.adapter_registry.store import AdapterStore
from mcp_dualtune.errors import AdapterError
from mcp_dualtune.types import Stage
from tests.tiny_models import small_adapter, tiny_manifest

BASE = "b" * 64


def add(
    root: Path,
    stage: Stage,
    server: str | None = None,
    tool: str | None = None,
    fingerprint: str | None = None,
    base: str = BASE,
    temperature: float = 1.0,
    stacked_on: str | None = None,
) -> Path:
    """An adapter folder with a manifest; its weights are only hashed here."""
    folder = root.joinpath(*(part for part in ("adapters", stage, server, tool) if part))
    manifest = tiny_manifest(
        folder, base, stage, server, tool, fingerprint, temperature=temperature, stacked_on=stacked_on
    )
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_text(manifest.name)
    return folder


def test_the_most_specific_adapter_speaks(tmp_path: Path) -> None:
    add(tmp_path, "arguments")
    add(tmp_path, "arguments", "git", "git_log", "v1")
    add(tmp_path, "select", "git", fingerprint="s1")
    add(tmp_path, "route", temperature=1.7)
    store = AdapterStore((tmp_path,), BASE)

    def name(stage: Stage, *where: str) -> str | None:
        ref = store.best(stage, *where)
        return ref.name if ref else None

    assert name("arguments", "git", "git_log", "v1") == "arguments/git/git_log"
    assert name("arguments", "git", "git_status", "v1") == "arguments"
    assert name("arguments") == "arguments"
    assert name("select", "git", None, "s1") == "select/git"
    assert name("select", "time", None, "s1") is None
    assert name("route") == "route"
    route = store.best("route")
    assert route is not None
    assert route.temperature == 1.7
    assert len(store.adapters) == 4
    assert not store.refused


def test_without_any_adapter_the_base_speaks(tmp_path: Path) -> None:
    assert AdapterStore((tmp_path,), BASE).best("route") is None
    assert AdapterStore((), BASE).best("select", "git") is None


def test_an_adapter_of_a_changed_tool_is_retired_once_and_aloud(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    add(tmp_path, "arguments")
    folder = add(tmp_path, "arguments", "git", "git_log", "v1")
    store = AdapterStore((tmp_path,), BASE)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            ref = store.best("arguments", "git", "git_log", "v2")
            assert ref is not None
            assert ref.name == "arguments"
    assert [record.getMessage() for record in caplog.records if "retired" in record.getMessage()] == [
        f"The adapter arguments/git/git_log is retired: {store.retired[folder]}"
    ]
    back = store.best("arguments", "git", "git_log", "v1")
    assert back is not None
    assert back.path == folder
    assert store.retired == {}


def test_earlier_folders_win_unless_their_adapter_is_retired(tmp_path: Path) -> None:
    own, shipped = tmp_path / "own", tmp_path / "shipped"
    first = add(own, "select", "git", fingerprint="v1")
    second = add(shipped, "select", "git", fingerprint="v2")
    store = AdapterStore((own, shipped), BASE)
    chosen = {mark: store.best("select", "git", None, mark) for mark in ("v1", "v2")}
    assert {mark: ref.path for mark, ref in chosen.items() if ref} == {"v1": first, "v2": second}


def test_adapters_that_do_not_belong_are_refused_with_a_reason(tmp_path: Path) -> None:
    other = add(tmp_path, "route", base="a" * 64)
    pickled = add(tmp_path, "select")
    (pickled / "adapter_model.safetensors").rename(pickled / "adapter_model.bin")
    broken = add(tmp_path, "arguments")
    (broken / "manifest.json").write_text("{")
    store = AdapterStore((tmp_path, tmp_path), BASE)
    assert store.adapters == ()
    assert set(store.refused) == {other, pickled, broken}
    assert "another base model" in store.refused[other]
    assert "safetensors" in store.refused[pickled]
    assert "not JSON" in store.refused[broken]


def test_new_weights_under_the_same_name_are_another_adapter(tmp_path: Path) -> None:
    folder = add(tmp_path, "route")
    old = AdapterStore((tmp_path,), BASE).best("route")
    (folder / "adapter_model.safetensors").write_text("retrained")
    new = AdapterStore((tmp_path,), BASE).best("route")
    assert old is not None
    assert new is not None
    assert (old.name, old.path) == (new.name, new.path)
    assert old != new


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="does not exist"):
        AdapterStore((tmp_path / "nowhere",), BASE)


def test_adapters_of_a_neighbouring_model_are_left_to_it(tmp_path: Path) -> None:
    add(tmp_path, "arguments")
    add(tmp_path, "route", base="c" * 64)
    add(tmp_path, "select", base="d" * 64)
    store = AdapterStore((tmp_path,), BASE, ["c" * 64])
    assert [stored.ref.name for stored in store.adapters] == ["arguments"]
    assert [folder.name for folder in store.refused] == ["select"]


def test_adapters_that_come_go_and_change_are_noticed_and_nothing_else_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = add(tmp_path, "route")
    user = tmp_path / "own"
    store = AdapterStore((user, tmp_path / "adapters"), BASE, user=user)
    hashed: list[Path] = []
    digest = store_module.file_digest
    monkeypatch.setattr(store_module, "file_digest", lambda path: hashed.append(path) or digest(path))
    assert store.refresh() is False

    def names() -> list[str]:
        return [stored.ref.name for stored in store.adapters]

    added = add(user, "select")
    assert store.refresh() is True
    assert names() == ["select", "route"]
    assert {path.parent for path in hashed} == {added}
    first = store.best("select")
    (added / "adapter_model.safetensors").write_text("retrained")
    assert store.refresh() is True
    assert store.best("select") not in (None, first)
    (added / "adapter_config.json").write_text('{"lora_alpha": 2}')
    second = store.best("select")
    assert store.refresh() is True
    assert store.best("select") not in (None, second)
    shutil.rmtree(user)
    assert store.refresh() is True
    assert names() == ["route"]
    assert kept not in {path.parent for path in hashed}
    assert store.refresh() is False


def test_a_retired_adapter_says_how_to_train_it_again_and_is_forgotten_when_it_goes(tmp_path: Path) -> None:
    folder = add(tmp_path, "select", "my git", fingerprint="v1")
    store = AdapterStore((tmp_path,), BASE)
    assert store.best("select", "my git", None, "v2") is None
    assert "`dualtune train 'my git'`" in store.retired[folder]
    shutil.rmtree(folder)
    store.refresh()
    assert store.retired == {}


def test_weights_that_the_manifest_was_not_written_for_are_refused(tmp_path: Path) -> None:
    folder = small_adapter(tmp_path / "one", BASE, "route")
    assert len(AdapterStore((tmp_path,), BASE).adapters) == 1
    small_adapter(tmp_path / "two", BASE, "route", seed=5)
    (folder / "adapter_model.safetensors").write_bytes((tmp_path / "two" / "adapter_model.safetensors").read_bytes())
    store = AdapterStore((tmp_path,), BASE)
    assert list(store.refused) == [folder]
    assert "not the ones its manifest was written for" in store.refused[folder]


def test_an_adapter_on_top_of_another_speaks_with_it_wherever_it_lies(tmp_path: Path) -> None:
    generic = add(tmp_path / "model", "arguments")
    first = AdapterStore((tmp_path / "model",), BASE).best("arguments")
    assert first is not None
    add(tmp_path / "own", "arguments", "git", "git_log", "v1", stacked_on=first.content)
    store = AdapterStore((tmp_path / "own", tmp_path / "model"), BASE)
    found = store.best("arguments", "git", "git_log", "v1")
    assert found is not None
    assert (found.name, found.below) == ("arguments/git/git_log", store.best("arguments"))
    assert found.below is not None
    assert found.below.path == generic


def test_without_the_adapter_below_it_is_retired_until_that_is_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    generic = add(tmp_path, "arguments")
    first = AdapterStore((tmp_path,), BASE).best("arguments")
    assert first is not None
    folder = add(tmp_path, "arguments", "git", "git_log", "v1", stacked_on=first.content)
    store = AdapterStore((tmp_path,), BASE)
    (generic / "adapter_config.json").write_text('{"r": 2}')  # other settings scale other changes
    assert store.refresh()
    with caplog.at_level(logging.WARNING):
        assert (found := store.best("arguments", "git", "git_log", "v1")) is not None
        store.best("arguments", "git", "git_log", "v1")
    assert found.name == "arguments"
    assert "dualtune train git" in store.retired[folder]
    assert len(caplog.records) == 1
    (generic / "adapter_config.json").write_text("{}")
    assert store.refresh(closely=True)
    assert (found := store.best("arguments", "git", "git_log", "v1")) is not None
    assert found.below is not None
    assert not store.retired

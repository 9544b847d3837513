"""The user's own adapters: installed, replaced, brought back, removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcp_dualtune.adapter_registry.package import staged
from mcp_dualtune.adapter_registry.store import AdapterStore
from mcp_dualtune.adapter_registry.user import UserAdapters
from mcp_dualtune.errors import AdapterError
from tests.tiny_models import small_adapter

BASE, OTHER = "b" * 64, "c" * 64


def install(user: UserAdapters, source: Path) -> bool:
    with staged(source, user.folder) as found:
        return user.put(found)


def speaks(user: UserAdapters, base: str = BASE) -> str | None:
    """The weights of the route adapter that a store would use."""
    ref = AdapterStore((user.folder,), base, user=user.folder).best("route")
    return ref.digest if ref else None


@pytest.fixture
def user(tmp_path: Path) -> UserAdapters:
    return UserAdapters(tmp_path / "own")


def made(tmp_path: Path, seed: int, base: str = BASE) -> tuple[Path, str]:
    """An adapter folder and the digest of its weights."""
    folder = small_adapter(tmp_path / f"made-{seed}", base, "route", seed=seed)
    ref = AdapterStore((folder,), base).best("route")
    assert ref is not None
    return folder, ref.digest


def test_install_replace_undo_redo_and_remove(user: UserAdapters, tmp_path: Path) -> None:
    (one, first), (two, second) = made(tmp_path, 1), made(tmp_path, 2)
    assert speaks(user) is None
    assert install(user, one) is False
    assert speaks(user) == first
    assert install(user, two) is True
    assert speaks(user) == second
    assert user.undo("route").name == "route"
    assert speaks(user) == first
    user.undo("route")
    assert speaks(user) == second
    ref = AdapterStore((user.folder,), BASE).best("route")
    assert ref is not None
    user.remove(ref.path)
    assert speaks(user) is None
    user.undo("route", BASE[:4])
    assert speaks(user) == second


def test_adapters_of_two_base_models_share_a_name_and_do_not_meet(user: UserAdapters, tmp_path: Path) -> None:
    (one, first), (two, second) = made(tmp_path, 1), made(tmp_path, 2, OTHER)
    assert install(user, one) is False
    assert install(user, two) is False
    assert (speaks(user), speaks(user, OTHER)) == (first, second)
    store = AdapterStore((user.folder,), BASE, user=user.folder)
    assert store.refused == {}
    assert [refusal.elsewhere for refusal in store.refusals.values()] == [True]
    install(user, one)
    install(user, two)
    with pytest.raises(AdapterError, match="several base models"):
        user.undo("route")
    assert user.undo("route", OTHER).base_digest == OTHER


def test_an_adapter_put_there_by_hand_is_replaced_where_it_lies(user: UserAdapters, tmp_path: Path) -> None:
    small_adapter(user.folder / "mine" / "old route", BASE, "route", seed=1)
    two, second = made(tmp_path, 2)
    assert install(user, two) is True
    assert speaks(user) == second
    assert sorted(path.name for path in user.folder.iterdir()) == [".replaced", "mine"]


@pytest.mark.parametrize("server", ["../../../outside", "/etc", "a/b", "..", "nul", "x" * 300, "Ätna ☃", "a\\b:c"])
def test_no_name_of_a_server_leads_out_of_the_folder(user: UserAdapters, tmp_path: Path, server: str) -> None:
    source = small_adapter(tmp_path / "made", BASE, "select", server, "f" * 64)
    before = {path for path in tmp_path.rglob("*") if user.folder not in (path, *path.parents)}
    install(user, source)
    after = {path for path in tmp_path.rglob("*") if user.folder not in (path, *path.parents)}
    assert before == after
    stored = AdapterStore((user.folder,), BASE).adapters
    assert [one.manifest.server for one in stored] == [server]
    assert stored[0].ref.path.parent == user.folder


def test_only_the_users_own_are_removed_and_only_what_was_kept_is_brought_back(
    user: UserAdapters, tmp_path: Path
) -> None:
    folder, _ = made(tmp_path, 1)
    with pytest.raises(AdapterError, match="not one of yours"):
        user.remove(folder)
    assert folder.is_dir()
    with pytest.raises(AdapterError, match="Nothing was kept"):
        user.undo("route")
    inner = small_adapter(user.folder / "outer", BASE, "route")
    small_adapter(inner / "inner", BASE, "select")
    with pytest.raises(AdapterError, match="more than one adapter"):
        user.remove(inner)


def test_a_failing_installation_leaves_the_old_adapter_in_place(
    user: UserAdapters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (one, first), (two, _) = made(tmp_path, 1), made(tmp_path, 2)
    install(user, one)
    rename = Path.rename

    def full(self: Path, target: Path) -> Path:
        if self.name == "adapter":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(AdapterError, match="No space left"):
        install(user, two)
    assert speaks(user) == first

"""Packages: what goes in comes out, and what does not belong in one never comes in."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mcp_dualtune.adapter_registry import package
from mcp_dualtune.adapter_registry.manifest import CONFIG, FILE_NAME, WEIGHTS, load_manifest
from mcp_dualtune.adapter_registry.package import PARTS, RECORD, check, pack, staged
from mcp_dualtune.errors import AdapterError
from tests.tiny_models import small_adapter

BASE = "b" * 64


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    return small_adapter(tmp_path / "made" / "route", BASE, "route")


def repack(source: Path, target: Path, change: Callable[[dict[str, bytes]], Any]) -> Path:
    """Write the entries of a package again after `change`."""
    with zipfile.ZipFile(source) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return target


def test_the_same_adapter_makes_the_same_bytes_whenever_it_is_packed(adapter: Path, tmp_path: Path) -> None:
    first = pack(adapter, tmp_path / "one.zip")
    copy = tmp_path / "elsewhere"
    shutil.copytree(adapter, copy)
    for name in PARTS:
        os.utime(copy / name, (1_000_000_000, 1_000_000_000))
    (copy / "notes.txt").write_text("mine alone")
    assert pack(copy, tmp_path / "two.zip") == first
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    small_adapter(copy, BASE, "route", seed=7)
    assert pack(copy, tmp_path / "three.zip").digest != first.digest


def test_what_was_packed_comes_out_again(adapter: Path, tmp_path: Path) -> None:
    record = pack(adapter, tmp_path / "one.zip")
    place = tmp_path / "place"
    with staged(tmp_path / "one.zip", place) as found:
        assert found.record == record
        assert found.manifest == load_manifest(adapter)
        assert {path.name for path in found.folder.iterdir()} == {*PARTS, RECORD}
        assert all((found.folder / name).read_bytes() == (adapter / name).read_bytes() for name in PARTS)
        assert check(found.folder, found.manifest) == ()
    assert list(place.iterdir()) == []


def test_a_package_that_was_zipped_again_by_hand_is_still_one(adapter: Path, tmp_path: Path) -> None:
    pack(adapter, tmp_path / "one.zip")
    again = repack(tmp_path / "one.zip", tmp_path / "two.zip", lambda entries: None)
    with staged(again, tmp_path / "place") as found:
        assert found.manifest.name == "route"


def _tamper(name: str) -> Callable[[dict[str, bytes]], None]:
    return lambda entries: entries.update({name: entries[name] + b" "})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda entries: entries.update({"../../evil.py": b"x"}), r"it holds '\.\./\.\./evil\.py'"),
        (lambda entries: entries.update({"/etc/passwd": b"x"}), "it holds '/etc/passwd'"),
        (lambda entries: entries.update({"adapter_model.bin": b"x"}), "it holds 'adapter_model.bin'"),
        (lambda entries: entries.update({"inner/": b""}), "it holds 'inner/'"),
        (lambda entries: entries.pop(WEIGHTS), "it has no adapter_model"),
        (lambda entries: entries.pop(RECORD), "it has no package"),
        (_tamper(CONFIG), "adapter_config.json is not what its record says"),
        (_tamper(FILE_NAME), "manifest.json is not what its record says"),
        (lambda entries: entries.update({RECORD: b"[]"}), "is not a record"),
        (lambda entries: entries.update({RECORD: entries[RECORD].replace(b"n\": 1", b"n\": 2")}), "version 2"),
        (lambda entries: entries.update({WEIGHTS: b"\x80\x04pickle"}), "not a safetensors file"),
        (lambda entries: entries.update({CONFIG: b'{"peft_type": "IA3"}'}), "peft_type: LORA"),
        (lambda entries: entries.update({CONFIG: b"{"}), "is not JSON"),
        (lambda entries: entries.update({FILE_NAME: b"{}"}), "`data` must be an object"),
        (lambda entries: entries.update({FILE_NAME: b" " * (package.TEXT_LIMIT + 1)}), "is larger than"),
    ],
)  # fmt: skip
def test_a_package_with_anything_wrong_is_refused_and_leaves_nothing(
    adapter: Path, tmp_path: Path, change: Any, reason: str
) -> None:
    pack(adapter, tmp_path / "good.zip")
    bad = repack(tmp_path / "good.zip", tmp_path / "bad.zip", change)
    with pytest.raises(AdapterError, match=reason) as caught, staged(bad, tmp_path / "place"):
        pass
    assert caught.value.hint
    assert list((tmp_path / "place").iterdir()) == []


def test_a_link_in_a_package_is_refused(adapter: Path, tmp_path: Path) -> None:
    pack(adapter, tmp_path / "good.zip")
    bad = tmp_path / "bad.zip"
    with zipfile.ZipFile(tmp_path / "good.zip") as good, zipfile.ZipFile(bad, "w") as archive:
        for name in good.namelist():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (0o120777 if name == WEIGHTS else 0o100644) << 16
            archive.writestr(entry, b"/etc/passwd" if name == WEIGHTS else good.read(name))
    with pytest.raises(AdapterError, match="not a plain file"), staged(bad, tmp_path / "place"):
        pass


def test_a_package_that_lies_about_its_sizes_is_stopped_while_it_is_read(
    adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list of its content says 40 bytes, so no limit is met before reading."""
    pack(adapter, tmp_path / "good.zip")
    monkeypatch.setattr(package, "WEIGHTS_LIMIT", 100)
    bad = bytearray((tmp_path / "good.zip").read_bytes())
    at = bad.rfind(b"PK\x01\x02")
    bad[at + 24 : at + 28] = (40).to_bytes(4, "little")
    (tmp_path / "bad.zip").write_bytes(bad)
    with pytest.raises(AdapterError), staged(tmp_path / "bad.zip", tmp_path / "place"):
        pass


@pytest.mark.parametrize("content", [b"", b"PK", b"not a zip" * 100])
def test_what_is_no_package_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(AdapterError, match="not a readable package"), staged(tmp_path / "x.zip", tmp_path / "place"):
        pass
    with pytest.raises(AdapterError, match="There is no"), staged(tmp_path / "y.zip", tmp_path / "place"):
        pass


def test_a_truncated_package_is_refused_wherever_it_ends(adapter: Path, tmp_path: Path) -> None:
    pack(adapter, tmp_path / "good.zip")
    whole = (tmp_path / "good.zip").read_bytes()
    for length in range(0, len(whole), max(1, len(whole) // 40)):
        (tmp_path / "cut.zip").write_bytes(whole[:length])
        with pytest.raises(AdapterError), staged(tmp_path / "cut.zip", tmp_path / "place"):
            pass


def test_a_changed_byte_is_found_wherever_it_is(adapter: Path, tmp_path: Path) -> None:
    """Either the package is refused, or the byte belongs to nothing that is installed (such as a time stamp)."""
    record = pack(adapter, tmp_path / "good.zip")
    whole = (tmp_path / "good.zip").read_bytes()
    for at in range(0, len(whole), max(1, len(whole) // 97)):
        (tmp_path / "bad.zip").write_bytes(whole[:at] + bytes([whole[at] ^ 0x5A]) + whole[at + 1 :])
        try:
            with staged(tmp_path / "bad.zip", tmp_path / "place") as found:
                assert found.record == record
        except AdapterError:
            continue


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no links here")
def test_a_folder_with_a_link_or_a_missing_file_is_refused(adapter: Path, tmp_path: Path) -> None:
    (adapter / WEIGHTS).rename(tmp_path / "weights")
    with pytest.raises(AdapterError, match="it has no adapter_model"), staged(adapter, tmp_path / "place"):
        pass
    (adapter / WEIGHTS).symlink_to(tmp_path / "weights")
    with pytest.raises(AdapterError, match="not a plain file"), staged(adapter, tmp_path / "place"):
        pass


def test_check_names_the_files_that_changed(adapter: Path, tmp_path: Path) -> None:
    with staged(adapter, tmp_path / "place") as found:
        config = json.loads((found.folder / CONFIG).read_text())
        (found.folder / CONFIG).write_text(json.dumps({**config, "lora_alpha": 999}))
        assert check(found.folder, found.manifest) == (CONFIG,)
    (adapter / WEIGHTS).write_bytes(b"other")
    assert check(adapter, load_manifest(adapter)) == (WEIGHTS,)
    manifest = json.loads((adapter / FILE_NAME).read_text())
    (adapter / FILE_NAME).write_text(json.dumps({**manifest, "weights_digest": None}))
    assert check(adapter, load_manifest(adapter)) is None

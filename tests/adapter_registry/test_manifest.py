"""Manifests: what is written, read and refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mcp_dualtune.adapter_registry.manifest import Manifest, Scores, TrainingData, load_manifest, save_manifest
from mcp_dualtune.errors import AdapterError

FULL = Manifest(
    stage="arguments",
    base_digest="b" * 64,
    rank=8,
    data=TrainingData("d" * 64, 1200),
    server="filesystem",
    tool="move_file",
    schema_fingerprint="f" * 64,
    scores=Scores(0.41, 0.87),
    temperature=1.3,
    licence="Apache-2.0",
)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    for manifest in (FULL, Manifest("route", "b" * 64, 4, TrainingData("d" * 64, 1))):
        save_manifest(manifest, tmp_path)
        assert load_manifest(tmp_path) == manifest
    assert FULL.name == "arguments/filesystem/move_file"


def test_unknown_keys_and_whole_numbers_are_fine(tmp_path: Path) -> None:
    path = save_manifest(FULL, tmp_path)
    value = json.loads(path.read_text())
    path.write_text(json.dumps({**value, "temperature": 2, "note": "later versions may say more"}))
    assert load_manifest(tmp_path).temperature == 2.0


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"stage": "guess"}, "stage"),
        ({"base_digest": None}, "base_digest"),
        ({"rank": "8"}, "rank"),
        ({"rank": True}, "rank"),
        ({"rank": 0}, "rank"),
        ({"data": None}, "data"),
        ({"data": {"digest": "d"}}, "data.size"),
        ({"scores": {"after": "good"}}, "scores.after"),
        ({"temperature": 0}, "temperature"),
        ({"temperature": None}, "temperature"),
        ({"tool": None}, "tool"),
        ({"schema_fingerprint": None}, "schema_fingerprint"),
        ({"stage": "select"}, "tool"),
        ({"stage": "route"}, "route"),
    ],
)
def test_a_bad_manifest_is_refused_naming_file_and_key(tmp_path: Path, change: dict[str, Any], named: str) -> None:
    path = save_manifest(FULL, tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(AdapterError, match=named) as caught:
        load_manifest(tmp_path)
    assert str(path) in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("content", [None, b"", b"[]", b"{", b"\xff\xfe"])
def test_a_file_that_is_no_manifest_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(AdapterError) as caught:
        load_manifest(tmp_path)
    assert caught.value.hint


def test_a_record_that_contradicts_itself_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(AdapterError):
        save_manifest(Manifest("route", "b", 4, TrainingData("d", 1), temperature=float("nan")), tmp_path)
    assert list(tmp_path.iterdir()) == []

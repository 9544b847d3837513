"""The confidence of whole decisions: what counts as right, and the temperature that makes it true."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from mcp_dualtune.adapter_registry.manifest import load_manifest
from mcp_dualtune.training.confidence import Judged, apply, everyday, fit, is_right
from mcp_dualtune.training.records import Case
from mcp_dualtune.training.sources import calibration_cases, load_invented, tuned_corpus
from mcp_dualtune.types import NONE, Decision, ServerSpec
from tests.tiny_models import tiny_manifest


def test_the_fitted_temperature_makes_doubtful_readings_as_sure_as_they_are_right() -> None:
    rng = random.Random(0)
    judged = []
    for _ in range(2000):
        said = rng.uniform(0.05, 0.9)
        judged.append(Judged(1.0, said, rng.random() < said**0.5))
    temperature = fit(judged)
    assert temperature == pytest.approx(2.0, rel=0.1)
    assert judged[0].confidence(temperature) == pytest.approx(judged[0].arguments ** (1 / temperature))


def test_a_decision_is_right_when_all_of_it_is() -> None:
    server = ServerSpec("clock", "", (), "")
    case = Case("now in Rome", server, "now", {"zone": "Europe/Rome"})

    def made(outcome: str, **rest: object) -> Decision:
        fields = {"server": "clock", "tool": "now", "arguments": {"zone": "Europe/Rome"}, "missing": (), **rest}
        return Decision(
            outcome, fields["server"], fields["tool"], fields["arguments"], fields["missing"], None, 0.5, (), {}, 0.0
        )  # type: ignore[arg-type]

    assert is_right(made("call"), case)
    assert not is_right(made("call", arguments={"zone": "Europe/Paris"}), case)
    assert not is_right(made("call", tool="then"), case)
    assert not is_right(made("ask", missing=("zone",)), case)
    asked = Case("what time is it there", server, "now", {}, ("zone",))
    assert is_right(made("ask", missing=("zone",)), asked)
    nobody = Case("sing", ServerSpec("", "", (), ""), NONE)
    assert is_right(made("none", server=None, tool=None), nobody)
    assert not is_right(made("call"), nobody)


def test_everyday_requests_are_of_servers_that_are_trained_on_and_of_others() -> None:
    corpus = tuned_corpus()
    load_invented(corpus)
    asked = list(everyday(corpus, "seed"))
    known = calibration_cases(corpus)
    assert [case for case, _ in asked[: len(known)]] == list(known)
    others = asked[len(known) :]
    assert others
    for case, catalog in others:
        names = {server.name for server in catalog.servers}
        assert names <= set(corpus.dev)
        assert case.server.name in {*names, ""}


def test_all_temperatures_below_a_folder_are_multiplied(tmp_path: Path) -> None:
    for name in ("reading", "reading/files/copy"):
        tiny_manifest(tmp_path / name, "b" * 64, "arguments")
    before = load_manifest(tmp_path / "reading").temperature
    apply(tmp_path / "reading", 1.5)
    assert load_manifest(tmp_path / "reading/files/copy").temperature == pytest.approx(before * 1.5, abs=1e-3)

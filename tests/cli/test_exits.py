"""Exit codes."""

from __future__ import annotations

from typing import Any

import pytest

from mcp_dualtune import errors
from mcp_dualtune.cli import exits
from tests.decisions import decision, text, trajectory


@pytest.mark.parametrize(
    ("outcome", "code"), [("call", exits.DONE), ("finish", exits.DONE), ("ask", exits.ASK), ("none", exits.NONE_FITS)]
)
def test_a_decision_ends_with_the_code_of_its_outcome(outcome: Any, code: int) -> None:
    assert exits.of_decision(decision(outcome)) == code


@pytest.mark.parametrize(
    ("run", "code"),
    [
        (trajectory(text("ok")), exits.DONE),
        (trajectory(text("ok"), final=decision("none")), exits.DONE),
        (trajectory(final=decision("none")), exits.NONE_FITS),
        (trajectory(text("ok"), final=decision("ask")), exits.ASK),
        (trajectory(text("no", is_error=True)), exits.DOWNSTREAM),
        (trajectory(final=decision("call"), stopped_by="policy"), exits.FAILED),
        (trajectory(text("ok"), final=decision("call"), stopped_by="time"), exits.FAILED),
        (trajectory(text("ok"), final=decision("call"), stopped_by="repeat"), exits.DONE),
        (trajectory(text("ok"), text("no", is_error=True), stopped_by="repeat"), exits.DOWNSTREAM),
        (trajectory(text("no", is_error=True), final=decision("call"), stopped_by="repeat"), exits.FAILED),
        (trajectory(final=decision("call"), stopped_by="repeat"), exits.FAILED),
    ],
)
def test_a_run_ends_with_the_code_of_its_end(run: Any, code: int) -> None:
    assert exits.of_trajectory(run) == code


def test_reaching_the_number_of_steps_that_was_asked_for_is_no_failure() -> None:
    stopped = trajectory(text("ok"), final=decision("call"), stopped_by="steps")
    assert exits.of_trajectory(stopped) == exits.FAILED
    assert exits.of_trajectory(stopped, steps_wanted=1) == exits.DONE


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigError("x"), exits.USAGE),
        (errors.RequestError("x"), exits.USAGE),
        (errors.CatalogError("x"), exits.USAGE),
        (errors.ServerTimeout("x"), exits.DOWNSTREAM),
        (errors.ModelLoadError("x"), exits.FAILED),
        (errors.PolicyError("x"), exits.FAILED),
    ],
)
def test_an_error_ends_with_the_code_of_its_kind(error: errors.DualTuneError, code: int) -> None:
    assert exits.of_error(error) == code

"""What `dualtune train` says at its end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mcp_dualtune.cli.train_report import show, show_left_out
from mcp_dualtune.training.own_servers.measuring import Tally, Whole
from mcp_dualtune.training.own_servers.outcome import Made, Outcome, summary


def test_the_report_says_how_many_requests_came_from_where_and_what_was_not_taken(
    capsys: pytest.CaptureFixture[str],
) -> None:
    nothing = summary(Whole(Tally(), Tally(), Tally()))
    sources = {"synthesis": 1000, "executed": 4, "correction": 2, "own": 3, "trace": 5, "writer": 12, "sampling": 6}
    show(Outcome("notes", (), nothing, nothing, sources, {}, 61.0, Path("run")), (), installing=True)
    show_left_out({"holds a secret": 2})
    said = capsys.readouterr().out
    assert (
        "requests: 1000 made up, 4 true results, 2 from your corrections, 3 from your own file, 5 from the trace log, "
        "12 written by a chat model, 6 written by your client's model; adapters kept: 0.0 MB in all"
    ) in said
    assert "not taken from other sources, 2 times: holds a secret" in said


def test_the_report_says_which_adapters_made_up_requests_alone_have_judged(capsys: pytest.CaptureFixture[str]) -> None:
    nothing = summary(Whole(Tally(), Tally(), Tally()))
    alone = Made("select/notes", "choose", 0.38, 0.72, 100, True)
    judged = Made("arguments/notes/add", "read", 0.4, 0.6, 90, True, gathered=6, gathered_before=2, gathered_after=4)
    harmful = Made("arguments/notes/find", "read", 0.5, 0.6, 90, False, "worse on requests that were not made up")
    show(Outcome("notes", (alone, judged, harmful), nothing, nothing, {}, {}, 61.0, Path("run")), (), installing=True)
    said = capsys.readouterr().out
    assert "2 → 4 of 6" in said and "not kept: worse on requests that were not made up" in said
    assert "1 of the adapters kept were judged by made-up requests alone, on a clear gain" in said
    show(Outcome("notes", (judged,), nothing, nothing, {}, {}, 61.0, Path("run")), (), installing=True)
    assert "made-up requests alone" not in capsys.readouterr().out


def test_the_report_says_which_adapters_have_learnt_from_all_requests(capsys: pytest.CaptureFixture[str]) -> None:
    nothing = summary(Whole(Tally(), Tally(), Tally()))
    measured = Made("arguments/notes/add", "read", 0.4, 0.6, 90, True, gathered=6, gathered_before=2, gathered_after=4)
    again = replace(measured, name="select/notes", kind="choose", refitted=True)
    outcome = Outcome("notes", (again, measured), nothing, nothing, {}, {}, 61.0, Path("run"))
    show(replace(outcome, not_refitted=("arguments/notes/add (reading)",)), (), installing=True)
    said = capsys.readouterr().out
    assert (
        "1 of the adapters kept were trained once more at the end, on all requests that were not made up; the numbers "
        "above were measured before that."
    ) in said
    assert "no time was left to train arguments/notes/add (reading) on all of them: as measured above" in said
    show(replace(outcome, made=(measured,)), (), installing=True)
    assert "once more" not in capsys.readouterr().out

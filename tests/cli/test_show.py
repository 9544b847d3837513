"""What a person sees, on a terminal and in a pipe."""

from __future__ import annotations

import io

from rich.console import Console

from mcp_dualtune.cli.show import LINES, Screen, safe
from mcp_dualtune.types import Provenance, ToolResult
from tests.decisions import decision, text


def screen(*, terminal: bool) -> tuple[Screen, io.StringIO]:
    stream = io.StringIO()
    console = Console(
        file=stream, force_terminal=terminal, width=200, highlight=False, markup=False, soft_wrap=True, no_color=False
    )
    return Screen(console=console), stream


def test_a_pipe_gets_plain_lines_with_every_choice_and_origin() -> None:
    shown, stream = screen(terminal=False)
    chosen = decision(
        arguments={"title": "milk", "edits": [{"a": 1}]},
        provenance={"title": Provenance("request", (4, 8)), "edits[0].a": Provenance("model")},
    )
    shown.decision(chosen, "add milk")
    lines = stream.getvalue().splitlines()
    assert lines[0] == "notes/add  90%"
    assert lines[1].split() == ["route", "95%", "notes", "next:", "git", "5%", "adapter:", "route", "6", "ms"]
    assert '  title = "milk"  (from the request)' in lines
    assert '  edits = [{"a": 1}]  (made up by the model)' in lines
    assert "\x1b" not in stream.getvalue() and "█" not in stream.getvalue()


def test_a_terminal_gets_bars_and_the_marked_request() -> None:
    shown, stream = screen(terminal=True)
    shown.decision(
        decision(arguments={"title": "milk"}, provenance={"title": Provenance("request", (4, 8))}), "add milk"
    )
    assert "███" in stream.getvalue()
    assert "\x1b[4;32mmilk" in stream.getvalue()


def test_outcomes_without_a_call_are_said_in_words() -> None:
    for outcome, words in (("none", "none of the tools fits"), ("finish", "nothing more to do")):
        shown, stream = screen(terminal=False)
        shown.decision(decision(outcome))  # type: ignore[arg-type]
        assert words in stream.getvalue()
    shown, stream = screen(terminal=False)
    shown.decision(decision("ask", missing=["title"], question="Which title?"))
    assert "needs more: notes/add" in stream.getvalue()
    assert "title = ?" in stream.getvalue() and "Which title?" in stream.getvalue()


def test_what_a_server_sends_cannot_steer_the_terminal() -> None:
    shown, stream = screen(terminal=False)
    shown.result(text("a\x1b]0;title\x07b\x9bc\r\nd\te"))
    assert stream.getvalue() == "a�]0;title�b�c\nd\te\n"
    assert safe("[bold]x[/bold]") == "[bold]x[/bold]"


def test_a_long_result_is_cut_on_a_terminal_only() -> None:
    long = text("\n".join(str(number) for number in range(LINES + 5)))
    shown, stream = screen(terminal=True)
    shown.result(long)
    assert "5 more lines" in stream.getvalue()
    shown, stream = screen(terminal=False)
    shown.result(long)
    assert stream.getvalue().splitlines()[-1] == str(LINES + 4)


def test_an_image_is_marked_and_an_empty_result_is_said() -> None:
    shown, stream = screen(terminal=False)
    shown.result(ToolResult(({"type": "image", "data": "aGk=", "mimeType": "image/png"},)))
    shown.result(ToolResult(()))
    assert stream.getvalue() == "[image image/png]\n(empty result)\n"


def test_a_table_is_tab_separated_in_a_pipe() -> None:
    shown, stream = screen(terminal=False)
    shown.table(("name", "about"), [("git", "two\nlines"), ("time", "[x]")])
    assert stream.getvalue() == "git\ttwo lines\ntime\t[x]\n"

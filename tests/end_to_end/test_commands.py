"""The commands with a real server behind them; where a choice matters, the test states the model's answers."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from mcp_dualtune.cli import exits
from mcp_dualtune.cli.main import main
from mcp_dualtune.records import decision_schema, trajectory_schema
from tests.end_to_end.conftest import ROOT, START_LIMIT
from tests.end_to_end.serving import COMMAND
from tests.naming_engine import NamingEngine, alone, byte_tokenizer

pytestmark = pytest.mark.timeout(400)
Captured = pytest.CaptureFixture[str]
UNRULY = ROOT / "examples" / "servers" / "unruly.py"


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return byte_tokenizer()


@pytest.fixture
def engine(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> NamingEngine:
    """Stands in for the model that the config names."""
    made = NamingEngine(tokenizer, context_length=16_000)
    for place in ("gateway", "models"):
        monkeypatch.setattr(f"mcp_dualtune.{place}.load_pipeline", lambda settings: alone(made)())
    return made


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The notes server, with one note called old."""
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "old.txt").write_text("from last year", encoding="utf-8")
    return write(tmp_path, {"notes": [str(ROOT / "examples" / "servers" / "notes.py"), str(notes)]})


def write(folder: Path, servers: dict[str, list[str]], **own: Any) -> Path:
    file = folder / "config.json"
    entries = {name: {"command": sys.executable, "args": args} for name, args in servers.items()}
    patient = {name: {"start_timeout": START_LIMIT} for name in servers}
    block = {"model": {"path": str(folder)}, "servers": patient, **own}
    file.write_text(json.dumps({"mcpServers": entries, "dualtune": block}), encoding="utf-8")
    return file


def reading(engine: NamingEngine, title: str = "old") -> None:
    engine.choices += [{"notes": 0.9}, {"read_note": 0.8}, {"notes": 1.0}, {"finish": 1.0}]
    engine.answers += [f'{{"title": " {title}"}}']


def deleting(engine: NamingEngine) -> None:
    engine.choices += [{"notes": 1.0}, {"delete_note": 1.0}, {"notes": 1.0}, {"finish": 1.0}]
    engine.answers += ['{"title": " old"}']


def asking(engine: NamingEngine) -> None:
    engine.choices += [{"notes": 1.0}, {"read_note": 1.0}, {"notes": 1.0}, {"finish": 1.0}]
    engine.answers += ['{"title":<|ask|>}']


def test_do_prints_the_result_on_stdout_and_the_reasons_on_stderr(
    engine: NamingEngine, config: Path, capsys: Captured
) -> None:
    reading(engine)
    assert main(["do", "what does old say", "--config", str(config)]) == exits.DONE
    shown = capsys.readouterr()
    assert shown.out == "from last year\n"
    assert "notes/read_note" in shown.err and 'title = "old"  (from the request)' in shown.err


def test_do_as_json_is_the_whole_trajectory(engine: NamingEngine, config: Path, capsys: Captured) -> None:
    reading(engine)
    assert main(["do", "what does old say", "--config", str(config), "--json"]) == exits.DONE
    run = json.loads(capsys.readouterr().out)
    jsonschema.validate(run, trajectory_schema())
    assert run["steps"][0]["result"]["content"] == [{"type": "text", "text": "from last year"}]


def test_a_tool_that_fails_has_its_own_exit_code(engine: NamingEngine, config: Path, capsys: Captured) -> None:
    reading(engine, "gone")
    assert main(["do", "what does gone say", "--config", str(config)]) == exits.DOWNSTREAM
    assert "There is no note 'gone'" in capsys.readouterr().out


def test_nothing_that_fits_has_its_own_exit_code(engine: NamingEngine, config: Path, capsys: Captured) -> None:
    engine.choices = [{"none": 1.0}]
    assert main(["do", "fly me to the moon", "--config", str(config)]) == exits.NONE_FITS
    shown = capsys.readouterr()
    assert shown.out == "" and "none of the tools fits" in shown.err


@pytest.mark.parametrize("command", ["do", "plan"])
def test_a_missing_value_has_its_own_exit_code_and_question(
    command: str, engine: NamingEngine, config: Path, capsys: Captured
) -> None:
    asking(engine)
    assert main([command, "read that note", "--config", str(config)]) == exits.ASK
    shown = capsys.readouterr()
    assert "title = ?" in (shown.err if command == "do" else shown.out)


@pytest.mark.parametrize(
    ("option", "code", "kept"),
    [([], exits.FAILED, True), (["--no"], exits.FAILED, True), (["--yes"], exits.DONE, False)],
)
def test_a_destructive_call_needs_a_yes(
    engine: NamingEngine, config: Path, capsys: Captured, option: list[str], code: int, kept: bool
) -> None:
    deleting(engine)
    assert main(["do", "delete old", "--config", str(config), *option]) == code
    assert (config.parent / "notes" / "old.txt").exists() is kept
    assert ("--yes" in capsys.readouterr().err) is kept


class Terminal(io.StringIO):
    """Text that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


def test_on_a_terminal_the_missing_value_and_the_yes_are_asked_for(
    engine: NamingEngine, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.choices = [{"notes": 1.0}, {"delete_note": 1.0}, {"notes": 1.0}, {"finish": 1.0}]
    engine.answers = ['{"title":<|ask|>}']
    shown = Terminal()
    monkeypatch.setattr(sys, "stdin", Terminal("old\ny\n"))
    monkeypatch.setattr(sys, "stderr", shown)
    assert main(["do", "delete that note", "--config", str(config)]) == exits.DONE
    assert not (config.parent / "notes" / "old.txt").exists()
    assert "title: " in shown.getvalue() and "Run it? [y/N]" in shown.getvalue()


def test_plan_over_a_catalog_starts_no_server_and_speaks_the_promised_json(
    model_folder: Path, config: Path, tmp_path: Path, capsys: Captured
) -> None:
    """With the tiny random model: what it decides is nonsense, in the right form."""
    assert main(["tools", "--config", str(config), "--json"]) == exits.DONE
    catalog = tmp_path / "catalog.json"
    catalog.write_text(capsys.readouterr().out, encoding="utf-8")
    nothing = write(
        tmp_path, {"dead": [str(UNRULY), "dead"]}, model={"path": str(model_folder), "precision": "float32"}
    )
    code = main(["plan", "note milk", "--config", str(nothing), "--catalog", str(catalog), "--json"])
    decision = json.loads(capsys.readouterr().out)
    jsonschema.validate(decision, decision_schema())
    assert code == {"ask": exits.ASK, "none": exits.NONE_FITS}.get(decision["outcome"], exits.DONE)
    assert decision["server"] in ("notes", None)


def test_servers_tells_the_good_from_the_bad(config: Path, tmp_path: Path, capsys: Captured) -> None:
    notes = json.loads(config.read_text(encoding="utf-8"))["mcpServers"]["notes"]["args"]
    both = write(tmp_path, {"good": notes, "bad": [str(UNRULY), "dead"]})
    assert main(["servers", "--config", str(both), "--json"]) == exits.DOWNSTREAM
    good, bad = json.loads(capsys.readouterr().out)["servers"]
    assert (good["status"], good["tools"], good["error"]) == ("ready", 6, None)
    assert (good["protocol"], good["transport"], good["restarts"], good["circuit"]) == (
        "2025-11-25",
        "stdio",
        0,
        "closed",
    )
    assert good["pid"] > 0 and good["handshake_ms"] > 0
    assert bad["tools"] == 0 and "status 3" in bad["error"]
    # While it is being tried again there is no next time yet.
    assert bad["status"] == "starting" or bad["retry_seconds"] >= 0


def test_servers_shows_people_how_each_one_is(tmp_path: Path, capsys: Captured) -> None:
    config = write(tmp_path, {"good": [str(UNRULY)], "bad": [str(UNRULY), "dead"]})
    assert main(["servers", "--config", str(config)]) == exits.DOWNSTREAM
    good, bad = capsys.readouterr().out.splitlines()
    assert good.split("\t")[:4] == ["good", "ready", "stdio", "2025-11-25"]
    assert ("next try in" in bad or "\tstarting\t" in bad) and "no licence found" in bad


def test_doctor_is_content_with_a_sound_installation(
    engine: NamingEngine, config: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.choices = [{"none": 1.0}, {"none": 1.0}]
    assert main(["doctor", "--config", str(config), "--json"]) == exits.DONE
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is True
    assert [check["name"] for check in found["checks"]] == [
        "program",
        "config",
        "model",
        "server notes",
        "adapters",
        "decision",
    ]


def test_doctor_names_everything_that_is_broken(tmp_path: Path, capsys: Captured) -> None:
    servers = {"bad": [str(UNRULY), "dead"]}
    file = write(tmp_path, servers, model={"path": str(tmp_path / "nowhere")})
    settings = json.loads(file.read_text(encoding="utf-8"))
    settings["mcpServers"]["ghost"] = {"command": "no-such-program-here"}
    file.write_text(json.dumps(settings), encoding="utf-8")
    assert main(["doctor", "--config", str(file)]) == exits.FAILED
    broken = [line for line in capsys.readouterr().out.splitlines() if line.startswith("BROKEN")]
    assert [line.split(":")[0].split(None, 1)[1] for line in broken] == [
        "command of ghost",
        "model",
        "server bad",
        "server ghost",
    ]


def test_an_interruption_ends_the_servers_and_has_its_own_exit_code(tmp_path: Path) -> None:
    silent = write(tmp_path, {"silent": [str(UNRULY), "silent"]})
    process = subprocess.Popen(
        [*COMMAND, "servers", "--config", str(silent), "--verbose"], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        process.kill()
        pytest.skip("the child's start is seen through /proc")
    while process.poll() is None and not children.read_text(encoding="utf-8").strip():
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == exits.INTERRUPTED
    assert "interrupted" in said and "Traceback" not in said

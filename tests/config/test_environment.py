"""What a server's process inherits from ours: a short list, and nothing of our own."""

from __future__ import annotations

import sys

from mcp.client.stdio import DEFAULT_INHERITED_ENV_VARS

from mcp_dualtune.config.environment import POSIX, WINDOWS, child_environment

OURS = {"PATH": "/bin", "HOME": "/home/ana", "OPENAI_API_KEY": "sk-1", "DUALTUNE_CONFIG": "x", "SHELL": "() { evil; }"}


def test_only_listed_variables_and_those_of_the_entry_are_passed_on() -> None:
    assert child_environment({"TOKEN": "t"}, OURS, windows=False) == {
        "PATH": "/bin",
        "HOME": "/home/ana",
        "TOKEN": "t",
    }


def test_the_entry_wins_over_what_is_inherited() -> None:
    assert child_environment({"PATH": "/opt/bin"}, OURS, windows=False)["PATH"] == "/opt/bin"


def test_on_windows_names_are_one_whatever_their_case() -> None:
    ours = {"Path": "C:\\Windows", "SystemRoot": "C:\\Windows", "Temp": "C:\\Temp", "AWS_SECRET_ACCESS_KEY": "s"}
    assert child_environment({"path": "D:\\bin", "Level": "1"}, ours, windows=True) == {
        "PATH": "D:\\bin",
        "SYSTEMROOT": "C:\\Windows",
        "TEMP": "C:\\Temp",
        "Level": "1",
    }


def test_the_list_is_that_of_other_clients() -> None:
    assert list(WINDOWS if sys.platform == "win32" else POSIX) == list(DEFAULT_INHERITED_ENV_VARS)

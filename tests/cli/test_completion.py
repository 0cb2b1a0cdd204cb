"""Completion as the shells ask for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def completed(line: str, shell: str = "bash") -> list[str]:
    """What is offered for the last word of the line."""
    words = line.split(" ")
    asked = {
        "_OVERNIGHT_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
        "_TYPER_COMPLETE_ARGS": line,
    }
    reply = subprocess.run(
        [sys.executable, "-m", "overnight"],
        env={**os.environ, **asked},
        capture_output=True,
        text=True,
        check=True,
    )
    return reply.stdout.split("\n")


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("overnight j", {"jobs"}),
        ("overnight jobs ", {"list", "show", "watch", "cancel", "download"}),
        ("overnight files up", {"upload"}),
        ("overnight jobs list --st", {"--status"}),
        ("overnight jobs list --status c", {"completed", "cancelling", "cancelled"}),
        ("overnight submit --d", {"--dialect"}),
        ("overnight submit --dialect ", {"auto", "openai", "together"}),
    ],
)
def test_bash(line: str, offered: set[str]) -> None:
    assert offered == {word for word in completed(line) if word}


def test_the_script_works_in_a_real_bash() -> None:
    script = """
        eval "$(_OVERNIGHT_COMPLETE=source_bash overnight)"
        COMP_WORDS=(overnight files do) COMP_CWORD=2
        _overnight_completion overnight
        echo "${COMPREPLY[@]}"
    """
    folder = Path(sys.executable).parent
    reply = subprocess.run(
        ["bash", "-c", script],
        env={**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert reply.stdout.split() == ["download"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_scripts_for_other_shells(shell: str) -> None:
    reply = subprocess.run(
        [sys.executable, "-m", "overnight"],
        env={**os.environ, "_OVERNIGHT_COMPLETE": f"source_{shell}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "_OVERNIGHT_COMPLETE=complete_" + shell in reply.stdout

"""The command line: one table of commands, each with its own help, and errors in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from seg_perception.cli import COMMANDS, main


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["--help"])
    assert exit_info.value.code == 0
    text = capsys.readouterr().out
    assert all(name in text for name in COMMANDS)


@pytest.mark.parametrize("command", ["demo", "doctor", "benchmark"])
def test_each_command_explains_its_options(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main([command, "--help"])
    assert exit_info.value.code == 0
    assert COMMANDS[command][1] in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("arguments", [[], ["no_such_command"]])
def test_without_a_command_the_usage_is_shown(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    assert exit_info.value.code == 2
    assert "usage: seg-perception" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["demo", "--rate", "0"], ["--rate", "0.1 to 1000"]),
        (["demo", "--seed", "-1"], ["--seed", "negative"]),
        (["demo", "--frames", "-3"], ["--frames", "negative"]),
        (["benchmark", "--compare", "road_lite", "--device", "cuda:0"], ["--compare", "--device"]),
    ],
)
def test_a_user_error_is_one_line_and_exit_code_2(
    arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ") and message.count("\n") == 1
    assert all(word in message for word in words)


def test_a_crash_is_no_verdict(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("seg_perception.evaluation.evaluate_command._request", lambda args: 1 / 0)
    assert main(["evaluate", "--bag", "drive"]) == 2, "1 means that a threshold is missed"
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_doctor_reports_without_ros(tmp_path: Path) -> None:
    code = "import sys; sys.modules['rclpy'] = None; from seg_perception.cli import main; sys.exit(main(['doctor']))"
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stderr
    assert any(line.startswith("MISSING") and "rclpy" in line for line in done.stdout.splitlines())

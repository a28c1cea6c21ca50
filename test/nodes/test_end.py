"""A node that is blocked when it should end, or that cannot be made, is not left behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from node_processes import TIMEOUT_S, wait_for


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_blocked_node_says_where_and_ends(tmp_path, number):
    log = tmp_path / "log.txt"
    with log.open("wb") as output:
        script = Path(__file__).with_name("blocked_node.py")
        process = subprocess.Popen([sys.executable, str(script)], stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_for(lambda: "active" in log.read_text(), "active")
        process.send_signal(number)
        assert process.wait(TIMEOUT_S) == 1
    finally:
        process.kill()
    assert "blocked_node.py" in log.read_text() and "in deactivate" in log.read_text()


@pytest.mark.parametrize(
    ("how", "code", "last_words"), [("refused", 2, "error: it cannot be made\n"), ("broken", 1, "a fault of ours\n")]
)
def test_what_a_failed_constructor_has_begun_is_destroyed_before_the_interpreter_ends(how, code, last_words):
    script = Path(__file__).with_name("refused_node.py")
    done = subprocess.run([sys.executable, str(script), how], capture_output=True, text=True, timeout=TIMEOUT_S)
    assert (done.returncode, done.stdout) == (code, "destroyed\n")
    assert done.stderr.endswith(last_words) and ("Traceback" in done.stderr) == (how == "broken")

"""Launch files run by `ros2 launch`, and what to wait for in their nodes."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from node_processes import wait_for

STARTED_S = 90.0
"""Python processes need seconds to start, and far longer on a busy machine."""

_END_S = 90.0


class LaunchProcess:
    """`ros2 launch seg_perception <file> <arguments>`; a file given by its path is not of the package."""

    def __init__(self, log: Path, file: str | Path, arguments: dict[str, object], environment: dict[str, str]) -> None:
        self._log = log
        given = [f"{name}:={value}" for name, value in arguments.items()]
        package = [] if Path(file).is_absolute() else ["seg_perception"]
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                ["ros2", "launch", *package, str(file), *given],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
                preexec_fn=_heed_interrupts,
            )

    @property
    def log(self) -> str:
        """All that the launch and its processes have written so far."""
        return self._log.read_text(errors="replace")

    def interrupt(self) -> None:
        """As Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)

    def returncode(self, timeout_s: float = _END_S) -> int:
        """Wait for its end."""
        return self._process.wait(timeout_s)

    def stop(self) -> None:
        """Whatever state it is in."""
        if self._process.poll() is None:
            self.interrupt()
        try:
            self.returncode()
        finally:
            self._process.kill()

    def wait_until_active(self, client, *nodes: str) -> None:
        """Until each of these nodes is there and active."""
        for node in nodes:
            service = f"{node}/get_state"
            wait_for(lambda service=service: service in self._services(client), service, STARTED_S)
            wait_for(lambda node=node: client.state(node) == "active", f"{node} active", STARTED_S)

    def _services(self, client) -> set[str]:
        assert self._process.poll() is None, self.log
        return {name for name, _ in client.node.get_service_names_and_types()}


def _heed_interrupts() -> None:
    """Where the tests run in the background of a script, SIGINT is ignored, and `ros2 launch` would inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)

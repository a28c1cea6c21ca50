"""The two signals that end a process: Ctrl-C or `ros2 launch`, and a service manager."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType

Handler = Callable[[int, FrameType | None], object]


def on_signals(handler: Handler | signal.Handlers) -> None:
    """What SIGINT and SIGTERM do from now on."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)

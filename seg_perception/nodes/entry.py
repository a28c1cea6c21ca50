"""How an executable enters a node: a signal ends it cleanly from the start, also while it still imports."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from types import FrameType

from seg_perception.nodes.signals import on_signals


def enter(node: str) -> int:
    """Import the node's module and run its main; returns the exit code."""
    on_signals(_leave)
    code: int = import_module(f"seg_perception.nodes.{node}").main()
    return code


def _leave(number: int, frame: FrameType | None) -> None:
    # Nothing has begun that would have to end; an exception would be caught by the module that is being imported.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(enter(sys.argv.pop(1)))

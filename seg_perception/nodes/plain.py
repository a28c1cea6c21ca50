"""Running the nodes that have no lifecycle: cameras and recorder."""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from types import FrameType
from typing import TypeVar

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node

from seg_perception.core.errors import SegPerceptionError
from seg_perception.nodes.half_made import destroy_half_made_node
from seg_perception.nodes.signals import on_signals

N = TypeVar("N", bound=Node)


def run_plain(make_node: Callable[[], N], work: Callable[[N], object], args: Sequence[str] | None = None) -> int:
    """Make a node, let it work until it is done or a signal comes, destroy it; returns the exit code.

    0 when done or ended by a signal; 2, with the reason on stderr, when a SegPerceptionError ends it; 1, with a
    traceback, when another does.
    """
    node = None

    def interrupt(number: int, frame: FrameType | None) -> None:
        # Making a node may take long. Later, rclpy ends the spinning; an exception would come between any two lines.
        if node is None:
            raise KeyboardInterrupt

    on_signals(interrupt)  # before init, whose own handlers call it
    rclpy.init(args=args)
    try:
        node = make_node()
        if rclpy.ok():
            work(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except SegPerceptionError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Exception:  # noqa: BLE001 (raised on, it would keep what the constructor has begun)
        if rclpy.ok():  # else: whatever was just using the context that the signal has shut down
            traceback.print_exc()
            return 1
    finally:
        on_signals(signal.SIG_IGN)  # a second Ctrl-C must not leave anything half closed
        if node:
            node.destroy_node()
        else:
            destroy_half_made_node()
        rclpy.try_shutdown()
    return 0

"""A ROS node in this process."""

from __future__ import annotations

import time

import pytest


class SpunNode:
    """A node and the means to wait for something to happen in it."""

    def __init__(self) -> None:
        import rclpy

        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node("example", namespace="/robot", context=self.context)
        self.executor = rclpy.executors.SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)

    def spin_until(self, condition, timeout_s: float = 10.0) -> None:
        """Spin until `condition()` is true."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"it did not happen within {timeout_s} s"
            self.executor.spin_once(timeout_sec=0.05)

    def close(self) -> None:
        import rclpy

        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture
def spun():
    spun = SpunNode()
    yield spun
    spun.close()

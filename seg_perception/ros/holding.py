"""Messages that stay with the middleware until there is time for them."""

from __future__ import annotations

import time
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node


class HeldBack(MutuallyExclusiveCallbackGroup):
    """While it holds, its subscriptions take nothing, and the middleware keeps as many messages as its queue is deep.

    Taking a camera image costs copies and a Python object, also where a newer one replaces it right away.
    """

    def __init__(self, node: Node) -> None:
        super().__init__()
        self._node = node
        self.holds = False
        self.released_ns = 0
        """When it last ended holding, of the system's clock, as the middleware stamps what it receives."""

    def hold(self) -> None:
        """From now on; to be called in a callback of the group."""
        self.holds = True

    def release(self) -> None:
        """Take what waits; may be called from any thread."""
        self.released_ns = time.time_ns()
        self.holds = False
        executor = self._node.executor
        if executor:
            executor.wake()  # it asks its groups only before it begins to wait

    def can_execute(self, entity: Any) -> bool:
        return not self.holds and super().can_execute(entity)

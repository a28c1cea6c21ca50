"""Messages that stay with the middleware until there is time for them."""

from __future__ import annotations

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node


class HeldBack(ReentrantCallbackGroup):
    """While it holds, its subscriptions take nothing, and the middleware keeps as many messages as its queue is deep.

    Taking a camera image costs copies and a Python object, also where a newer one replaces it right away.
    """

    def __init__(self, node: Node) -> None:
        super().__init__()
        self._node = node
        self._holds = False
        self._wake = node.create_guard_condition(lambda: None)

    def close(self) -> None:
        """To be called once nothing calls `release` any more."""
        self._node.destroy_guard_condition(self._wake)

    def hold(self) -> None:
        """From now on; to be called in a callback of the group."""
        self._holds = True

    def release(self) -> None:
        """Take what waits; may be called from any thread."""
        self._holds = False
        self._wake.trigger()  # the executor asks its groups only before it begins to wait

    def can_execute(self, entity: object) -> bool:
        return not self._holds

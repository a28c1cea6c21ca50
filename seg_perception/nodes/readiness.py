"""Waiting, before the first frame, until those who should receive it are there."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

import rclpy
from lifecycle_msgs.srv import GetState
from rclpy.client import Client
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.task import Future

from seg_perception.core.errors import SegPerceptionError

_POLL_S = 0.2
_ACTIVATION_S = 3.0


class NotReadyError(SegPerceptionError):
    """The nodes that should receive the images did not become active in time."""


def wait_until_active(node: Node, names: Sequence[str], timeout_s: float) -> None:
    """Blocks until lifecycle nodes are active. Raises NotReadyError.

    They answer once they have tried to start, which may take long; one that is then not active has failed.
    """
    for name in names:
        client = node.create_client(GetState, f"{name}/get_state")
        state = partial(_state, node, client)
        _wait(node, state, timeout_s, f"{name} does not answer")
        _wait(node, partial(_is_active, state), _ACTIVATION_S, f"{name} is not active; its log says why")


def wait_for_subscriptions(node: Node, publishers: Sequence[Publisher], count: int, timeout_s: float) -> None:
    """Blocks until each publisher has `count` subscriptions. Raises NotReadyError."""

    def matched() -> bool:
        return all(publisher.get_subscription_count() >= count for publisher in publishers)

    _wait(node, matched, timeout_s, f"the images have fewer than {count} subscriptions")


def _wait(node: Node, condition: Callable[[], object], timeout_s: float, otherwise: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise NotReadyError(f"after {timeout_s:.0f} s {otherwise}")
        rclpy.spin_until_future_complete(node, Future(), timeout_sec=_POLL_S)


def _is_active(state: Callable[[], str]) -> bool:
    return state() == "active"


def _state(node: Node, client: Client) -> str:
    """Label of a lifecycle node's state; empty while it does not answer."""
    if not client.service_is_ready():
        return ""
    answer = client.call_async(GetState.Request())
    rclpy.spin_until_future_complete(node, answer, timeout_sec=1.0)
    return answer.result().current_state.label if answer.done() else ""

"""Subscriptions that can say why nothing useful comes from them."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from rclpy.utilities import get_rmw_implementation_identifier

from seg_perception.core.fastdds import large_images_profile, profile_variables
from seg_perception.ros.diagnostics import Finding, Level
from seg_perception.ros.holding import HeldBack
from seg_perception.ros.qos import IncompatiblePublisher

_LOG_PERIOD_S = 5.0
_SILENCE_S = 1.0  # after which messages that come again are a new beginning
_LOST_WINDOW_S, _MOST_LOST, _LEAST_LOST = 10.0, 0.1, 5
_SLOWEST_BURST_NS = 20_000_000  # messages that come faster replace one another before they are taken


class WatchedInput:
    """A subscription that notes what arrives, what was of use, and what was rejected and why.

    The callback runs in the executor; `accept` and `reject` may be called from any thread. publisher: what should
    publish here, for people.
    """

    def __init__(
        self,
        node: Node,
        kind: type,
        topic: str,
        callback: Callable[[Any], None],
        profile: QoSProfile,
        group: HeldBack | None = None,
        publisher: str = "start the driver or remap the topic",
    ) -> None:
        self.topic = node.resolve_topic_name(topic)
        self._node = node
        self._callback = callback
        self._may_be_large = profile.reliability == ReliabilityPolicy.BEST_EFFORT and kind.__name__.endswith("Image")
        self._incompatible = IncompatiblePublisher(self.topic)
        self._publisher = publisher
        self._arrived = self._accepted = self._resumed = time.monotonic()
        self._rejected = self._logged = float("-inf")
        self._rejections = 0
        self._reason = ""
        self._group = group
        self._numbers: dict[bytes, tuple[int, int]] = {}  # by publisher: the last one's, and when it was received, ns
        self._losses: deque[tuple[float, int]] = deque()  # for every message of late: when, and how many before it
        self.publisher: object = None
        """Whom the newest message is from; None where the middleware does not tell."""
        self.replaced: int | None = None
        """How many messages the newest one has replaced in the middleware's queue while its group was held. None where
        the middleware does not number them."""
        on_message = self._on_numbered_message if hasattr(Subscription, "CallbackType") else self._on_message
        self._subscription = node.create_subscription(
            kind,
            self.topic,
            on_message,
            profile,
            callback_group=group,
            event_callbacks=self._incompatible.event_callbacks(),
        )

    def close(self) -> None:
        """Unsubscribe."""
        self._node.destroy_subscription(self._subscription)

    def accept(self) -> None:
        """Note that a message was of use."""
        self._accepted = time.monotonic()

    def reject(self, reason: str) -> None:
        """Note and log, at most once in a few seconds, why a message was of no use."""
        now = time.monotonic()
        self._rejected, self._reason = now, reason
        self._rejections += 1
        if now - self._logged >= _LOG_PERIOD_S:
            more = f" ({self._rejections} messages since the last such line)" if self._rejections > 1 else ""
            self._node.get_logger().warning(f"{self.topic}: {reason}{more}")
            self._logged, self._rejections = now, 0

    def finding(self, timeout_s: float, level: Level = Level.ERROR) -> Finding | None:
        """What is wrong with this input: of `level` if nothing was of use for `timeout_s`, else a warning; or None."""
        now = time.monotonic()
        starving = now - max(self._accepted, self._resumed) > timeout_s
        if now - self._rejected < _LOG_PERIOD_S:
            return Finding(level if starving else Level.WARN, f"{self.topic}: {self._reason}")
        if not starving:
            return self._loss(now)
        if self.silent(timeout_s):
            return Finding(level, f"nothing on {self.topic} for {now - self._arrived:.1f} s: {self._why_silent()}")
        return Finding(level, f"{self.topic}: messages arrive, but no result for {now - self._accepted:.1f} s")

    def publishers(self) -> int:
        """How many there are."""
        return int(self._node.count_publishers(self.topic))

    def silent(self, timeout_s: float) -> bool:
        """Whether nothing has arrived for that long."""
        held = self._group is not None and self._group.holds
        return time.monotonic() - self._arrived > timeout_s and not held

    def _loss(self, now: float) -> Finding | None:
        self._forget_losses(now)
        lost, arrived = sum(number for _, number in self._losses), len(self._losses)
        if lost < max(_LEAST_LOST, _MOST_LOST * (lost + arrived)):
            return None
        how = "were lost on the way" if self._group else "were lost on the way or came too fast"
        reason = f"{self.topic}: {lost} of {lost + arrived} messages {how} in the last seconds"
        return Finding(Level.WARN, reason + self._large_images())

    def _forget_losses(self, now: float) -> None:
        while self._losses and self._losses[0][0] < now - _LOST_WINDOW_S:
            self._losses.popleft()

    def _on_numbered_message(self, msg: Any, info: Mapping[str, Any]) -> None:
        self.publisher = (info.get("publisher_gid") or {}).get("data")
        self.replaced = self._replaced_by(info)
        self._on_message(msg)

    def _replaced_by(self, info: Mapping[str, Any]) -> int | None:
        publisher, number = info.get("publisher_gid"), info.get("publication_sequence_number")
        if not publisher or number is None:
            return None
        received = info["received_timestamp"]
        before, before_ns = self._numbers.get(publisher["data"], (number - 1, received))
        self._numbers[publisher["data"]] = max(before, number), received
        missing = max(0, number - before - 1)
        # If it came later, the queue was empty when it did, and those between were lost on the way.
        waited = self._group is not None and received <= self._group.released_ns
        burst = received - before_ns < (missing + 1) * _SLOWEST_BURST_NS
        now = time.monotonic()
        self._forget_losses(now)
        self._losses.append((now, 0 if waited or burst else missing))
        return missing if waited else 0

    def _on_message(self, msg: Any) -> None:
        now = time.monotonic()
        if now - self._arrived > _SILENCE_S and self._accepted >= self._arrived:  # what came before it was of use
            self._resumed = now
        self._arrived = now
        self._incompatible.reason = ""
        self._callback(msg)

    def _why_silent(self) -> str:
        if self._incompatible.reason:
            return self._incompatible.reason
        publishers = self.publishers()
        if not publishers:
            return f"no publisher; {self._publisher}"
        return f"{publishers} publisher(s), but no message{self._large_images()}"

    def _large_images(self) -> str:
        if not self._may_be_large or "fastrtps" not in get_rmw_implementation_identifier():
            return ""
        prepared = any(name in os.environ for name in profile_variables())
        return (
            "; large images get lost in the default configuration of Fast DDS: start "
            f"{'the publisher, too,' if prepared else 'publisher and subscriber'} with "
            f"{profile_variables()[0]}={large_images_profile(Path('<share>'))}, or set the parameter reliability: "
            "reliable"
        )

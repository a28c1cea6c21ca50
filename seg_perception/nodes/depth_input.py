"""Depth images as an input: aligned to the camera's image, brought to the size of its mask."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import Image

from seg_perception.core.alignment import aligned
from seg_perception.core.camera import Camera
from seg_perception.core.errors import ImageError
from seg_perception.core.pairing import StampedMessages
from seg_perception.core.waiting import NotYetError
from seg_perception.ros.conversions import image_to_depth, stamp_to_ns
from seg_perception.ros.diagnostics import Finding, Level
from seg_perception.ros.inputs import WatchedInput
from seg_perception.ros.qos import sensor_input

_DEPTH = 5
_AHEAD = 15  # depth is there at once, its mask only after the network: half a second at 30 Hz


class DepthInput:
    """Subscribes to a topic of depth images (REP-118).

    waiting: how many masks may wait at a time. on_news: called when an image has arrived.
    """

    def __init__(self, node: Node, topic: str, reliability: str, waiting: int, on_news: Callable[[], None]) -> None:
        self._on_news = on_news
        self._images: StampedMessages[Image] = StampedMessages(_AHEAD + waiting)
        self._input = WatchedInput(node, Image, topic, self._on_image, sensor_input(_DEPTH, reliability))

    def close(self) -> None:
        """Unsubscribe."""
        self._input.close()

    def finding(self, timeout_s: float) -> Finding | None:
        """What is wrong; never more than a warning, as masks are of use without depth."""
        return self._input.finding(timeout_s, Level.WARN)

    def at(self, stamp_ns: int, camera: Camera) -> NDArray[np.float32]:
        """The depth at a stamp, (H, W) float32 of the mask's camera, m along the optical axis; older ones are gone.

        Raises NotYetError while it is not there, ImageError where it cannot be used.
        """
        msg = self._images.at(stamp_ns)
        if msg is None:
            raise NotYetError("no depth with the stamp of the mask; camera and depth have to be taken together")
        self._images.forget_before(stamp_ns)  # masks come in order
        try:
            depth = aligned(image_to_depth(msg), camera, "depth")
        except ImageError as error:
            self._input.reject(str(error))
            raise
        self._input.accept()
        return depth

    def give_up(self, error: NotYetError) -> None:
        """Note why a mask has to do without."""
        if len(self._images):  # else nothing arrives at all, and `finding` tells why
            self._input.reject(str(error))

    def _on_image(self, msg: Image) -> None:
        self._images.add(stamp_to_ns(msg.header.stamp), msg)
        self._on_news()

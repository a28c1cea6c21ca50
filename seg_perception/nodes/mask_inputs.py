"""The segmenter's outputs as inputs: mask, confidence and camera_info of one image, brought together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image

from seg_perception.core.camera import Camera
from seg_perception.core.errors import CameraError, ImageError
from seg_perception.core.pairing import CameraInfos, StampPairs
from seg_perception.core.waiting import NotYetError
from seg_perception.nodes.grid_camera_parameters import camera_topic
from seg_perception.ros.conversions import image_to_mask, stamp_to_ns
from seg_perception.ros.diagnostics import Finding, PipelineMonitor
from seg_perception.ros.inputs import WatchedInput
from seg_perception.ros.qos import sensor_input

_DEPTH = 5
_INFOS = 1024  # of as long as masks may wait, 5 s, at 200 Hz
PUBLISHER = "the segmenter does not run or is not active; its log and status say why"


@dataclass(frozen=True, eq=False)
class MaskPair:
    """A mask and its confidence: messages of one stamp."""

    mask: Image
    confidence: Image

    @property
    def stamp_ns(self) -> int:
        return stamp_to_ns(self.mask.header.stamp)

    @property
    def optical_frame(self) -> str:
        return str(self.mask.header.frame_id)


class MaskInputs:
    """Subscribes to `segmentation/mask`, `segmentation/confidence` and `segmentation/camera_info` of a camera.

    on_pair: called with every mask that has its confidence. on_news: called when a camera_info has arrived that a
    waiting mask may have been waiting for.
    """

    def __init__(
        self,
        node: Node,
        name: str,
        reliability: str,
        monitor: PipelineMonitor,
        on_pair: Callable[[MaskPair], None],
        on_news: Callable[[], None],
    ) -> None:
        profile = sensor_input(_DEPTH, reliability)
        self._monitor = monitor
        self._on_pair = on_pair
        self._on_news = on_news
        self._pairs: StampPairs[Image, Image] = StampPairs(_DEPTH)
        self._infos = CameraInfos(_INFOS)
        prefix = camera_topic(name, "segmentation")
        self.masks = WatchedInput(node, Image, f"{prefix}/mask", self._on_mask, profile, publisher=PUBLISHER)
        self._confidences = WatchedInput(
            node, Image, f"{prefix}/confidence", self._on_confidence, profile, publisher=PUBLISHER
        )
        self._camera_infos = WatchedInput(
            node, CameraInfo, f"{prefix}/camera_info", self._on_camera_info, profile, publisher=PUBLISHER
        )

    def close(self) -> None:
        """Unsubscribe."""
        for watched in (self.masks, self._confidences, self._camera_infos):
            watched.close()

    def findings(self, timeout_s: float) -> Iterator[Finding]:
        """What is wrong with the masks; and where they come to nothing, with what belongs to them."""
        finding = self.masks.finding(timeout_s)
        if finding:
            yield finding
        if finding and not self.masks.silent(timeout_s):
            others = (watched.finding(timeout_s) for watched in (self._confidences, self._camera_infos))
            yield from filter(None, others)

    def camera(self, pair: MaskPair) -> Camera:
        """Of the mask's own stamp. Raises CameraError naming the topic, NotYetError while there is no camera_info.

        An older one will not do: a segmenter that finds the camera_info of its images wrong publishes masks without.
        """
        topic = self._camera_infos.topic
        if not self._infos.has(pair.stamp_ns):
            raise NotYetError(f"no camera_info on {topic} with the stamp of the mask; the segmenter's status says why")
        try:
            camera = self._infos.camera(pair.stamp_ns, pair.mask.width, pair.mask.height)
        except CameraError as error:
            raise CameraError(f"{topic}: {error}") from error
        assert camera
        self._camera_infos.accept()
        return camera

    def pixels(self, pair: MaskPair) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Mask and confidence, (H, W) uint8 each. Raises ImageError."""
        mask = image_to_mask(pair.mask)
        try:
            confidence = image_to_mask(pair.confidence)
        except ImageError as error:
            raise ImageError(f"{self._confidences.topic}: {error}") from error
        if mask.shape != confidence.shape:
            (height, width), (other_height, other_width) = mask.shape, confidence.shape
            raise ImageError(
                f"mask of {width}x{height} pixels, but {self._confidences.topic} of {other_width}x{other_height}; "
                "connect the confidence that is published with these masks"
            )
        return mask, confidence

    def _on_mask(self, msg: Image) -> None:
        self._monitor.count("received")
        self._complete(self._pairs.add_first(stamp_to_ns(msg.header.stamp), msg))

    def _on_confidence(self, msg: Image) -> None:
        self._complete(self._pairs.add_second(stamp_to_ns(msg.header.stamp), msg))

    def _complete(self, pair: tuple[Image, Image] | None) -> None:
        if pair:
            self._confidences.accept()
            self._on_pair(MaskPair(*pair))

    def _on_camera_info(self, msg: CameraInfo) -> None:
        self._infos.add(msg)
        self._on_news()

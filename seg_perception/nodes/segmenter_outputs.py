"""What the segmenter publishes for an image: each message with the image's stamp and frame."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from seg_perception.core.camera import Camera
from seg_perception.core.classes import UNLABELLED
from seg_perception.engines.base import Segmentation
from seg_perception.engines.bundle import Bundle
from seg_perception.engines.resize import Resize
from seg_perception.msg import SegmentationClasses
from seg_perception.nodes.lifecycle import PipelineNode, PipelineParameters
from seg_perception.ros import conversions, qos


class SegmenterOutputs:
    """Publishers of the topics segmentation/*."""

    def __init__(self, node: PipelineNode[PipelineParameters], bundle: Bundle, resize: Resize) -> None:
        self._bundle = bundle
        self._resize = resize
        self._camera_info = node.advertise(CameraInfo, "segmentation/camera_info", qos.stream_output())
        self._mask = node.advertise(Image, "segmentation/mask", qos.stream_output())
        self._confidence = node.advertise(Image, "segmentation/confidence", qos.stream_output())
        self._overlay = node.advertise(Image, "segmentation/overlay", qos.stream_output())
        self._classes = node.advertise(SegmentationClasses, "segmentation/classes", qos.latched())
        label_info = conversions.label_info_type()
        self._label_info = node.advertise(label_info, "segmentation/label_info", qos.latched()) if label_info else None
        if label_info is None:
            node.get_logger().info("vision_msgs is not installed: segmentation/label_info is not published")
        self._info_of = lru_cache(maxsize=2)(self._make_info)

    def publish_classes(self, header: Header) -> None:
        """Tell what the ids of the masks mean; latched."""
        manifest = self._bundle.manifest
        model = f"{manifest.name} {manifest.version}"
        self._classes.publish(conversions.classes_to_msg(manifest.table, model, header))
        if self._label_info:
            self._label_info.publish(conversions.classes_to_label_info(manifest.table, header))

    def publish(
        self, header: Header, image: NDArray[np.uint8], result: Segmentation, camera: Camera | None, *, restore: bool
    ) -> None:
        """Publish what the model found in an image (H, W, 3) BGR; camera: that of the image, if known.

        restore: at the size of the image instead of the model's.
        """
        mask, confidence = result.mask, result.confidence
        if restore:
            height, width = image.shape[:2]
            mask = self._resize.restore(mask, UNLABELLED, width, height)
            confidence = self._resize.restore(confidence, 0, width, height)
        if camera:
            info = self._info_of(camera, restore)
            info.header = header
            self._camera_info.publish(info)
        self._confidence.publish(conversions.mask_to_image(confidence, header))
        self._mask.publish(conversions.mask_to_image(mask, header))
        if self._overlay.get_subscription_count():
            background = image if restore else self._resize.apply(image)
            overlay = self._bundle.table.overlay(background, mask)
            self._overlay.publish(conversions.bgr_to_image(overlay, header))

    def _make_info(self, camera: Camera, restore: bool) -> CameraInfo:
        return conversions.camera_to_info(camera if restore else self._resize.camera(camera), Header())

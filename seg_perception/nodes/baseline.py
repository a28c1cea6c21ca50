"""The plain segmentation node that most packages have, as the yardstick of the benchmark; not for robots.

Everything happens in the subscription's callback behind a queue of 10: fp32 on ONNX Runtime's CPU provider, NumPy for
normalisation, softmax and argmax, and an overlay for every frame.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import rclpy
from rclpy.node import Node
from sensor_msgs.msg import Image

from seg_perception.nodes.plain import run_plain
from seg_perception.ros.conversions import bgr_to_image, image_to_bgr, mask_to_image
from seg_perception.ros.parameters import ParameterSet, parameter

_QUEUE = 10
_MEAN = np.full(3, 110.0 / 255.0, np.float32)  # what this repository's networks are trained with
_STD = np.full(3, 60.0 / 255.0, np.float32)


@dataclass(frozen=True)
class BaselineParameters:
    model: str = parameter("", "ONNX file: float32 (1, 3, H, W) in, logits float32 (1, C, H, W) out", read_only=True)
    threads: int = parameter(2, "CPU threads of the session", minimum=1, maximum=256, read_only=True)


class Baseline(Node):
    """Subscribed: image. Published: segmentation/mask, segmentation/confidence, segmentation/overlay."""

    def __init__(self) -> None:
        super().__init__("baseline")
        values = ParameterSet(self, BaselineParameters).values
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = values.threads
        self._session = onnxruntime.InferenceSession(Path(values.model), options, providers=["CPUExecutionProvider"])
        (image,) = self._session.get_inputs()
        self._input, (self._height, self._width) = image.name, image.shape[2:]
        self._palette = np.random.default_rng(0).integers(0, 256, (256, 3), np.uint8)
        self._mask = self.create_publisher(Image, "segmentation/mask", _QUEUE)
        self._confidence = self.create_publisher(Image, "segmentation/confidence", _QUEUE)
        self._overlay = self.create_publisher(Image, "segmentation/overlay", _QUEUE)
        self.create_subscription(Image, "image", self._on_image, _QUEUE)

    def _on_image(self, message: Image) -> None:
        image = cv2.resize(image_to_bgr(message), (self._width, self._height))
        normalised = (image.astype(np.float32) / 255.0 - _MEAN) / _STD
        tensor = np.ascontiguousarray(normalised.transpose(2, 0, 1)[np.newaxis])
        (logits,) = self._session.run(None, {self._input: tensor})
        exponentials = np.exp(logits[0] - logits[0].max(axis=0, keepdims=True))
        probabilities = exponentials / exponentials.sum(axis=0, keepdims=True)
        mask = probabilities.argmax(axis=0).astype(np.uint8)
        confidence = (probabilities.max(axis=0) * 255).astype(np.uint8)
        overlay = (0.5 * image + 0.5 * self._palette[mask]).astype(np.uint8)
        self._mask.publish(mask_to_image(mask, message.header))
        self._confidence.publish(mask_to_image(confidence, message.header))
        self._overlay.publish(bgr_to_image(overlay, message.header))


def main(args: Sequence[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM; returns the exit code."""
    return run_plain(Baseline, rclpy.spin, args)


if __name__ == "__main__":
    sys.exit(main())

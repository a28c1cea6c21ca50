"""Camera node of the benchmark: one picture again and again, at a rate, with calibration and odometry."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rclpy
from nav_msgs.msg import Odometry
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from seg_perception.core.camera import Camera
from seg_perception.core.errors import ImageError
from seg_perception.core.pictures import read_picture
from seg_perception.nodes.plain import run_plain
from seg_perception.nodes.readiness import wait_for_subscriptions, wait_until_active
from seg_perception.ros.conversions import bgr_to_image, camera_to_info
from seg_perception.ros.parameters import ParameterSet, parameter
from seg_perception.ros.qos import stream_output


@dataclass(frozen=True)
class BenchmarkCameraParameters:
    image: str = parameter("", "file of the picture", read_only=True)
    rate: float = parameter(10.0, "frames per second", minimum=0.1, maximum=1000.0, read_only=True)
    duration: float = parameter(10.0, "how long to publish, s", minimum=0.1, read_only=True)
    wait_for: str = parameter("", "lifecycle nodes that must be active first, separated by spaces", read_only=True)
    subscribers: int = parameter(1, "subscriptions that the image must have first", minimum=0, read_only=True)
    timeout_s: float = parameter(120.0, "how long to wait for these to answer, s", minimum=0.0, read_only=True)


class BenchmarkCamera(Node):
    """The messages are made once, so that publishing costs what a driver in C++ would pay, and not much more."""

    def __init__(self) -> None:
        super().__init__("benchmark_camera")
        self._values = ParameterSet(self, BenchmarkCameraParameters).values
        picture = read_picture(Path(self._values.image))
        if picture is None:
            raise ImageError(f"{self._values.image}: cannot be read; give the path of a picture")
        height, width = picture.shape[:2]
        focal = 0.7 * width
        matrix = np.array([[focal, 0, width / 2 - 0.5], [0, focal, height / 2 - 0.5], [0, 0, 1]])
        header = Header(frame_id="camera_optical_frame")
        self._image = bgr_to_image(picture, header)
        self._info = camera_to_info(Camera(width, height, matrix), header)
        self._odometry = Odometry(header=Header(frame_id="odom"), child_frame_id="base_link")
        self._images = self.create_publisher(Image, "image", stream_output())
        self._infos = self.create_publisher(CameraInfo, "camera_info", stream_output())
        self._poses = self.create_publisher(Odometry, "odom", 10)

    def run(self) -> None:
        """Wait for the consumers, then publish for the duration; late frames are not caught up with."""
        wait_until_active(self, self._values.wait_for.split(), self._values.timeout_s)
        wait_for_subscriptions(self, (self._images,), self._values.subscribers, self._values.timeout_s)
        start = due = time.monotonic()
        while rclpy.ok() and due < start + self._values.duration:
            self._publish()
            now = time.monotonic()
            due = max(due + 1.0 / self._values.rate, now)
            time.sleep(due - now)

    def _publish(self) -> None:
        stamp = self.get_clock().now().to_msg()
        for message in (self._odometry, self._info, self._image):
            message.header.stamp = stamp
        self._poses.publish(self._odometry)
        self._infos.publish(self._info)
        self._images.publish(self._image)
        print(stamp.sec * 1_000_000_000 + stamp.nanosec, flush=True)


def main(args: Sequence[str] | None = None) -> int:
    """stdout: the stamp (ns) of every published frame. Returns the exit code."""
    return run_plain(BenchmarkCamera, BenchmarkCamera.run, args)


if __name__ == "__main__":
    sys.exit(main())

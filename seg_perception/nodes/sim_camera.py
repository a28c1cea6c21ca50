"""Camera driver node that plays a simulated drive, a rosbag2 or a folder of images in real time.

Published: `image` (or `image/compressed`), `camera_info`, `odom` and TF, as far as the material knows them; of a drive
`truth/labels` and `truth/occupancy_grid` as well.
stdout: one line `<index> <count> <stamp, ns>` per published frame, for whoever started it.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import rclpy
from geometry_msgs.msg import Quaternion
from nav_msgs.msg import OccupancyGrid, Odometry
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rclpy.task import Future
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from seg_perception.core import pose
from seg_perception.core.mapper_config import MapperConfig
from seg_perception.evaluation.drive_material import DriveMaterial, DriveRequest, rendered_drive
from seg_perception.evaluation.drive_truth_grids import DriveTruthGrids
from seg_perception.evaluation.material import EncodedImage, Frame, Motion, RawImage, open_material
from seg_perception.nodes.plain import run_plain
from seg_perception.nodes.readiness import wait_for_subscriptions, wait_until_active
from seg_perception.nodes.rehearsal import Rehearsal
from seg_perception.nodes.vehicle_transforms import BASE, WORLD, VehicleTransforms
from seg_perception.ros.conversions import camera_to_info, grid_to_msg, mask_to_image, stamp_to_ns
from seg_perception.ros.parameters import ParameterSet, parameter
from seg_perception.ros.qos import latched, stream_output

_ANSWER_S = 2.0


@dataclass(frozen=True)
class SimCameraParameters:
    material: str = parameter("", "rendered drive, rosbag2 or folder of images; empty: render one", read_only=True)
    topic: str = parameter("", "image topic of a rosbag2; empty: its front camera, or all", read_only=True)
    seed: int = parameter(0, "which street to render", minimum=0, read_only=True)
    frames: int = parameter(200, "number of frames to play; 0: all", minimum=0, read_only=True)
    rate: float = parameter(10.0, "frames per second", minimum=0.1, maximum=1000.0, read_only=True)
    wait_for: str = parameter("", "lifecycle nodes that must be active first, separated by spaces", read_only=True)
    subscribers: int = parameter(0, "subscriptions that the image must have first", minimum=0, read_only=True)
    timeout_s: float = parameter(30.0, "how long to wait for these to answer, s", minimum=0.0, read_only=True)
    rehearse: bool = parameter(
        False, "show the first image until its mask is recorded and the nodes of wait_for have inputs", read_only=True
    )
    truth: tuple[float, ...] = parameter(
        (0.0, 0.0, 0.0), "resolution, size_x and size_y of grids with the truth of a drive, m; 0: none", read_only=True
    )
    lockstep: bool = parameter(False, "publish a frame only after the mask of the one before", read_only=True)


class SimCamera(Node):
    """Publishes one frame per period."""

    def __init__(self) -> None:
        super().__init__("sim_camera")
        self._parameters = values = ParameterSet(self, SimCameraParameters).values
        material = open_material(_material_path(values), values.topic)
        self._material = material
        self._count = len(material.names[: values.frames or None])
        self._frames = enumerate(islice(material, self._count))
        self._finished = Future()
        kind, name = (CompressedImage, "image/compressed") if material.compressed else (Image, "image")
        self._image = self.create_publisher(kind, name, stream_output())
        self._camera_info = self.create_publisher(CameraInfo, "camera_info", stream_output())
        self._odometry = self.create_publisher(Odometry, "odom", QoSProfile(depth=50))
        self._transforms = VehicleTransforms(self, material.mount) if material.mount else None
        self._truth = self._publish_truth(values) if any(values.truth) else None
        self._unanswered: int | None = None
        if values.lockstep:
            self.create_subscription(Image, "segmentation/mask", self._on_mask, stream_output())

    def play(self) -> None:
        """Wait for everybody the parameters name, then publish all frames. Raises NotReadyError."""
        values = self._parameters
        wait_until_active(self, values.wait_for.split(), values.timeout_s)
        wait_for_subscriptions(self, self._outputs(), values.subscribers, values.timeout_s)
        if values.rehearse:
            self._rehearse()
        self.create_timer(1.0 / values.rate, self._publish_next)
        rclpy.spin_until_future_complete(self, self._finished)

    def _outputs(self) -> list[Publisher]:
        """Everything that others must listen to."""
        return [self._image, self._camera_info, *([] if self._material.why_no_grid else [self._odometry])]

    def _rehearse(self) -> None:
        first = next(iter(self._material), None)
        if first is None:
            return
        rehearsal = Rehearsal(self, ("segmentation/mask", "segmentation/overlay"), self._parameters.wait_for.split())
        rehearsal.play(lambda: self._publish_picture(first, self._header(first)))

    def _on_mask(self, mask: Image) -> None:
        if self._unanswered == stamp_to_ns(mask.header.stamp):
            self._unanswered = None

    def _publish_next(self) -> None:
        if self._unanswered and self.get_clock().now().nanoseconds - self._unanswered < _ANSWER_S * 1e9:
            return
        index, frame = next(self._frames, (self._count, None))
        if frame is None:
            if not self._finished.done():
                self._finished.set_result(None)
            return
        header = self._header(frame)
        if self._truth:
            self._truth(index, header)
        self._publish(frame, header)
        stamp = stamp_to_ns(header.stamp)
        self._unanswered = stamp if self._parameters.lockstep else None
        print(index, self._count, stamp, flush=True)

    def _publish_truth(self, values: SimCameraParameters) -> Callable[[int, Header], None] | None:
        """What publishes the true labels and grid of a frame; None where only the material of others is played."""
        if not isinstance(self._material, DriveMaterial):
            return None
        material = self._material
        resolution, size_x, size_y = values.truth
        grids = DriveTruthGrids(material, MapperConfig(resolution=resolution, size_x=size_x, size_y=size_y))
        labels = self.create_publisher(Image, "truth/labels", stream_output())
        occupancy = self.create_publisher(OccupancyGrid, "truth/occupancy_grid", latched())

        def publish(index: int, header: Header) -> None:
            labels.publish(mask_to_image(np.asarray(material.labels[index]), header))
            occupancy.publish(grid_to_msg(*grids.grid(index), Header(stamp=header.stamp, frame_id=WORLD)))

        return publish

    def _publish(self, frame: Frame, header: Header) -> None:
        if frame.motion:
            self._odometry.publish(_odometry(frame.motion, header))
        if frame.motion and self._transforms:
            self._transforms.publish(frame.motion, header.stamp, frame.frame_id)
        self._publish_picture(frame, header)

    def _publish_picture(self, frame: Frame, header: Header) -> None:
        if frame.camera:
            self._camera_info.publish(camera_to_info(frame.camera, header))
        self._image.publish(_image(frame.image, header))

    def _header(self, frame: Frame) -> Header:
        return Header(stamp=self.get_clock().now().to_msg(), frame_id=frame.frame_id)


def _material_path(values: SimCameraParameters) -> Path:
    if values.material:
        return Path(values.material)
    return rendered_drive(DriveRequest(values.seed, values.frames or 200, values.rate))


def _image(image: RawImage | EncodedImage, header: Header) -> Image | CompressedImage:
    data = array("B")  # rclpy takes an array as it is, and looks at every single byte of anything else
    data.frombytes(image.data)
    if isinstance(image, EncodedImage):
        return CompressedImage(header=header, format=image.format, data=data)
    return Image(
        header=header,
        height=image.height,
        width=image.width,
        encoding=image.encoding,
        is_bigendian=image.is_bigendian,
        step=image.step,
        data=data,
    )


def _odometry(motion: Motion, header: Header) -> Odometry:
    message = Odometry(header=Header(stamp=header.stamp, frame_id=WORLD), child_frame_id=BASE)
    position = message.pose.pose.position
    position.x, position.y, position.z = (float(value) for value in motion.world_from_base[:3, 3])
    x, y, z, w = (float(value) for value in pose.quaternion(motion.world_from_base))
    message.pose.pose.orientation = Quaternion(x=x, y=y, z=z, w=w)
    message.twist.twist.linear.x = motion.speed
    message.twist.twist.angular.z = motion.yaw_rate
    return message


def main(args: Sequence[str] | None = None) -> int:
    """Play once, or until SIGINT or SIGTERM; returns the exit code."""
    return run_plain(SimCamera, SimCamera.play, args)


if __name__ == "__main__":
    sys.exit(main())

"""Recordings of a robot that drives towards a wall, for a model that calls whatever is bright an obstacle."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from threshold_bundle import BRIGHT, DARK

from seg_perception.core import pose
from seg_perception.core.camera import Camera
from seg_perception.evaluation.bag_writer import BagWriter

CAMERA = Camera(128, 96, np.array([[176.0, 0.0, 63.5], [0.0, 176.0, 47.5], [0.0, 0.0, 1.0]]))
MOUNT = {"x": 1.0, "y": 0.2, "z": 1.5, "roll": 0.0, "pitch": 0.25, "yaw": 0.0}
BASE_FROM_OPTICAL = pose.base_from_optical((1.0, 0.2, 1.5), 0.0, 0.25, 0.0)
WALL_X, WALL_Y, WALL_HEIGHT = 9.0, 3.0, 2.5  # m, in the world: it reaches from -WALL_Y to WALL_Y
FRAME_ID, START_S, PERIOD_S = "camera_optical_frame", 1000.0, 0.1
NS = 10**9

TYPES = {
    "/image": "sensor_msgs/msg/Image",
    "/camera_info": "sensor_msgs/msg/CameraInfo",
    "/odom": "nav_msgs/msg/Odometry",
    "/tf": "tf2_msgs/msg/TFMessage",
    "/tf_static": "tf2_msgs/msg/TFMessage",
    "/truth/labels": "sensor_msgs/msg/Image",
    "/truth/grid": "nav_msgs/msg/OccupancyGrid",
    "/lidar": "sensor_msgs/msg/PointCloud2",
}

Spoil = Callable[[int, dict[str, Any]], None]
"""Called with the number of a frame and its messages by topic; takes away or changes some."""


def stamp_ns(index: int) -> int:
    return round((START_S + index * PERIOD_S) * NS)


def world_from_base(index: int) -> pose.Transform:
    t = index * PERIOD_S
    return pose.from_rpy((2.0 * t, 0.3 * np.sin(t), 0.0), 0.0, 0.0, 0.1 * np.sin(1.5 * t))


def looked_at(index: int) -> np.ndarray:
    """(H, W) uint8: BRIGHT where the wall or the sky is seen, DARK on the ground."""
    world_from_optical = world_from_base(index) @ BASE_FROM_OPTICAL
    rays = CAMERA.pixel_rays.reshape(-1, 3) @ world_from_optical[:3, :3].T
    eye = world_from_optical[:3, 3]
    with np.errstate(divide="ignore", invalid="ignore"):
        ground = np.where(rays[:, 2] < 0, -eye[2] / rays[:, 2], np.inf)
        wall = np.where(rays[:, 0] > 0, (WALL_X - eye[0]) / rays[:, 0], np.inf)
        y, z = eye[1] + wall * rays[:, 1], eye[2] + wall * rays[:, 2]
    hit = (wall < ground) & (abs(y) < WALL_Y) & (z < WALL_HEIGHT)
    return np.where(hit | ~np.isfinite(ground), BRIGHT, DARK).astype(np.uint8).reshape(CAMERA.height, CAMERA.width)


def write_robot(path: Path, **parameters: Any) -> Path:
    """A robot's parameter file."""
    values = {"size_x": 40.0, "size_y": 40.0, "pose_source": "odometry", "mount": MOUNT, **parameters}
    path.write_text(yaml.safe_dump({"/**/grid_mapper": {"ros__parameters": values}}))
    return path


def write_drive(
    path: Path,
    frames: int = 20,
    spoil: Spoil = lambda index, messages: None,
    without: Collection[str] = ("/tf",),
    times: int = 1,
    image: str = "/image",
    **looks: int,
) -> Path:
    """An mcap bag; odometry lies between the images. without: topics that it lacks. looks: see `Messages.of_frame`.

    times: how often the drive was played while it was recorded; its stamps begin anew each time. image: what /image is
    called in it.
    """
    writer = BagWriter(path)
    for topic, kind in TYPES.items():
        if topic not in without:
            writer.add_topic(image if topic == "/image" else topic, kind)
    messages = Messages(writer.types)

    def write(topic: str, received: int, message: Any) -> None:
        if topic not in without:
            writer.write_message(image if topic == "/image" else topic, received, message)

    write("/tf_static", stamp_ns(0) - NS, messages.transform("base_link", FRAME_ID, BASE_FROM_OPTICAL))
    for start in range(0, times * (frames + 1), frames + 1):
        later = stamp_ns(start) - stamp_ns(0)
        write("/odom", later + stamp_ns(0) - NS // 20, messages.odometry(-0.5))
        for index in range(frames):
            made = messages.of_frame(index, **looks)
            spoil(index, made)
            for topic, message in made.items():
                write(topic, later + stamp_ns(index), message)
            write("/odom", later + stamp_ns(index) + NS // 20, messages.odometry(index + 0.5))
    writer.close()
    return path


class Messages:
    """Makes messages of the classes that a writer has."""

    def __init__(self, types: Mapping[str, Any]) -> None:
        self._types = types

    def new(self, name: str, *fields: Any) -> Any:
        return self._types[name.replace("/", "/msg/")](*fields)

    def header(self, stamp: int, frame_id: str) -> Any:
        return self.new("std_msgs/Header", self.new("builtin_interfaces/Time", *divmod(stamp, NS)), frame_id)

    def of_frame(self, index: int, bright: int = 255, dark: int = 0) -> dict[str, Any]:
        """Everything with the stamp of an image. bright, dark: how its pixels look."""
        seen, header = looked_at(index), self.header(stamp_ns(index), FRAME_ID)
        shown = np.where(seen == BRIGHT, bright, dark).astype(np.uint8)
        return {
            "/camera_info": self.camera_info(header),
            "/truth/labels": self.image(header, seen),
            "/truth/grid": self.true_grid(header),
            "/lidar": self.lidar(index),
            "/image": self.image(header, shown),
            "/tf": self.transform("odom", "base_link", world_from_base(index), stamp_ns(index)),
        }

    def image(self, header: Any, plane: np.ndarray) -> Any:
        height, width = plane.shape
        return self.new("sensor_msgs/Image", header, height, width, "mono8", 0, width, plane.ravel())

    def camera_info(self, header: Any) -> Any:
        roi = self.new("sensor_msgs/RegionOfInterest", 0, 0, 0, 0, False)
        k, size = CAMERA.matrix.ravel(), (CAMERA.height, CAMERA.width)
        fields = (header, *size, "plumb_bob", np.zeros(5), k, np.eye(3).ravel(), np.zeros(12), 0, 0, roi)
        return self.new("sensor_msgs/CameraInfo", *fields)

    def odometry(self, index: float) -> Any:
        header = self.header(round((START_S + index * PERIOD_S) * NS), "odom")
        t = index * PERIOD_S
        placed = pose.from_rpy((2.0 * t, 0.3 * np.sin(t), 0.0), 0.0, 0.0, 0.1 * np.sin(1.5 * t))
        point = self.new("geometry_msgs/Point", *placed[:3, 3].tolist())
        turned = self.new("geometry_msgs/Quaternion", *pose.quaternion(placed).tolist())
        zero = self.new("geometry_msgs/Vector3", 0.0, 0.0, 0.0)
        where = self.new(
            "geometry_msgs/PoseWithCovariance", self.new("geometry_msgs/Pose", point, turned), np.zeros(36)
        )
        speed = self.new("geometry_msgs/TwistWithCovariance", self.new("geometry_msgs/Twist", zero, zero), np.zeros(36))
        return self.new("nav_msgs/Odometry", header, "base_link", where, speed)

    def transform(self, parent: str, child: str, placed: pose.Transform, stamp: int = 0) -> Any:
        moved = self.new("geometry_msgs/Vector3", *placed[:3, 3].tolist())
        turned = self.new("geometry_msgs/Quaternion", *pose.quaternion(placed).tolist())
        transform = self.new("geometry_msgs/Transform", moved, turned)
        stamped = self.new("geometry_msgs/TransformStamped", self.header(stamp, parent), child, transform)
        return self.new("tf2_msgs/TFMessage", [stamped])

    def true_grid(self, header: Any) -> Any:
        """Cells of 0.1 m in a grid that is turned by a right angle: its x axis is the world's y axis."""
        cells = np.zeros((300, 200), np.int8)  # rows: world x from 15 down to -15, columns: world y from -10 to 10
        rows_x = 15.0 - (np.arange(300) + 0.5) * 0.1
        columns_y = (np.arange(200) + 0.5) * 0.1 - 10.0
        wall = (abs(rows_x - WALL_X - 0.1) < 0.15)[:, None] & (abs(columns_y) < WALL_Y)[None, :]
        cells[wall] = 100
        cells[(rows_x > WALL_X + 0.3)] = -1
        position = self.new("geometry_msgs/Point", 15.0, -10.0, 0.0)
        turned = self.new("geometry_msgs/Quaternion", 0.0, 0.0, np.sqrt(0.5), np.sqrt(0.5))
        origin = self.new("geometry_msgs/Pose", position, turned)
        info = self.new("nav_msgs/MapMetaData", header.stamp, 0.1, 200, 300, origin)
        odom = self.header(header.stamp.sec * NS + header.stamp.nanosec, "odom")
        return self.new("nav_msgs/OccupancyGrid", odom, info, cells.ravel())

    def lidar(self, index: int) -> Any:
        """Returns from the ground and the wall, in base_link, with an intensity between the coordinates."""
        x, y = np.meshgrid(np.arange(-10.0, WALL_X, 0.1), np.arange(-8.0, 8.0, 0.1))
        ground = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], axis=1)
        y, z = np.meshgrid(np.arange(-WALL_Y, WALL_Y, 0.05), np.arange(0.3, WALL_HEIGHT, 0.1))
        wall = np.stack([np.full(y.size, WALL_X + 0.05), y.ravel(), z.ravel()], axis=1)
        points = pose.apply(pose.inverse(world_from_base(index)), np.concatenate([ground, wall]))
        layout = np.dtype([("x", "<f4"), ("intensity", "<f4"), ("y", "<f4"), ("z", "<f4")])
        packed = np.zeros(len(points), layout)
        packed["x"], packed["y"], packed["z"] = points.T
        fields = [self.new("sensor_msgs/PointField", n, 4 * i, 7, 1) for i, n in enumerate(layout.names)]
        header = self.header(stamp_ns(index) + 20_000_000, "base_link")
        size = len(points) * layout.itemsize
        data = np.frombuffer(packed.tobytes(), np.uint8)
        return self.new(
            "sensor_msgs/PointCloud2", header, 1, len(points), fields, False, layout.itemsize, size, data, True
        )

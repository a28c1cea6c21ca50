"""A robot that drives and weaves towards a wall on open ground, and what its segmenter would publish."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import OccupancyGrid, Odometry
from node_processes import wait_for
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from seg_perception.core import pose
from seg_perception.core.camera import Camera
from seg_perception.core.classes import ClassTable
from seg_perception.msg import PipelineStatus, SegmentationClasses
from seg_perception.ros.conversions import (
    camera_to_info,
    classes_to_msg,
    mask_to_image,
    stamp_from_ns,
    stamp_to_ns,
)
from seg_perception.ros.qos import latched, stream_output

NODE = "grid_mapper"
TABLE = ClassTable.load(Path(__file__).resolve().parents[2] / "config" / "classes" / "camvid.yaml")
ROAD, SKY, BUILDING = 3, 0, 1
CAMERA = Camera(320, 180, np.array([[220.0, 0.0, 159.5], [0.0, 220.0, 89.5], [0.0, 0.0, 1.0]]))
MOUNT = {"mount.x": 1.0, "mount.y": 0.2, "mount.z": 1.5, "mount.pitch": 0.15}
PARAMETERS = {
    "timeout": 1.5,
    "max_age": 30.0,
    "pose_wait": 3.0,
    "latency_budget_ms": 60_000.0,
    "half_life": 0.6,
    "size_x": 40.0,
    "size_y": 40.0,
    "pose_source": "odometry",
}
BASE_FROM_OPTICAL = pose.base_from_optical((1.0, 0.2, 1.5), 0.0, 0.15, 0.0)
WALL_X, WALL_LEFT, WALL_RIGHT, WALL_HEIGHT = 12.0, 2.0, 0.0, 2.5  # m, in the world
STEP_S = 0.1
START = (0.0, 0.0, 0.0)
GRID_TIMEOUT_S = 20.0
JUST_BEFORE_NS = 250_000_000
DISCOVERY_S = 1.5


def wait_for_new_node(robot):
    """Until a node that has just started and the robot know each other.

    That we know of its subscriptions can be seen, but not that it knows of our publishers; until it does, odometry,
    which it takes as best effort, is lost.
    """
    wait_for(robot.connected, "connections")
    time.sleep(DISCOVERY_S)


def world_from_base(t):
    """The robot at t s: 2 m/s ahead, weaving."""
    return pose.from_rpy((2.0 * t, 0.3 * np.sin(t), 0.0), 0.0, 0.0, 0.2 * np.sin(1.5 * t))


def seen_from(t, lift=0.0, base_from_optical=BASE_FROM_OPTICAL):
    """Ground, sky and one wall across x = WALL_X, as the camera sees them at t s.

    (H, W) mask, (H, W) float32 depth in m. lift: m between the ground and the wall.
    """
    world_from_optical = world_from_base(t) @ base_from_optical
    u, v = np.meshgrid(np.arange(CAMERA.width), np.arange(CAMERA.height))
    rays = CAMERA.rays(np.stack([u.ravel(), v.ravel()], axis=1)) @ world_from_optical[:3, :3].T
    eye = world_from_optical[:3, 3]
    with np.errstate(divide="ignore", invalid="ignore"):
        to_ground = np.where(rays[:, 2] < 0, -eye[2] / rays[:, 2], np.inf)
        to_wall = np.where(rays[:, 0] > 0, (WALL_X - eye[0]) / rays[:, 0], np.inf)
        y, z = eye[1] + to_wall * rays[:, 1], eye[2] + to_wall * rays[:, 2]
    wall = (to_wall > 0) & (to_wall < to_ground) & (y > WALL_RIGHT) & (y < WALL_LEFT) & (z > lift) & (z < WALL_HEIGHT)
    mask = np.where(wall, BUILDING, np.where(np.isfinite(to_ground), ROAD, SKY)).astype(np.uint8)
    depth = np.where(wall, to_wall, to_ground).astype(np.float32)
    return mask.reshape(u.shape), depth.reshape(u.shape)


class Segmenter:
    """Publishes what the segmenter of one camera would. name: before its topics."""

    def __init__(self, client, name="", base_from_optical=BASE_FROM_OPTICAL):
        node, topics = client.node, f"{name}/segmentation" if name else "segmentation"
        self.masks = node.create_publisher(Image, f"{topics}/mask", stream_output())
        self.confidences = node.create_publisher(Image, f"{topics}/confidence", stream_output())
        self.infos = node.create_publisher(CameraInfo, f"{topics}/camera_info", stream_output())
        self.classes = node.create_publisher(SegmentationClasses, f"{topics}/classes", latched())
        self.classes.publish(classes_to_msg(TABLE, "test 1", Header()))
        self._base_from_optical = base_from_optical
        self._node = node

    def hears_masks(self):
        """Whether the node listens to all that a segmenter publishes, and we to it."""
        inputs = (self.masks, self.confidences, self.infos, self.classes)
        return all(p.get_subscription_count() for p in inputs) and self._node.count_publishers("occupancy_grid")

    def disconnected(self):
        """Whether the node has released its topics."""
        return not self.masks.get_subscription_count() and not self._node.count_publishers("occupancy_grid")

    def now_ns(self):
        return self._node.get_clock().now().nanoseconds

    def send_mask(self, stamp_ns, t, *, mask=None, camera=CAMERA, confidence=None, settle_s=0.0, **image_fields):
        """One output of a segmenter; image_fields spoil the mask's message."""
        header = Header(stamp=stamp_from_ns(stamp_ns), frame_id="camera_optical_frame")
        mask = seen_from(t, 0.0, self._base_from_optical)[0] if mask is None else mask
        image = mask_to_image(mask, header)
        for name, value in image_fields.items():
            setattr(image, name, value)
        if camera is not None:
            info = camera if isinstance(camera, CameraInfo) else camera_to_info(camera, header)
            info.header = header
            self.infos.publish(info)
            time.sleep(settle_s)
        self.masks.publish(image)
        self.confidences.publish(mask_to_image(np.full_like(mask, 255) if confidence is None else confidence, header))


class Robot(Segmenter):
    """Publishes what a robot with a segmenter would, and collects what grid_mapper answers."""

    def __init__(self, client, name=""):
        super().__init__(client, name)
        self.odometry = client.node.create_publisher(Odometry, "odom", stream_output())
        self.grids = client.collect(OccupancyGrid, "occupancy_grid", latched())
        self.obstacles = client.collect(PointCloud2, "obstacles", stream_output())
        self.statuses = client.collect(PipelineStatus, f"{NODE}/status", 10)
        self.diagnostics = client.collect(DiagnosticArray, "/diagnostics", 10)

    def connected(self):
        """Whether the node listens to everything, and we to it."""
        return self.odometry.get_subscription_count() and self.hears_masks()

    def send_odometry(self, stamp_ns, t):
        msg = Odometry(header=Header(stamp=stamp_from_ns(stamp_ns), frame_id="odom"), child_frame_id="base_link")
        transform = world_from_base(t)
        p, q = msg.pose.pose.position, msg.pose.pose.orientation
        p.x, p.y, p.z = transform[:3, 3].tolist()
        q.x, q.y, q.z, q.w = pose.quaternion(transform).tolist()
        self.odometry.publish(msg)

    def drive(self, frames, start_ns=None, odometry=True):
        """Some frames of the drive in real time; odometry in between the masks. Returns their stamps."""
        start_ns = self.now_ns() if start_ns is None else start_ns
        stamps = []
        for i in range(frames):
            t = i * STEP_S
            stamps.append(start_ns + round(t * 1e9))
            if odometry:
                self.send_odometry(stamps[-1] - 40_000_000, t - 0.04)
            self.send_mask(stamps[-1], t)
            if odometry:
                self.send_odometry(stamps[-1] + 40_000_000, t + 0.04)
            time.sleep(STEP_S)
        return stamps

    def wait_for_grid(self, stamp_ns):
        """The grid of a mask, or of one just before it.

        Only the newest grid is kept for who has not got it yet, and when no mask follows the next is half a second
        newer: on a machine that is too busy to transmit one at the first attempt, that one is lost.
        """

        def since(oldest_ns):
            return next((g for g in reversed(self.grids) if oldest_ns <= stamp_to_ns(g.header.stamp) <= stamp_ns), None)

        try:
            return wait_for(lambda: since(stamp_ns), "the grid of the last mask", GRID_TIMEOUT_S)
        except AssertionError as error:
            just_before = since(stamp_ns - JUST_BEFORE_NS)
            if just_before:
                return just_before
            older = [(stamp_ns - stamp_to_ns(g.header.stamp)) / 1e9 for g in self.grids[-5:]]
            raise AssertionError(f"{error}; the last grids are {older} s older; {self.statuses[-1:]}") from None

    def wait_for_status(self, condition, what, since=None):
        """A status that satisfies the condition, from now on or after the first `since`."""
        since = len(self.statuses) if since is None else since
        return wait_for(lambda: next(filter(condition, self.statuses[since:]), None), what)

    def own_diagnostics(self):
        """What it has said on /diagnostics about all of it."""
        return [s for array in self.diagnostics for s in array.status if s.name == f"{NODE}: pipeline"]

    def diagnostics_of(self, status):
        """The entries of /diagnostics at the time of a status: of a camera by its name, of all of it as `pipeline`."""
        array = wait_for(
            lambda: next((a for a in self.diagnostics if a.header.stamp == status.header.stamp), None), "diagnostics"
        )
        return {entry.name.removeprefix(f"{NODE}: "): entry for entry in array.status}


def cells(grid):
    return np.array(grid.data, np.int8).reshape(grid.info.height, grid.info.width)


def at(grid, x, y):
    """Values of the cells at world points."""
    origin, size = grid.info.origin.position, grid.info.resolution
    rows = np.floor((np.asarray(y) - origin.y) / size).astype(int)
    columns = np.floor((np.asarray(x) - origin.x) / size).astype(int)
    return cells(grid)[rows, columns]


def assert_shows_the_wall(grid):
    """Occupied along the wall's foot, free before it, unknown behind it."""
    y = np.arange(WALL_RIGHT + 0.3, WALL_LEFT - 0.3, 0.2)
    near = np.stack([at(grid, WALL_X + dx, y) for dx in (-0.2, 0.0, 0.2)])
    assert (near.max(axis=0) >= 65).mean() > 0.8, near
    before = np.stack([at(grid, x, y) for x in np.arange(7.0, 10.5, 0.2)])
    assert ((before >= 0) & (before < 25)).mean() > 0.95, before
    behind = np.stack([at(grid, x, y) for x in np.arange(WALL_X + 1.0, WALL_X + 4.0, 0.2)])
    assert (behind == -1).all(), behind

"""TF of a vehicle with one camera, where tf2_msgs is installed: world to base, base to the optical frame."""

from __future__ import annotations

import importlib

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3
from rclpy.node import Node
from rclpy.qos import QoSProfile
from std_msgs.msg import Header

from seg_perception.core import pose
from seg_perception.evaluation.material import Motion, Mount
from seg_perception.ros.qos import latched

WORLD, BASE = "odom", "base_link"


class VehicleTransforms:
    """Published: /tf with every frame, /tf_static once; nothing where tf2_msgs is missing."""

    def __init__(self, node: Node, mount: Mount) -> None:
        self._base_from_optical = mount.base_from_optical
        self._camera_frame = ""
        try:
            self._kind = importlib.import_module("tf2_msgs.msg").TFMessage
        except ImportError:
            self._kind = None
            return
        self._moving = node.create_publisher(self._kind, "/tf", QoSProfile(depth=100))
        self._static = node.create_publisher(self._kind, "/tf_static", latched())

    def publish(self, motion: Motion, stamp: Time, camera_frame: str) -> None:
        """Say where the vehicle is; and, when the camera's frame is new, where the camera sits on it."""
        if self._kind is None:
            return
        if camera_frame != self._camera_frame:
            self._camera_frame = camera_frame
            mounted = _transform(stamp, BASE, camera_frame, self._base_from_optical)
            self._static.publish(self._kind(transforms=[mounted]))
        moved = _transform(stamp, WORLD, BASE, motion.world_from_base)
        self._moving.publish(self._kind(transforms=[moved]))


def _transform(stamp: Time, parent: str, child: str, parent_from_child: pose.Transform) -> TransformStamped:
    x, y, z = (float(value) for value in parent_from_child[:3, 3])
    qx, qy, qz, qw = (float(value) for value in pose.quaternion(parent_from_child))
    transform = Transform(translation=Vector3(x=x, y=y, z=z), rotation=Quaternion(x=qx, y=qy, z=qz, w=qw))
    return TransformStamped(header=Header(stamp=stamp, frame_id=parent), child_frame_id=child, transform=transform)

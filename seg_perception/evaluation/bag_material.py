"""The cameras of a rosbag2 (db3 or mcap), with calibration, mount and odometry where the bag has them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from scipy.spatial.transform import Rotation

from seg_perception.core import pose
from seg_perception.core.camera import Camera
from seg_perception.core.camera_topics import beside, is_rectified
from seg_perception.core.errors import CameraError, DataError, TransformError
from seg_perception.core.messages import camera_from_info, pose_from_msg, stamp_to_ns
from seg_perception.core.poses import PoseBuffer
from seg_perception.core.transform_tree import TransformTree
from seg_perception.evaluation.bags import Bag, open_bag
from seg_perception.evaluation.material import Frame, Motion, Mount, image_of

_IMAGE_TYPES = {"sensor_msgs/msg/Image": False, "sensor_msgs/msg/CompressedImage": True}
_BASE_FRAMES = ("base_link", "base_footprint")
_NOT_A_CAMERA = ("mask", "confidence", "overlay", "depth", "label")
_MAX_GAP_NS = 500_000_000
_EVER_NS = 1 << 62


class _Odometry(NamedTuple):
    """stamp: ns. speed: m/s along base_link's x. yaw_rate: rad/s."""

    stamp: int
    world_from_base: pose.Transform
    speed: float
    yaw_rate: float

    @classmethod
    def of(cls, message: Any, received: int) -> _Odometry:
        """Of a nav_msgs/Odometry; when it was recorded, ns, counts where it has no stamp. Raises TransformError."""
        twist, placed = message.twist.twist, pose_from_msg(message.pose.pose)
        return cls(stamp_to_ns(message.header.stamp) or received, placed, twist.linear.x, twist.angular.z)


class BagMaterial:
    """One camera where grids are possible (the front one, or `topic`); else all cameras, one after the other."""

    def __init__(self, path: Path, topic: str = "") -> None:
        self._path = path
        self._infos: dict[str, Any] = {}
        self._odometry: list[_Odometry] = []
        self._static = TransformTree()
        with open_bag(path) as bag:
            self._read_surroundings(bag)
            self._topics = self._select(bag, camera_topics(bag.topics, path, topic))
            self.names = [name for name in self._topics for _ in range(bag.count(name))]
            self.mount = self._mount(_frame_id(bag, self._topics[0]))
            self.compressed = _IMAGE_TYPES[bag.topics[self._topics[0]]]
        self._poses = PoseBuffer(_EVER_NS, _MAX_GAP_NS)
        for sample in self._odometry:
            self._poses.add(sample.stamp, sample.world_from_base)
        self._cameras = {topic: self._camera(topic) for topic in self._topics}
        self.why_no_grid = self._why_no_grid()

    def __iter__(self) -> Iterator[Frame]:
        with open_bag(self._path) as bag:
            for topic in self._topics:
                camera = self._cameras[topic]
                for _, received, message in bag.messages([topic]):
                    motion = self._motion(stamp_to_ns(message.header.stamp) or received)
                    yield Frame(image_of(message, self.compressed), message.header.frame_id, camera, motion)

    def stems(self) -> list[str]:
        """Stamps, ns; of the camera that `evaluate` takes alone, as the others may have images of the same stamps."""
        labelled = _front(self._topics)
        with open_bag(self._path) as bag:
            stamps = [(t, stamp_to_ns(m.header.stamp)) for topic in self._topics for t, _, m in bag.messages([topic])]
        return [str(stamp) if stamp and topic == labelled else "" for topic, stamp in stamps]

    def _read_surroundings(self, bag: Bag) -> None:
        odometry = bag.odometry()
        wanted = [
            name
            for name, kind in bag.topics.items()
            if kind == "sensor_msgs/msg/CameraInfo" or name == odometry or name.endswith("tf_static")
        ]
        for name, received, message in bag.messages(wanted):
            with suppress(TransformError):  # what is no pose places nothing
                if bag.topics[name] == "sensor_msgs/msg/CameraInfo":
                    self._infos[name] = message
                elif name == odometry:
                    self._odometry.append(_Odometry.of(message, received))
                else:
                    self._static.add(message, static=True)
        self._odometry.sort(key=lambda sample: sample.stamp)

    def _select(self, bag: Bag, topics: list[str]) -> list[str]:
        """Grids need one camera; where they are impossible all cameras are shown, as far as they publish alike."""
        topics = [name for name in topics if bag.count(name)]
        if not topics:
            raise DataError(f"{self._path}: its image topics have no messages; record the camera's images as well")
        first = _front(topics)
        if self._odometry and self._mount(_frame_id(bag, first)):
            return [first]
        return [name for name in topics if bag.topics[name] == bag.topics[first]]

    def _camera(self, topic: str) -> Camera | None:
        """That of the images on a topic, by the last camera_info beside them."""
        info = self._infos.get(beside(topic, "camera_info"))
        try:
            return camera_from_info(info, rectified=is_rectified(topic)) if info else None
        except CameraError:
            return None

    def _mount(self, frame_id: str) -> Mount | None:
        """By /tf_static, of the optical frame in base_link."""
        base = next((frame for frame in _BASE_FRAMES if self._static.connects(frame, frame_id)), None)
        if base is None:
            return None
        base_from_body = self._static.lookup(base, frame_id, 0) @ pose.inverse(pose.BODY_FROM_OPTICAL)
        angles = Rotation.from_matrix(base_from_body[:3, :3]).as_euler("xyz")
        return Mount(*base_from_body[:3, 3].tolist(), *angles.tolist())

    def _motion(self, stamp: int) -> Motion | None:
        """Odometry at a stamp (ns), interpolated between its neighbours."""
        try:
            world_from_base = self._poses.at(stamp)
        except TransformError:
            return None
        sample = self._odometry[bisect_left(self._odometry, stamp, key=lambda sample: sample.stamp)]
        return Motion(world_from_base, sample.speed, sample.yaw_rate)

    def _why_no_grid(self) -> str:
        missing = []
        if not all(self._cameras.values()):
            missing.append("a usable camera_info for the images")
        if self.mount is None:
            missing.append("the camera's mount (/tf_static from base_link to its frame)")
        if not self._odometry:
            missing.append("odometry (nav_msgs/Odometry)")
        return f"the bag lacks {' and '.join(missing)}" if missing else ""


def camera_topics(topics: dict[str, str], path: Path, chosen: str = "") -> list[str]:
    """The image topics of a bag that come from cameras, by name. Raises DataError naming the topics there are."""
    images = sorted(name for name, kind in topics.items() if kind in _IMAGE_TYPES)
    if chosen:
        if chosen not in images:
            raise DataError(f"{path}: no image topic {chosen!r}; image topics in it: {', '.join(images) or 'none'}")
        return [chosen]
    cameras = [name for name in images if not any(word in name for word in _NOT_A_CAMERA)]
    if not cameras:
        raise DataError(f"{path}: no camera images in it; topics: {', '.join(sorted(topics)) or 'none'}")
    return cameras


def _front(topics: list[str]) -> str:
    return next((name for name in topics if "front" in name), topics[0])


def _frame_id(bag: Bag, topic: str) -> str:
    return str(next(bag.messages([topic]))[2].header.frame_id)

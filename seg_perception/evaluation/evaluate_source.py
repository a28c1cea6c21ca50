"""Where the frames of an evaluation come from: a recording or a folder of images, as one stream in its order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from seg_perception.core.camera_topics import beside, is_rectified
from seg_perception.core.errors import DataError
from seg_perception.core.messages import stamp_to_ns
from seg_perception.core.stems import IMAGE_SUFFIXES, by_stem, pictures
from seg_perception.evaluation.bag_material import camera_topics
from seg_perception.evaluation.bags import Bag, open_bag
from seg_perception.evaluation.evaluate_frame import UNDECODABLE, ZERO_STAMP, Frame
from seg_perception.evaluation.evaluate_robot import Robot

CAMERA_INFO, ODOMETRY, TF, TF_STATIC, LABELS, TRUTH = "camera_info", "odometry", "tf", "tf_static", "labels", "truth"

_FOLDER_PERIOD_NS = 100_000_000
_COMPRESSED = "sensor_msgs/msg/CompressedImage"
_TF_TYPES = ("tf2_msgs/msg/TFMessage", "tf/msg/tfMessage")


@dataclass(frozen=True, eq=False)
class Event:
    """Something else than an image. kind: one of the constants above.

    camera: which one's, where it is one's. rectified: whether the images of that one are.
    """

    kind: str
    message: Any
    received_ns: int
    camera: str = ""
    rectified: bool = False


class Source(Protocol):
    """Frames and what else there is, in the order of recording.

    kinds: what kinds of events there may be. count: number of frames. cameras: their names. damage: what is wrong with
    the recording, as far as is known; complete once the stream has ended.
    """

    name: str
    kinds: set[str]
    count: int
    cameras: list[str]
    damage: list[str]

    def __iter__(self) -> Iterator[Frame | Event]: ...


class FolderSource:
    """Images in the order of their names; they have no stamps of their own, and get some 0.1 s apart."""

    def __init__(self, folder: Path, labelled: bool) -> None:
        """labelled: labels belong to the images by their names. Raises DataError, also where two have one name then."""
        if not folder.is_dir():
            raise DataError(f"{folder}: there is no such folder of images; check the path")
        self._paths = pictures(folder.iterdir())
        if not self._paths:
            raise DataError(f"{folder}: no images in it; put {', '.join(IMAGE_SUFFIXES)} files there")
        if labelled:
            by_stem(self._paths)
        self.name = str(folder)
        self.kinds: set[str] = set()
        self.count = len(self._paths)
        self.cameras = [""]
        self.damage: list[str] = []

    def __iter__(self) -> Iterator[Frame | Event]:
        for index, path in enumerate(self._paths):
            stamp = (index + 1) * _FOLDER_PERIOD_NS
            yield Frame(index, self.name, "", stamp, stamp, "", path, (path.stem,), path.name)


@dataclass(frozen=True)
class BagTopics:
    """What to read of a bag. cameras: image topics, empty for those of the robot, ("all",) for all."""

    cameras: Sequence[str] = ()
    labels: str = ""
    truth_grid: str = ""
    truth_lidar: str = ""


class BagSource:
    """The cameras of a bag, and what tells where they were and what is true."""

    def __init__(self, path: Path, robot: Robot, wanted: BagTopics) -> None:
        self.name = str(path)
        self._path = path
        with open_bag(path) as bag:
            images = _images(bag, path, robot, wanted.cameras)
            self._images = {topic: camera_name(topic) for topic in images}
            self._compressed = {topic for topic in images if bag.topics[topic] == _COMPRESSED}
            self._rectified = {camera_name(topic) for topic in images if is_rectified(topic)}
            self._events = self._topics(bag, wanted)
            self.count = sum(bag.count(topic) for topic in images)
            self.damage = list(bag.damage)
        self.kinds = {kind for kind, _ in self._events.values()}
        self.cameras = list(self._images.values())

    def __iter__(self) -> Iterator[Frame | Event]:
        index = 0
        with open_bag(self._path) as bag:
            static = [topic for topic, (kind, _) in self._events.items() if kind == TF_STATIC]
            # Said once, before or after the first image: they hold for all of it.
            for _, received, message in _until_damage(bag, static, self.damage, lambda topic, reason: None):
                yield Event(TF_STATIC, message, received)
            broken: list[tuple[str, str]] = []
            topics = [topic for topic in (*self._images, *self._events) if topic not in static]
            received = 0
            for topic, received, message in _until_damage(bag, topics, self.damage, lambda *bad: broken.append(bad)):
                for frame in self._broken(index, broken, received):
                    yield frame
                    index += 1
                if topic in self._images:
                    yield self._frame(index, topic, received, message)
                    index += 1
                else:
                    kind, camera = self._events[topic]
                    yield Event(kind, message, received, camera, camera in self._rectified)
            yield from self._broken(index, broken, received)

    def _frame(self, index: int, topic: str, received: int, message: Any) -> Frame:
        stamp, header = stamp_to_ns(message.header.stamp), message.header
        source, stems = (message, topic in self._compressed), (str(stamp), f"{index:06d}")
        frame = Frame(
            index, self.name, self._images[topic], stamp or received, received, header.frame_id, source, stems
        )
        if not stamp:
            frame.stems = stems[1:]
            frame.problems[ZERO_STAMP] = f"{topic}: an image without a stamp; the time of its recording is used"
        return frame

    def _broken(self, index: int, broken: list[tuple[str, str]], received: int) -> list[Frame]:
        """Frames in the place of image messages that cannot be read; empties the list."""
        frames = []
        for topic, reason in broken:
            if topic in self._images:
                name = self._images[topic]
                frame = Frame(index + len(frames), self.name, name, received, received, "", None, ())
                frame.problems[UNDECODABLE] = f"{topic}: {reason}"
                frames.append(frame)
        broken.clear()
        return frames

    def _topics(self, bag: Bag, wanted: BagTopics) -> dict[str, tuple[str, str]]:
        """Topic → kind of its events, and whose they are."""
        chosen: dict[str, tuple[str, str]] = {}
        for topic, camera in self._images.items():
            info = beside(topic, "camera_info")
            if bag.topics.get(info) == "sensor_msgs/msg/CameraInfo":
                chosen[info] = CAMERA_INFO, camera
        for topic, kind in bag.topics.items():
            if kind in _TF_TYPES and bag.count(topic):
                chosen[topic] = (TF_STATIC if topic.endswith("tf_static") else TF), ""
        odometry = bag.odometry()
        if odometry:
            chosen[odometry] = ODOMETRY, ""
        for topic, kind, msgtype in (
            (wanted.labels, LABELS, "sensor_msgs/msg/Image"),
            (wanted.truth_grid, TRUTH, "nav_msgs/msg/OccupancyGrid"),
            (wanted.truth_lidar, TRUTH, "sensor_msgs/msg/PointCloud2"),
        ):
            if topic and bag.topics.get(topic) != msgtype:
                there = sorted(name for name, other in bag.topics.items() if other == msgtype)
                raise DataError(
                    f"{self._path}: no topic {topic!r} of {msgtype} in it; there are: {', '.join(there) or 'none'}"
                )
            if topic:
                chosen[topic] = kind, self._camera_of_labels(topic) if kind == LABELS else ""
        return chosen

    def _camera_of_labels(self, topic: str) -> str:
        """Whose labels a topic has: those of the camera whose name it begins with, or of the only one.

        Raises DataError where it may be of any.
        """
        cameras = list(self._images.values())
        names = [name for name in cameras if name and topic.lstrip("/").startswith(f"{name}/")]
        if not names and len(cameras) > 1:
            raise DataError(
                f"{self._path}: the labels {topic} may be of {', '.join(self._images)}; evaluate the one that they are "
                "of with --topics"
            )
        return names[0] if names else cameras[0]


def camera_name(topic: str) -> str:
    """/front/image/compressed → front; /image → empty."""
    return beside(topic, "").strip("/")


def _images(bag: Bag, path: Path, robot: Robot, chosen: Sequence[str]) -> list[str]:
    """Image topics, one per camera."""
    if chosen and list(chosen) != ["all"]:
        return _one_per_camera([topic for name in chosen for topic in camera_topics(bag.topics, path, name)], path)
    topics: dict[str, str] = {}
    for topic in camera_topics(bag.topics, path):
        if bag.count(topic):
            topics.setdefault(camera_name(topic), topic)  # raw before compressed, by name
    if not topics:
        raise DataError(f"{path}: its image topics have no messages; record the camera's images as well")
    names = [camera.name for camera in robot.cameras if camera.name]
    if chosen:
        return list(topics.values())
    if names:
        missing = [name for name in names if name not in topics]
        if missing:
            raise DataError(
                f"{path}: no images of the robot's cameras {', '.join(missing)}; it has {', '.join(topics.values())}; "
                "name the topics with --topics, or choose the robot with --robot"
            )
        return [topics[name] for name in names]
    return [next((topic for topic in topics.values() if "front" in topic), next(iter(topics.values())))]


def _one_per_camera(topics: list[str], path: Path) -> list[str]:
    """Raises DataError for two of one camera: their results would have one name."""
    first: dict[str, str] = {}
    for topic in topics:
        other = first.setdefault(camera_name(topic), topic)
        if other != topic:
            raise DataError(f"{path}: {other} and {topic} are of one camera; evaluate them one after the other")
    return list(first.values())


def _until_damage(bag: Bag, topics: Sequence[str], damage: list[str], on_bad: Any) -> Iterator[tuple[str, int, Any]]:
    try:
        yield from bag.messages(topics, on_bad)
    except DataError as error:
        damage.append(str(error))

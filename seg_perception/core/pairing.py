"""Messages that belong to one image, brought together by their stamp."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import numpy as np

from seg_perception.core.camera import Camera
from seg_perception.core.errors import CameraError
from seg_perception.core.messages import camera_from_info, stamp_to_ns

First = TypeVar("First")
Second = TypeVar("Second")


class StampPairs(Generic[First, Second]):
    """Pairs two streams by equal stamps, in whichever order they arrive.

    depth: how many messages of either stream wait for their partner; the oldest gives way.
    """

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self.clear()

    def clear(self) -> None:
        """Forget the messages that wait."""
        self._first: dict[int, First] = {}
        self._second: dict[int, Second] = {}

    def add_first(self, stamp_ns: int, value: First) -> tuple[First, Second] | None:
        """The pair that `value` completes, if any."""
        if stamp_ns in self._second:
            return value, self._second.pop(stamp_ns)
        _keep(self._first, stamp_ns, value, self._depth)
        return None

    def add_second(self, stamp_ns: int, value: Second) -> tuple[First, Second] | None:
        """The pair that `value` completes, if any."""
        if stamp_ns in self._first:
            return self._first.pop(stamp_ns), value
        _keep(self._second, stamp_ns, value, self._depth)
        return None


class StampedMessages(Generic[First]):
    """The last `depth` messages of a stream, by their stamps."""

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._messages: dict[int, First] = {}

    def add(self, stamp_ns: int, value: First) -> None:
        """Note a message; the oldest gives way."""
        _keep(self._messages, stamp_ns, value, self._depth)

    def __len__(self) -> int:
        return len(self._messages)

    def at(self, stamp_ns: int) -> First | None:
        """The message with exactly this stamp."""
        return self._messages.get(stamp_ns)

    def forget_before(self, stamp_ns: int) -> None:
        """Drop the messages with older stamps."""
        self._messages = {stamp: message for stamp, message in self._messages.items() if stamp >= stamp_ns}


class CameraInfos:
    """The camera of each image, from the CameraInfo of the same stamp, else from the newest one of the image's size.

    The same Camera object is returned for as long as the calibration stays the same.
    """

    def __init__(self, depth: int, *, rectified: bool = False) -> None:
        """rectified: whether the images are."""
        self._depth = depth
        self._rectified = rectified
        self._infos: dict[int, Any] = {}
        self._source: Any = None
        self._camera: Camera | None = None

    def add(self, info: Any) -> None:
        """Note a sensor_msgs/CameraInfo."""
        _keep(self._infos, stamp_to_ns(info.header.stamp), info, self._depth)

    def has(self, stamp_ns: int) -> bool:
        """Whether one with exactly this stamp is there."""
        return stamp_ns in self._infos

    def camera(self, stamp_ns: int, width: int, height: int) -> Camera | None:
        """Camera of an image of width x height pixels; None while no camera_info is there.

        Raises CameraError for a bad calibration, and when camera_info and image differ in size.
        """
        if not self._infos:
            return None
        newest = list(self._infos.values())[::-1]
        info = self._infos.get(stamp_ns) or next(
            (i for i in newest if (i.width, i.height) == (width, height)), newest[0]
        )
        if self._camera is None or not _same_calibration(info, self._source):
            self._camera, self._source = camera_from_info(info, rectified=self._rectified), info
        if (self._camera.width, self._camera.height) != (width, height):
            raise CameraError(
                f"camera_info is of {self._camera.width}x{self._camera.height} pixels, the image of {width}x{height}; "
                "connect the camera_info that is published with these images"
            )
        return self._camera


T = TypeVar("T")


def _keep(waiting: dict[int, T], stamp_ns: int, value: T, depth: int) -> None:
    waiting.pop(stamp_ns, None)
    waiting[stamp_ns] = value
    while len(waiting) > depth:
        del waiting[next(iter(waiting))]


def _same_calibration(a: Any, b: Any) -> bool:
    return (
        (a.width, a.height, a.distortion_model, a.binning_x, a.binning_y, a.roi)
        == (b.width, b.height, b.distortion_model, b.binning_x, b.binning_y, b.roi)
        and np.array_equal(a.k, b.k)
        and np.array_equal(a.d, b.d)
        and np.array_equal(a.p, b.p, equal_nan=True)  # of raw images, P may be anything
    )

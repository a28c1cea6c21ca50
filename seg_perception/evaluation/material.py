"""What a camera can play: frames with whatever is known about the camera that took them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from seg_perception.core.camera import Camera
from seg_perception.core.errors import DataError, ImageError
from seg_perception.core.messages import image_to_bgr
from seg_perception.core.pictures import decoded
from seg_perception.core.pose import Transform, base_from_optical


@dataclass(frozen=True)
class RawImage:
    """The fields of a sensor_msgs/Image."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: bytes | memoryview

    @classmethod
    def from_bgr(cls, image: NDArray[np.uint8]) -> RawImage:
        """(H, W, 3) uint8 BGR."""
        height, width = image.shape[:2]
        return cls(height, width, "bgr8", 0, 3 * width, np.ascontiguousarray(image).data.cast("B"))


@dataclass(frozen=True)
class EncodedImage:
    """The fields of a sensor_msgs/CompressedImage."""

    format: str
    data: bytes | memoryview


@dataclass(frozen=True)
class Mount:
    """The camera body frame in base_link: m, rad; pitch > 0 looks down."""

    x: float
    y: float
    z: float
    roll: float
    pitch: float
    yaw: float

    @property
    def base_from_optical(self) -> Transform:
        """(4, 4)."""
        return base_from_optical((self.x, self.y, self.z), self.roll, self.pitch, self.yaw)


@dataclass(frozen=True)
class Motion:
    """Where the vehicle is: world from base_link (4, 4), forward speed in m/s, yaw rate in rad/s."""

    world_from_base: Transform
    speed: float = 0.0
    yaw_rate: float = 0.0


@dataclass(frozen=True)
class Frame:
    """One image; `camera` and `motion` are None where the material does not say."""

    image: RawImage | EncodedImage
    frame_id: str = "camera_optical_frame"
    camera: Camera | None = None
    motion: Motion | None = None


class Material(Protocol):
    """Frames in the order in which they are played.

    compressed: all frames are EncodedImage (else all are RawImage). mount: None where unknown.
    why_no_grid: what the material lacks for a grid, else empty. names: what each frame is called, for people. stems:
    names of the files of their labels, without suffix; empty where a frame has none.
    """

    @property
    def compressed(self) -> bool: ...

    @property
    def mount(self) -> Mount | None: ...

    @property
    def why_no_grid(self) -> str: ...

    @property
    def names(self) -> Sequence[str]: ...

    def stems(self) -> Sequence[str]: ...

    def __iter__(self) -> Iterator[Frame]: ...


def open_material(path: Path, topic: str = "") -> Material:
    """A rendered drive, a rosbag2 or a folder of images. `topic` chooses a camera of a bag. Raises DataError."""
    from seg_perception.evaluation.bag_material import BagMaterial
    from seg_perception.evaluation.drive_material import DRIVE_FILE, DriveMaterial
    from seg_perception.evaluation.folder_material import FolderMaterial

    if (path / DRIVE_FILE).is_file():
        return DriveMaterial(path)
    files = [path, *path.glob("*")]
    if (path / "metadata.yaml").is_file() or any(file.suffix in (".mcap", ".db3") for file in files):
        return BagMaterial(path, topic)
    if path.is_dir():
        return FolderMaterial(path)
    raise DataError(f"{path}: neither a rosbag2 nor a folder of images; check the path")


def image_of(message: Any, compressed: bool) -> RawImage | EncodedImage:
    """Of a sensor_msgs/Image or CompressedImage."""
    data = memoryview(message.data)
    if compressed:
        return EncodedImage(message.format, data)
    return RawImage(message.height, message.width, message.encoding, message.is_bigendian, message.step, data)


def decode(image: RawImage | EncodedImage) -> NDArray[np.uint8] | None:
    """(H, W, 3) uint8 BGR; None for what cannot be decoded."""
    if isinstance(image, EncodedImage):
        return decoded(image.data)
    try:
        return image_to_bgr(image)
    except ImageError:
        return None

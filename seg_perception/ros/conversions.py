"""What the core works on → messages, and back: `core.messages`, with cv_bridge where it is installed."""

from __future__ import annotations

import array
import functools
import importlib
import sys
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from nav_msgs.msg import OccupancyGrid
from numpy.typing import ArrayLike, NDArray
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from std_msgs.msg import Header

from seg_perception.core import messages
from seg_perception.core.camera import Camera
from seg_perception.core.classes import ClassTable, Kind
from seg_perception.core.errors import ImageError
from seg_perception.core.grid import GridSpec
from seg_perception.core.messages import ToBgr, describe_image
from seg_perception.core.messages import camera_from_info as camera_from_info
from seg_perception.core.messages import compressed_to_bgr as compressed_to_bgr
from seg_perception.core.messages import image_to_depth as image_to_depth
from seg_perception.core.messages import image_to_mask as image_to_mask
from seg_perception.core.messages import opencv_to_bgr as opencv_to_bgr
from seg_perception.core.messages import stamp_to_ns as stamp_to_ns
from seg_perception.msg import SegmentationClass, SegmentationClasses

_NS = 1_000_000_000


def image_to_bgr(msg: Image, to_bgr: ToBgr | None = None) -> NDArray[np.uint8]:
    """As `core.messages.image_to_bgr`, with the colours converted by cv_bridge where it is installed and works."""
    return messages.image_to_bgr(msg, to_bgr or cv_bridge_to_bgr())


@functools.cache
def cv_bridge_to_bgr() -> ToBgr | None:
    """Colour conversion by cv_bridge; None where it is missing, or built for another OpenCV or NumPy than installed."""
    try:
        cv_bridge = importlib.import_module("cv_bridge")
        bridge = cv_bridge.CvBridge()
        bridge.imgmsg_to_cv2(bgr_to_image(np.zeros((2, 2, 3), np.uint8), Header()), "rgb8")
    except Exception:  # noqa: BLE001 (a build that does not fit fails in any way it likes: the import, a KeyError, …)
        return None

    def convert(msg: Image, pixels: NDArray[Any]) -> NDArray[np.uint8]:
        # cv_bridge knows fewer names, swaps bytes with a NumPy 1 method and needs rows padded by whole pixels.
        unpadded = len(msg.data) == msg.step * msg.height == pixels.nbytes
        plain = unpadded and not msg.is_bigendian and msg.encoding not in ("uyvy", "yuyv")
        if not plain:
            return opencv_to_bgr(msg, pixels)
        try:
            return bridge.imgmsg_to_cv2(msg, "bgr8")
        except cv_bridge.CvBridgeError as error:
            raise ImageError(f"{describe_image(msg)} cannot be converted to bgr8 by cv_bridge ({error})") from error

    return convert


def mask_to_image(mask: NDArray[np.uint8], header: Header) -> Image:
    """(H, W) uint8 → mono8 Image with step == width."""
    return _image(mask, "mono8", header)


def bgr_to_image(bgr: NDArray[np.uint8], header: Header) -> Image:
    """(H, W, 3) uint8 BGR → bgr8 Image."""
    return _image(bgr, "bgr8", header)


def camera_to_info(camera: Camera, header: Header) -> CameraInfo:
    """Camera → CameraInfo of the raw image: K, D, no rectifying rotation, P = [K | 0]."""
    projection = np.hstack([camera.matrix, np.zeros((3, 1))])
    return CameraInfo(
        header=header,
        width=camera.width,
        height=camera.height,
        distortion_model=camera.model,
        d=camera.distortion.tolist(),
        k=camera.matrix.ravel(),
        r=np.eye(3).ravel(),
        p=projection.ravel(),
    )


def classes_to_msg(table: ClassTable, model: str, header: Header) -> SegmentationClasses:
    """Class table → our own message, with colours, costs and kinds. model: name and version of the bundle."""
    classes = [
        SegmentationClass(id=c.id, name=c.name, r=c.color[0], g=c.color[1], b=c.color[2], cost=c.cost, kind=int(c.kind))
        for c in table.classes
    ]
    return SegmentationClasses(header=header, model=model, classes=classes)


def classes_from_msg(msg: SegmentationClasses) -> ClassTable:
    """Inverse of `classes_to_msg`. Raises ClassTableError."""
    kinds = {int(kind): kind.name for kind in Kind}
    return ClassTable.from_dicts(
        {"id": c.id, "name": c.name, "color": (c.r, c.g, c.b), "cost": c.cost, "kind": kinds.get(c.kind, str(c.kind))}
        for c in msg.classes
    )


def label_info_type() -> type | None:
    """vision_msgs/LabelInfo, or None where vision_msgs is not installed."""
    try:
        return importlib.import_module("vision_msgs.msg").LabelInfo
    except ImportError:
        return None


def classes_to_label_info(table: ClassTable, header: Header) -> Any:
    """Class table → vision_msgs/LabelInfo; only where `label_info_type` is not None."""
    vision_msgs = importlib.import_module("vision_msgs.msg")
    classes = [vision_msgs.VisionClass(class_id=c.id, class_name=c.name) for c in table.classes]
    return vision_msgs.LabelInfo(header=header, class_map=classes, threshold=0.0)


def grid_to_msg(spec: GridSpec, cells: NDArray[np.int8], header: Header) -> OccupancyGrid:
    """(H, W) int8, -1 unknown, 0..100 → OccupancyGrid in the header's frame."""
    msg = OccupancyGrid(header=header, data=_packed("b", cells))
    msg.info.map_load_time = header.stamp
    msg.info.resolution = spec.resolution
    msg.info.width, msg.info.height = spec.width, spec.height
    msg.info.origin.position.x, msg.info.origin.position.y = spec.origin_x, spec.origin_y
    return msg


def points_to_cloud(points: ArrayLike, header: Header) -> PointCloud2:
    """(N, 3) or organised (H, W, 3) points, m, NaN where there is none → PointCloud2 of float32 x, y, z."""
    points = np.asarray(points, np.float32)
    height, width = (1, len(points)) if points.ndim == 2 else points.shape[:2]
    fields = [PointField(name=n, offset=4 * i, datatype=PointField.FLOAT32, count=1) for i, n in enumerate("xyz")]
    return PointCloud2(
        header=header,
        height=height,
        width=width,
        fields=fields,
        point_step=12,
        row_step=12 * width,
        data=_packed("B", points),
        is_dense=bool(np.isfinite(points).all()),
        is_bigendian=sys.byteorder == "big",
    )


def labelled_points_to_cloud(
    points: NDArray[np.float32], colors: NDArray[np.uint8], labels: NDArray[np.uint8], header: Header
) -> PointCloud2:
    """(N, 3) points, m; (N, 3) RGB; (N,) class ids → PointCloud2 of x, y, z, rgb, label, as PCL and RViz read them."""
    # rgb is said to be a float32, but holds 0x00RRGGBB: so PCL has defined it.
    kinds = {"x": np.float32, "y": np.float32, "z": np.float32, "rgb": np.uint32, "label": np.uint32}
    cloud = np.zeros(len(points), list(kinds.items()))
    cloud["x"], cloud["y"], cloud["z"] = points.T
    red, green, blue = colors.astype(np.uint32).T
    cloud["rgb"] = red << 16 | green << 8 | blue
    cloud["label"] = labels
    datatypes = {"label": PointField.UINT32}
    return PointCloud2(
        header=header,
        height=1,
        width=len(points),
        fields=[
            PointField(name=name, offset=4 * i, datatype=datatypes.get(name, PointField.FLOAT32), count=1)
            for i, name in enumerate(kinds)
        ],
        point_step=cloud.itemsize,
        row_step=cloud.nbytes,
        data=_packed("B", cloud),
        is_dense=True,
        is_bigendian=sys.byteorder == "big",
    )


def stamp_from_ns(nanoseconds: int) -> Time:
    """Whole nanoseconds → stamp."""
    return Time(sec=nanoseconds // _NS, nanosec=nanoseconds % _NS)


def _image(pixels: NDArray[np.uint8], encoding: str, header: Header) -> Image:
    height, width = pixels.shape[:2]
    return Image(
        header=header,
        height=height,
        width=width,
        encoding=encoding,
        step=pixels.nbytes // height,
        data=_packed("B", pixels),
    )


def _packed(typecode: str, values: NDArray[Any]) -> array.array[Any]:
    # The generated setters take an array.array as it is; any other sequence they check element by element.
    packed: array.array[Any] = array.array(typecode)
    packed.frombytes(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
    return packed

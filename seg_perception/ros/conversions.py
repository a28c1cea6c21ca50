"""Messages to what the core works on, and back."""

from __future__ import annotations

import array
import functools
import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from nav_msgs.msg import OccupancyGrid
from numpy.typing import ArrayLike, NDArray
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2, PointField
from std_msgs.msg import Header

from seg_perception.core.camera import Camera
from seg_perception.core.classes import ClassTable, Kind
from seg_perception.core.errors import CameraError, ImageError
from seg_perception.core.grid import GridSpec
from seg_perception.msg import SegmentationClass, SegmentationClasses

_NS = 1_000_000_000
_DECODE_FLAGS = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION


@dataclass(frozen=True)
class _Encoding:
    channels: int
    dtype: type[np.generic] = np.uint8
    to_bgr: int | None = None  # OpenCV's conversion code


def _encodings() -> dict[str, _Encoding]:
    table = {
        "mono8": _Encoding(1, to_bgr=cv2.COLOR_GRAY2BGR),
        "bgr8": _Encoding(3),
        "rgb8": _Encoding(3, to_bgr=cv2.COLOR_RGB2BGR),
        "bgra8": _Encoding(4, to_bgr=cv2.COLOR_BGRA2BGR),
        "rgba8": _Encoding(4, to_bgr=cv2.COLOR_RGBA2BGR),
        # OpenCV names a pattern by the pixel in the second row and column, ROS by the first ones.
        "bayer_rggb8": _Encoding(1, to_bgr=cv2.COLOR_BayerBG2BGR),
        "bayer_bggr8": _Encoding(1, to_bgr=cv2.COLOR_BayerRG2BGR),
        "bayer_gbrg8": _Encoding(1, to_bgr=cv2.COLOR_BayerGR2BGR),
        "bayer_grbg8": _Encoding(1, to_bgr=cv2.COLOR_BayerGB2BGR),
    }
    wide = {f"{name[:-1]}16": _Encoding(e.channels, np.uint16, e.to_bgr) for name, e in table.items()}
    uyvy, yuyv = _Encoding(2, to_bgr=cv2.COLOR_YUV2BGR_UYVY), _Encoding(2, to_bgr=cv2.COLOR_YUV2BGR_YUY2)
    return {**table, **wide, "yuv422": uyvy, "uyvy": uyvy, "yuv422_yuy2": yuyv, "yuyv": yuyv}


ENCODINGS = _encodings()

_DEPTH_ENCODINGS = {"32FC1": (_Encoding(1, np.float32), 1.0), "16UC1": (_Encoding(1, np.uint16), 1e-3)}
"""REP-118: the encodings of depth images, and how many m one unit is."""

ToBgr = Callable[[Image, NDArray[Any]], NDArray[np.uint8]]
"""Message and its pixels, (H, W[, C]) in native byte order → (H, W, 3) uint8 BGR."""


def image_to_bgr(msg: Image, to_bgr: ToBgr | None = None) -> NDArray[np.uint8]:
    """Image of any supported encoding, padding and byte order → (H, W, 3) uint8 BGR, contiguous.

    16-bit values are scaled to 8 bits. A bgr8 image shares memory with the message: do not write to it.
    `to_bgr` converts colours: cv_bridge where it is installed and works, else `opencv_to_bgr`.
    Raises ImageError with encoding and sizes.
    """
    pixels = _pixels(msg)
    if msg.encoding == "bgr8":
        return np.ascontiguousarray(pixels)
    try:
        return (to_bgr or cv_bridge_to_bgr() or opencv_to_bgr)(msg, pixels)
    except cv2.error as error:
        raise ImageError(f"{_describe(msg)} cannot be converted to bgr8 ({error.err})") from error


def opencv_to_bgr(msg: Image, pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Colour conversion by OpenCV alone."""
    code = ENCODINGS[msg.encoding].to_bgr
    bgr = pixels if code is None else cv2.cvtColor(pixels, code)
    return cv2.convertScaleAbs(bgr, alpha=255.0 / 65535.0) if bgr.dtype == np.uint16 else bgr


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
            raise ImageError(f"{_describe(msg)} cannot be converted to bgr8 by cv_bridge ({error})") from error

    return convert


def compressed_to_bgr(msg: CompressedImage) -> NDArray[np.uint8]:
    """JPEG or PNG → (H, W, 3) uint8 BGR, not rotated by EXIF. Raises ImageError, also for a truncated stream."""
    data = bytes(msg.data)
    what = f"compressed image of format {msg.format!r}, {len(data)} bytes,"
    if data.startswith(b"\xff\xd8"):
        # OpenCV fills the missing part of a cut JPEG with grey; the end marker must come after the last scan.
        complete = data.rfind(b"\xff\xd9") > data.rfind(b"\xff\xda")
    elif data.startswith(b"\x89PNG"):
        complete = b"IEND" in data[-12:]
    else:
        raise ImageError(f"{what} is neither JPEG nor PNG; publish one of them, or set image_transport: raw")
    image = cv2.imdecode(np.frombuffer(data, np.uint8), _DECODE_FLAGS) if complete else None
    if image is None:
        raise ImageError(f"{what} is truncated or corrupt; check the camera driver and the network")
    return image


def image_to_mask(msg: Image) -> NDArray[np.uint8]:
    """mono8 Image → (H, W) uint8, contiguous. Raises ImageError."""
    if msg.encoding != "mono8":
        raise ImageError(f"{_describe(msg)} is not a mask; masks and confidences are mono8")
    return np.ascontiguousarray(_pixels(msg))


def image_to_depth(msg: Image) -> NDArray[np.float32]:
    """32FC1 (m) or 16UC1 (mm) Image → (H, W) float32, m along the optical axis; NaN, inf or 0 where there is none.

    It may share memory with the message: do not write to it. Raises ImageError.
    """
    if msg.encoding not in _DEPTH_ENCODINGS:
        raise ImageError(
            f"{_describe(msg)} is not a depth image; depth is one of {', '.join(_DEPTH_ENCODINGS)} (REP-118)"
        )
    encoding, unit = _DEPTH_ENCODINGS[msg.encoding]
    pixels = _laid_out(msg, encoding)
    return pixels if unit == 1.0 else pixels * np.float32(unit)


def mask_to_image(mask: NDArray[np.uint8], header: Header) -> Image:
    """(H, W) uint8 → mono8 Image with step == width."""
    return _image(mask, "mono8", header)


def bgr_to_image(bgr: NDArray[np.uint8], header: Header) -> Image:
    """(H, W, 3) uint8 BGR → bgr8 Image."""
    return _image(bgr, "bgr8", header)


def camera_from_info(info: CameraInfo) -> Camera:
    """CameraInfo → the camera of the raw image it accompanies, after its region of interest and binning.

    K and D are used, not P: the images are not rectified. Raises CameraError.
    """
    matrix = np.array(info.k, np.float64).reshape(3, 3)
    roi_width, roi_height = info.roi.width or info.width, info.roi.height or info.height
    matrix[0, 2] -= info.roi.x_offset
    matrix[1, 2] -= info.roi.y_offset
    camera = Camera(roi_width, roi_height, matrix, info.distortion_model or "plumb_bob", np.array(info.d, np.float64))
    binning_x, binning_y = max(info.binning_x, 1), max(info.binning_y, 1)
    if (binning_x, binning_y) == (1, 1):
        return camera
    if binning_x > roi_width or binning_y > roi_height:
        raise CameraError(
            f"camera_info bins {binning_x}x{binning_y} pixels of a {roi_width}x{roi_height} image; correct it"
        )
    return camera.resized(roi_width // binning_x, roi_height // binning_y)


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


def stamp_to_s(stamp: Time) -> float:
    """Stamp → seconds."""
    return stamp.sec + stamp.nanosec / _NS


def stamp_to_ns(stamp: Time) -> int:
    """Stamp → whole nanoseconds."""
    return stamp.sec * _NS + stamp.nanosec


def stamp_from_ns(nanoseconds: int) -> Time:
    """Whole nanoseconds → stamp."""
    return Time(sec=nanoseconds // _NS, nanosec=nanoseconds % _NS)


def _pixels(msg: Image) -> NDArray[Any]:
    encoding = ENCODINGS.get(msg.encoding)
    if encoding is None:
        raise ImageError(f"{_describe(msg)} has an unsupported encoding; supported: {', '.join(ENCODINGS)}")
    return _laid_out(msg, encoding)


def _laid_out(msg: Image, encoding: _Encoding) -> NDArray[Any]:
    """(H, W) or (H, W, C) in native byte order; a view of the message's data where its layout allows."""
    item = np.dtype(encoding.dtype)
    row = msg.width * encoding.channels * item.itemsize
    if not msg.width or not msg.height:
        raise ImageError(f"{_describe(msg)} is empty; check the camera driver")
    if encoding.channels == 2 and msg.width % 2:
        raise ImageError(f"{_describe(msg)} has half a pair of pixels; yuv422 needs an even width")
    if msg.step < row:
        raise ImageError(
            f"{_describe(msg)} has a step of {msg.step}, but a row takes {row} bytes; correct the publisher"
        )
    needed = msg.step * (msg.height - 1) + row
    if len(msg.data) < needed:
        raise ImageError(f"{_describe(msg)} is truncated: {len(msg.data)} of {needed} bytes; check driver and network")
    strides = (msg.step, encoding.channels * item.itemsize, item.itemsize)
    stored = item.newbyteorder(">" if msg.is_bigendian else "<")
    pixels = np.ndarray((msg.height, msg.width, encoding.channels), stored, buffer=msg.data, strides=strides)
    if item.itemsize > 1:
        pixels = np.ascontiguousarray(pixels, item)
    return pixels[..., 0] if encoding.channels == 1 else pixels


def _describe(msg: Image) -> str:
    return f"{msg.width}x{msg.height} image of encoding {msg.encoding!r}"


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

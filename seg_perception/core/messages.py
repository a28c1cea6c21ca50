"""Standard messages → what the core works on, by their fields alone.

Whichever library has read a message, rclpy or a bag reader, it has the same fields; so robot and replay read it alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from seg_perception.core import pose
from seg_perception.core.camera import Camera
from seg_perception.core.errors import CameraError, ImageError, TransformError
from seg_perception.core.pictures import decoded
from seg_perception.core.pose import Transform

_NS = 1_000_000_000


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


ToBgr = Callable[[Any, NDArray[Any]], NDArray[np.uint8]]
"""Message and its pixels, (H, W[, C]) in native byte order → (H, W, 3) uint8 BGR."""


def image_to_bgr(msg: Any, to_bgr: ToBgr | None = None) -> NDArray[np.uint8]:
    """sensor_msgs/Image of any supported encoding, padding and byte order → (H, W, 3) uint8 BGR, contiguous.

    16-bit values are scaled to 8 bits. A bgr8 image shares memory with the message: do not write to it.
    `to_bgr` converts colours; by default `opencv_to_bgr`.
    Raises ImageError with encoding and sizes.
    """
    pixels = _pixels(msg)
    if msg.encoding == "bgr8":
        return np.ascontiguousarray(pixels)
    try:
        return (to_bgr or opencv_to_bgr)(msg, pixels)
    except cv2.error as error:
        raise ImageError(f"{describe_image(msg)} cannot be converted to bgr8 ({error.err})") from error


def opencv_to_bgr(msg: Any, pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Colour conversion by OpenCV alone."""
    code = ENCODINGS[msg.encoding].to_bgr
    bgr = pixels if code is None else cv2.cvtColor(pixels, code)
    return cv2.convertScaleAbs(bgr, alpha=255.0 / 65535.0) if bgr.dtype == np.uint16 else bgr


def compressed_to_bgr(msg: Any) -> NDArray[np.uint8]:
    """sensor_msgs/CompressedImage, JPEG or PNG → (H, W, 3) uint8 BGR, not rotated by EXIF.

    Raises ImageError, also for a truncated stream.
    """
    data = bytes(msg.data)
    what = f"compressed image of format {msg.format!r}, {len(data)} bytes,"
    if data.startswith(b"\xff\xd8"):
        # OpenCV fills the missing part of a cut JPEG with grey; the end marker must come after the last scan.
        complete = data.rfind(b"\xff\xd9") > data.rfind(b"\xff\xda")
    elif data.startswith(b"\x89PNG"):
        complete = b"IEND" in data[-12:]
    else:
        raise ImageError(f"{what} is neither JPEG nor PNG; publish one of them, or set image_transport: raw")
    image = decoded(data) if complete else None
    if image is None:
        raise ImageError(f"{what} is truncated, corrupt or too large; check the camera driver and the network")
    return image


def image_to_mask(msg: Any) -> NDArray[np.uint8]:
    """mono8 Image → (H, W) uint8, contiguous. Raises ImageError."""
    if msg.encoding != "mono8":
        raise ImageError(f"{describe_image(msg)} is not a mask; masks and confidences are mono8")
    return np.ascontiguousarray(_pixels(msg))


def image_to_depth(msg: Any) -> NDArray[np.float32]:
    """32FC1 (m) or 16UC1 (mm) Image → (H, W) float32, m along the optical axis; NaN, inf or 0 where there is none.

    It may share memory with the message: do not write to it. Raises ImageError.
    """
    if msg.encoding not in _DEPTH_ENCODINGS:
        raise ImageError(
            f"{describe_image(msg)} is not a depth image; depth is one of {', '.join(_DEPTH_ENCODINGS)} (REP-118)"
        )
    encoding, unit = _DEPTH_ENCODINGS[msg.encoding]
    pixels = _laid_out(msg, encoding)
    return pixels if unit == 1.0 else pixels * np.float32(unit)


def camera_from_info(info: Any, *, rectified: bool = False) -> Camera:
    """CameraInfo → the camera of the image it accompanies, after its region of interest and binning.

    Raw images have K and D; rectified ones P and no distortion, though camera_info, which both share, has D as well.
    Without P, as from drivers that rectify themselves, K counts for both. The frame of the message counts as that of
    the rectified image, so that R is not used, as in image_geometry. Raises CameraError.
    """
    matrix, distortion = np.array(info.k, np.float64).reshape(3, 3), np.array(info.d, np.float64)
    if rectified:
        matrix, distortion = _rectified(info, matrix), np.zeros(0)
    roi_width, roi_height = info.roi.width or info.width, info.roi.height or info.height
    matrix[0, 2] -= info.roi.x_offset
    matrix[1, 2] -= info.roi.y_offset
    model = "plumb_bob" if rectified else info.distortion_model or "plumb_bob"
    binning_x, binning_y = max(info.binning_x, 1), max(info.binning_y, 1)
    if (binning_x, binning_y) == (1, 1):
        return Camera(roi_width, roi_height, matrix, model, distortion)
    if binning_x > roi_width or binning_y > roi_height:
        raise CameraError(
            f"camera_info bins {binning_x}x{binning_y} pixels of a {roi_width}x{roi_height} image; correct it"
        )
    size = roi_width // binning_x, roi_height // binning_y
    binned = Camera(size[0] * binning_x, size[1] * binning_y, matrix, model, distortion)  # what is left over is cut off
    return binned.resized(*size)


def _rectified(info: Any, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    projection = np.array(info.p, np.float64).reshape(3, 4)[:, :3]
    if projection.any():
        return projection
    if np.any(info.d):
        raise CameraError(
            "camera_info has distortion D, but no projection matrix P, which rectified images need; "
            "calibrate the camera, or take the raw images"
        )
    return matrix


def stamp_to_ns(stamp: Any) -> int:
    """Stamp → whole nanoseconds."""
    return stamp.sec * _NS + stamp.nanosec


def _pixels(msg: Any) -> NDArray[Any]:
    encoding = ENCODINGS.get(msg.encoding)
    if encoding is None:
        raise ImageError(f"{describe_image(msg)} has an unsupported encoding; supported: {', '.join(ENCODINGS)}")
    return _laid_out(msg, encoding)


def _laid_out(msg: Any, encoding: _Encoding) -> NDArray[Any]:
    """(H, W) or (H, W, C) in native byte order; a view of the message's data where its layout allows."""
    item = np.dtype(encoding.dtype)
    row = msg.width * encoding.channels * item.itemsize
    if not msg.width or not msg.height:
        raise ImageError(f"{describe_image(msg)} is empty; check the camera driver")
    if encoding.channels == 2 and msg.width % 2:
        raise ImageError(f"{describe_image(msg)} has half a pair of pixels; yuv422 needs an even width")
    if msg.step < row:
        raise ImageError(
            f"{describe_image(msg)} has a step of {msg.step}, but a row takes {row} bytes; correct the publisher"
        )
    needed = msg.step * (msg.height - 1) + row
    if len(msg.data) < needed:
        raise ImageError(
            f"{describe_image(msg)} is truncated: {len(msg.data)} of {needed} bytes; check driver and network"
        )
    strides = (msg.step, encoding.channels * item.itemsize, item.itemsize)
    stored = item.newbyteorder(">" if msg.is_bigendian else "<")
    pixels = np.ndarray((msg.height, msg.width, encoding.channels), stored, buffer=msg.data, strides=strides)
    if item.itemsize > 1:
        pixels = np.ascontiguousarray(pixels, item)
    return pixels[..., 0] if encoding.channels == 1 else pixels


def describe_image(msg: Any) -> str:
    """What an image is, for error messages."""
    return f"{msg.width}x{msg.height} image of encoding {msg.encoding!r}"


def pose_from_msg(msg: Any) -> Transform:
    """geometry_msgs/Pose → (4, 4). Raises TransformError when it is not finite or its quaternion is no rotation."""
    p, q = msg.position, msg.orientation
    return checked_pose("odometry", (p.x, p.y, p.z), (q.x, q.y, q.z, q.w))


def checked_pose(origin: str, translation: tuple[float, ...], xyzw: tuple[float, ...]) -> Transform:
    """Translation, m, and quaternion x, y, z, w → (4, 4). origin: where they come from, for the TransformError."""
    norm = float(np.linalg.norm(xyzw))
    if not np.isfinite([*translation, norm]).all() or abs(norm - 1.0) > 0.1:
        raise TransformError(
            f"{origin} has position {translation} and quaternion {xyzw}; both must be finite, the norm 1"
        )
    return pose.from_quaternion(translation, xyzw)

from __future__ import annotations

import array
import sys

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from builtin_interfaces.msg import Time
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointField, RegionOfInterest
from std_msgs.msg import Header

from seg_perception.core.camera import Camera
from seg_perception.core.classes import ClassTable
from seg_perception.core.errors import CameraError, ImageError
from seg_perception.core.grid import GridSpec
from seg_perception.core.messages import ENCODINGS
from seg_perception.ros import conversions

HEADER = Header(stamp=Time(sec=12, nanosec=345), frame_id="camera_optical")
BACKENDS = {"opencv": conversions.opencv_to_bgr, "cv_bridge": conversions.cv_bridge_to_bgr()}


@pytest.fixture(params=BACKENDS)
def to_bgr(request):
    if BACKENDS[request.param] is None:
        pytest.skip("cv_bridge is not installed, or does not work with the installed OpenCV and NumPy")
    return BACKENDS[request.param]


def image(pixels, encoding, *, padding=0, big_endian=False):
    """An Image of (H, W[, C]) pixels, with padded rows and in any byte order."""
    height, width = pixels.shape[:2]
    stored = pixels.astype(pixels.dtype.newbyteorder(">" if big_endian else "<"))
    rows = np.frombuffer(stored.tobytes(), np.uint8).reshape(height, -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=77)
    return Image(
        header=HEADER,
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=int(big_endian),
        step=rows.shape[1],
        data=array.array("B", rows.tobytes()),
    )


def colours(height=6, width=8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def bayer(bgr, pattern):
    """(H, W) of a sensor whose first two rows and columns have the colours of the pattern: rg / gb and so on."""
    mosaic = np.empty(bgr.shape[:2], bgr.dtype)
    for index, colour in enumerate(pattern):
        row, column = divmod(index, 2)
        mosaic[row::2, column::2] = bgr[row::2, column::2, "bgr".index(colour)]
    return mosaic


STORED = {
    "bgr8": lambda bgr: bgr,
    "rgb8": lambda bgr: bgr[..., ::-1],
    "bgra8": lambda bgr: np.dstack([bgr, np.full(bgr.shape[:2], 9, np.uint8)]),
    "rgba8": lambda bgr: np.dstack([bgr[..., ::-1], np.full(bgr.shape[:2], 9, np.uint8)]),
}


@pytest.mark.parametrize("padding", [0, 1, 5])
@pytest.mark.parametrize("wide", [False, True], ids=["8", "16"])
@pytest.mark.parametrize("encoding", STORED)
def test_colour_encodings_are_exact(to_bgr, encoding, wide, padding):
    bgr = colours()
    pixels = STORED[encoding](bgr)
    if wide:
        encoding, pixels = encoding.replace("8", "16"), pixels.astype(np.uint16) * 257
    for big_endian in (False, True):
        result = conversions.image_to_bgr(image(pixels, encoding, padding=padding, big_endian=big_endian), to_bgr)
        np.testing.assert_array_equal(result, bgr)
        assert result.dtype == np.uint8 and result.flags.c_contiguous


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("padding", [0, 3])
def test_mono(to_bgr, padding, big_endian):
    grey = colours()[..., 0]
    expected = np.dstack([grey] * 3)
    wide = grey.astype(np.uint16) * 257
    for pixels, encoding in ((grey, "mono8"), (wide, "mono16")):
        msg = image(pixels, encoding, padding=padding, big_endian=big_endian)
        np.testing.assert_array_equal(conversions.image_to_bgr(msg, to_bgr), expected)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_patterns(to_bgr, pattern, bits):
    bgr = np.zeros((12, 16, 3), np.uint8)
    bgr[:] = (30, 120, 220)
    mosaic = bayer(bgr, pattern)
    msg = image(mosaic if bits == 8 else mosaic.astype(np.uint16) * 257, f"bayer_{pattern}{bits}", padding=2)
    inside = conversions.image_to_bgr(msg, to_bgr)[2:-2, 2:-2]
    np.testing.assert_array_equal(inside, bgr[2:-2, 2:-2])


@pytest.mark.parametrize("padding", [0, 4])
@pytest.mark.parametrize(
    ("encoding", "order"), [("yuv422", "uyvy"), ("uyvy", "uyvy"), ("yuv422_yuy2", "yuyv"), ("yuyv", "yuyv")]
)
def test_yuv422_in_both_orders(to_bgr, encoding, order, padding):
    red_y, red_u, red_v = 81, 90, 240  # BT.601, studio range
    values = {"y": red_y, "u": red_u, "v": red_v}
    pair = np.array([values[letter] for letter in order], np.uint8)
    msg = image(np.tile(pair, (4, 3)).reshape(4, 6, 2), encoding, padding=padding)
    bgr = conversions.image_to_bgr(msg, to_bgr)
    assert bgr.shape == (4, 6, 3)
    assert np.abs(bgr.astype(int) - (0, 0, 255)).max() <= 2


def test_backends_agree_on_every_encoding():
    if BACKENDS["cv_bridge"] is None:
        pytest.skip("cv_bridge is not installed, or does not work with the installed OpenCV and NumPy")
    rng = np.random.default_rng(1)
    for name, encoding in ENCODINGS.items():
        pixels = rng.integers(0, np.iinfo(encoding.dtype).max, (8, 10, encoding.channels)).astype(encoding.dtype)
        msg = image(pixels, name)
        ours = conversions.image_to_bgr(msg, BACKENDS["opencv"])
        np.testing.assert_array_equal(ours, conversions.image_to_bgr(msg, BACKENDS["cv_bridge"]), err_msg=name)


def test_bgr8_is_not_copied():
    msg = image(colours(), "bgr8")
    assert np.shares_memory(conversions.image_to_bgr(msg), np.frombuffer(msg.data, np.uint8))


def without_last_byte(msg):
    msg.data = msg.data[:-1]


def set_fields(**fields):
    return lambda msg: [setattr(msg, name, value) for name, value in fields.items()]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (without_last_byte, ["truncated", "143 of 144 bytes", "8x6", "'rgb8'"]),
        (set_fields(data=array.array("B")), ["truncated", "0 of 144"]),
        (set_fields(width=0), ["0x6", "empty"]),
        (set_fields(height=0), ["8x0", "empty"]),
        (set_fields(step=23), ["step of 23", "24 bytes"]),
        (set_fields(encoding="16UC1"), ["unsupported encoding", "'16UC1'", "bgr8"]),
        (set_fields(encoding=""), ["unsupported encoding"]),
        (set_fields(height=2**31), ["truncated"]),
    ],
)
def test_bad_images_say_what_is_wrong(spoil, words):
    msg = image(colours(), "rgb8")
    spoil(msg)
    with pytest.raises(ImageError) as error:
        conversions.image_to_bgr(msg)
    assert all(word in str(error.value) for word in words), error.value


def test_odd_width_of_yuv422_is_an_image_error(to_bgr):
    with pytest.raises(ImageError, match="yuv422"):
        conversions.image_to_bgr(image(np.zeros((4, 5, 2), np.uint8), "yuv422"), to_bgr)


@settings(max_examples=200)
@given(
    encoding=st.sampled_from([*ENCODINGS, "8UC1", "nonsense"]),
    size=st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 80)),
    data=st.binary(max_size=400),
    big_endian=st.booleans(),
    to_bgr=st.sampled_from([backend for backend in BACKENDS.values() if backend]),
)
def test_any_message_gives_an_image_or_an_image_error(encoding, size, data, big_endian, to_bgr):
    width, height, step = size
    msg = Image(width=width, height=height, step=step, encoding=encoding, is_bigendian=int(big_endian))
    msg.data = array.array("B", data)
    try:
        bgr = conversions.image_to_bgr(msg, to_bgr)
    except ImageError:
        return
    assert bgr.shape == (height, width, 3) and bgr.dtype == np.uint8


@settings(max_examples=50)
@given(width=st.integers(1, 40), height=st.integers(1, 40), seed=st.integers(0, 99))
def test_mask_round_trip(width, height, seed):
    mask = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    msg = conversions.mask_to_image(mask, HEADER)
    assert (msg.encoding, msg.step, msg.width, msg.height, msg.header) == ("mono8", width, width, height, HEADER)
    np.testing.assert_array_equal(conversions.image_to_mask(msg), mask)


def test_an_image_of_colours_is_not_a_mask():
    with pytest.raises(ImageError, match="bgr8.*mono8"):
        conversions.image_to_mask(conversions.bgr_to_image(colours(), HEADER))


@pytest.mark.parametrize("padding", [0, 2])
@pytest.mark.parametrize("big_endian", [False, True])
def test_depth_is_in_metres_and_unknown_stays_unknown(big_endian, padding):
    metres = np.array([[0.0, 1.5, 65.535], [np.nan, np.inf, 1e-3]], np.float32)
    depth = conversions.image_to_depth(image(metres, "32FC1", padding=2 * padding, big_endian=big_endian))
    np.testing.assert_array_equal(depth, metres)
    millimetres = np.array([[0, 1500, 65535], [1, 2, 3]], np.uint16)
    depth = conversions.image_to_depth(image(millimetres, "16UC1", padding=padding, big_endian=big_endian))
    assert depth.dtype == np.float32
    np.testing.assert_allclose(depth, [[0.0, 1.5, 65.535], [0.001, 0.002, 0.003]], rtol=1e-6)


def test_other_images_are_not_depth():
    with pytest.raises(ImageError, match="'mono16' is not a depth image; depth is one of 32FC1, 16UC1"):
        conversions.image_to_depth(image(np.zeros((2, 3), np.uint16), "mono16"))
    cut = image(np.zeros((2, 3), np.float32), "32FC1")
    cut.data = cut.data[:-1]
    with pytest.raises(ImageError, match="23 of 24 bytes"):
        conversions.image_to_depth(cut)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_compressed(suffix):
    bgr = cv2.resize(colours(), (64, 48), interpolation=cv2.INTER_CUBIC)
    data = cv2.imencode(suffix, bgr)[1].tobytes()
    whole = CompressedImage(format=suffix, data=array.array("B", data))
    decoded = conversions.compressed_to_bgr(whole)
    assert decoded.shape == bgr.shape
    assert np.abs(decoded.astype(int) - bgr).mean() < (12 if suffix == ".jpg" else 1e-9)
    for keep in (len(data) - 2, len(data) * 2 // 3, 20, 2, 0):
        with pytest.raises(ImageError):
            conversions.compressed_to_bgr(CompressedImage(format=suffix, data=array.array("B", data[:keep])))


def test_compressed_with_bytes_after_the_end_is_whole():
    data = cv2.imencode(".jpg", colours(48, 64))[1].tobytes() + b"\x00" * 7
    assert conversions.compressed_to_bgr(CompressedImage(data=array.array("B", data))).shape == (48, 64, 3)


def info(**fields):
    k = [500.0, 0.0, 319.5, 0.0, 510.0, 239.5, 0.0, 0.0, 1.0]
    return CameraInfo(
        **{"width": 640, "height": 480, "distortion_model": "plumb_bob", "d": [0.0] * 5, "k": k, **fields}
    )


def test_camera_round_trip():
    camera = Camera(
        640,
        480,
        np.array([[500.0, 0, 300], [0, 510, 250], [0, 0, 1]]),
        "plumb_bob",
        np.array([0.1, -0.2, 0.01, 0.0, 0.03]),
    )
    msg = conversions.camera_to_info(camera, HEADER)
    again = conversions.camera_from_info(msg)
    assert msg.header == HEADER and (again.width, again.height, again.model) == (640, 480, "plumb_bob")
    np.testing.assert_array_equal(again.matrix, camera.matrix)
    np.testing.assert_array_equal(again.distortion, camera.distortion)
    np.testing.assert_array_equal(np.reshape(msg.p, (3, 4))[:, :3], camera.matrix)


@pytest.mark.parametrize(
    "fields",
    [
        {"k": [0.0] * 9},
        {"k": [float("nan")] * 9},
        {"width": 0},
        {"height": 0},
        {"d": [float("nan")] * 5},
        {"distortion_model": "unheard_of"},
        {"binning_x": 1000},
    ],
)
def test_useless_camera_info_is_a_camera_error(fields):
    with pytest.raises(CameraError):
        conversions.camera_from_info(info(**fields))


def test_region_of_interest_and_binning_keep_the_ray_of_every_pixel_edge():
    full = conversions.camera_from_info(info())
    roi = RegionOfInterest(x_offset=100, y_offset=40, width=400, height=200)
    part = conversions.camera_from_info(info(roi=roi, binning_x=2, binning_y=4))
    assert (part.width, part.height) == (200, 50)
    binned = np.array([[-0.5, -0.5], [199.5, 49.5], [57.0, 13.0]])
    unbinned = (binned + 0.5) * (2, 4) - 0.5 + (100, 40)
    np.testing.assert_allclose(part.rays(binned), full.rays(unbinned), atol=1e-9)


def test_binning_cuts_off_what_is_left_over():
    full = conversions.camera_from_info(info())
    odd = conversions.camera_from_info(info(roi=RegionOfInterest(width=401, height=203), binning_x=4, binning_y=4))
    assert (odd.width, odd.height) == (100, 50)
    binned = np.array([[0.0, 0.0], [99.0, 49.0]])
    np.testing.assert_allclose(odd.rays(binned), full.rays((binned + 0.5) * 4 - 0.5), atol=1e-9)


def projection(fx, fy, cx, cy):
    return [fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0]


def test_rectified_images_have_the_projection_matrix_and_no_distortion():
    lens = info(distortion_model="equidistant", d=[0.1, 0.01, 0.0, 0.0], p=projection(400.0, 410.0, 310.0, 250.0))
    camera = conversions.camera_from_info(lens, rectified=True)
    u, v = np.meshgrid(np.linspace(0, 639, 7), np.linspace(0, 479, 5))
    expected = np.stack([(u - 310.0) / 400.0, (v - 250.0) / 410.0, np.ones_like(u)], axis=-1).reshape(-1, 3)
    np.testing.assert_allclose(camera.rays(np.stack([u.ravel(), v.ravel()], axis=1)), expected, atol=1e-9)


def test_a_driver_that_rectifies_itself_may_leave_out_the_projection_matrix():
    camera = conversions.camera_from_info(info(), rectified=True)
    np.testing.assert_array_equal(camera.matrix, conversions.camera_from_info(info()).matrix)
    with pytest.raises(CameraError, match="no projection matrix P"):
        conversions.camera_from_info(info(d=[0.1, 0.0, 0.0, 0.0, 0.0]), rectified=True)


def table():
    return ClassTable.from_dicts(
        [
            {"id": 0, "name": "road", "color": [128, 64, 127], "cost": 5, "kind": "ground"},
            {"id": 7, "name": "car", "color": [1, 2, 3], "cost": 100, "kind": "obstacle"},
        ]
    )


def test_classes_round_trip():
    msg = conversions.classes_to_msg(table(), "example 1.0", HEADER)
    assert (msg.model, msg.header) == ("example 1.0", HEADER)
    assert conversions.classes_from_msg(msg) == table()


def test_label_info():
    if conversions.label_info_type() is None:
        pytest.skip("vision_msgs is not installed")
    msg = conversions.classes_to_label_info(table(), HEADER)
    assert isinstance(msg, conversions.label_info_type())
    assert [(c.class_id, c.class_name) for c in msg.class_map] == [(0, "road"), (7, "car")]


def test_grid_is_row_major_from_its_origin():
    cells = np.array([[-1, 0, 100], [1, 2, 3]], np.int8)
    msg = conversions.grid_to_msg(GridSpec(0.5, 3, 2, -4.0, 7.0), cells, HEADER)
    assert list(msg.data) == [-1, 0, 100, 1, 2, 3]
    assert (msg.info.width, msg.info.height, msg.info.resolution) == (3, 2, 0.5)
    assert (msg.info.origin.position.x, msg.info.origin.position.y, msg.info.origin.orientation.w) == (-4.0, 7.0, 1.0)
    assert msg.header == HEADER


@pytest.mark.parametrize("shape", [(5, 3), (0, 3), (2, 4, 3)])
def test_clouds(shape):
    points = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    if points.size:
        points.ravel()[4] = np.nan
    msg = conversions.points_to_cloud(points, HEADER)
    height, width = (1, shape[0]) if len(shape) == 2 else shape[:2]
    assert (msg.height, msg.width, msg.point_step, msg.row_step) == (height, width, 12, 12 * width)
    assert msg.is_bigendian == (sys.byteorder == "big") and msg.is_dense == (points.size == 0)
    assert [(f.name, f.offset) for f in msg.fields] == [("x", 0), ("y", 4), ("z", 8)]
    np.testing.assert_array_equal(np.frombuffer(msg.data, np.float32).reshape(shape), points)


@given(st.integers(0, 40), st.integers(0, 2**32))
def test_labelled_points_are_read_by_the_usual_names(count, seed):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(count, 3)).astype(np.float32)
    colors, labels = rng.integers(0, 256, (count, 3), np.uint8), rng.integers(0, 256, count, np.uint8)
    msg = conversions.labelled_points_to_cloud(points, colors, labels, HEADER)
    assert (msg.height, msg.width, msg.point_step, msg.row_step) == (1, count, 20, 20 * count)
    f32, u32 = PointField.FLOAT32, PointField.UINT32
    described = [(f.name, f.offset, f.datatype, f.count) for f in msg.fields]
    assert described == [
        ("x", 0, f32, 1),
        ("y", 4, f32, 1),
        ("z", 8, f32, 1),
        ("rgb", 12, f32, 1),
        ("label", 16, u32, 1),
    ]
    words = np.frombuffer(msg.data, np.uint32).reshape(count, 5)
    np.testing.assert_array_equal(words[:, :3].copy().view(np.float32), points)
    np.testing.assert_array_equal(words[:, 3], colors.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32))
    np.testing.assert_array_equal(words[:, 4], labels)


@given(st.integers(0, 2**31 * 10**9 - 1))
def test_stamps_keep_every_nanosecond(nanoseconds):
    stamp = conversions.stamp_from_ns(nanoseconds)
    assert conversions.stamp_to_ns(stamp) == nanoseconds
